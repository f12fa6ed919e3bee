//! The forward pass and the input gradient: tiles in, one matrix product for each point, tiles out.
//!
//! Two ways round, with the same arithmetic. With many tiles and few channels, weights are transformed once and each
//! task takes a block of tiles from image to image. With many channels, tiles are transformed once and each task takes
//! a panel of output channels, transforms its weights and uses them at once, so that they never leave the cache.

use std::mem::MaybeUninit;

use super::scheme::Scheme;
use super::tiles::{Collect, Points, Spread};
use super::weights::Expand;
use super::{Pass, PhantomData};
use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};

/// Between planes of points, so that they do not fall on the same cache sets.
pub(super) const PLANE_GAP: usize = 16;
/// Numbers in a block's transformed tiles and products: what fits beside one panel of weights in a core's own cache.
const BLOCK_NUMBERS: usize = 200_000;
/// Numbers in all transformed tiles at once, where weights are transformed panel by panel.
const SUPERBLOCK_NUMBERS: usize = 4_000_000;

/// What one call works on.
struct Call<'a, T, S> {
    set: InstructionSet,
    pass: &'a Pass<S>,
    x: Shared<T>,
    weight: Shared<T>,
    bias: Shared<T>,
    y: Shared<T>,
    zeros: Shared<T>,
    /// Columns of a panel.
    width: usize,
    panels: usize,
}

/// Writes the convolution of `x` with `weight` (+ bias) into `y`.
pub(super) fn convolve<T: Element, S: Scheme>(
    set: InstructionSet,
    pass: &Pass<S>,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [MaybeUninit<T>],
) {
    let columns = pass.output.channels;
    let width = set.panel::<T>().min(columns.next_multiple_of(set.lanes::<T>()));
    let mut zeros = Scratch::<T>::new(pass.input.channels);
    zeros.slice().fill(T::default());
    let call = Call {
        set,
        pass,
        x: Shared::reading(x.as_ptr()),
        weight: Shared::reading(weight.as_ptr()),
        bias: Shared::reading(bias.map_or(std::ptr::null(), <[T]>::as_ptr)),
        y: Shared::new(y.as_mut_ptr().cast()),
        zeros: Shared::new(zeros.pointer()),
        width,
        panels: columns.div_ceil(width),
    };
    if call.panels >= 4 && pass.tiles <= 2048 { call.by_panels() } else { call.by_tiles() }
}

impl<T: Element, S: Scheme> Call<'_, T, S> {
    const ALL_POINTS: usize = S::POINTS * S::POINTS;

    /// Numbers from one point of transformed weights to the next.
    fn weight_plane(&self) -> usize {
        self.pass.input.channels * self.width + PLANE_GAP
    }

    fn columns(&self, panel: usize) -> usize {
        self.width.min(self.pass.output.channels - panel * self.width)
    }

    /// Row width of the transformed tiles.
    fn depth_width(&self) -> usize {
        self.pass.input.channels.next_multiple_of(self.set.lanes::<T>())
    }

    fn by_tiles(&self) {
        let (weight_plane, rows) = (self.weight_plane(), self.pass.input.channels);
        let weight_panel = Self::ALL_POINTS * weight_plane;
        let mut weight_scratch = Scratch::<T>::new(self.panels * weight_panel);
        let expanded = Shared::new(weight_scratch.pointer());
        const ROWS: usize = 16;
        let chunks = rows.div_ceil(ROWS);
        for_each_task(self.panels * chunks, 100 * rows * self.pass.output.channels, |task| {
            let (panel, row) = (task / chunks, task % chunks * ROWS);
            // SAFETY: each task writes its own panel and rows of `expanded`.
            unsafe {
                let to = expanded.get().add(panel * weight_panel + row * self.width);
                self.expand(panel, row, ROWS.min(rows - row), to);
            }
        });

        let numbers = Self::ALL_POINTS * (self.depth_width() + self.width);
        let block = (BLOCK_NUMBERS / numbers).clamp(12, 96).min(self.pass.tiles.div_ceil(8)).next_multiple_of(12);
        let block = block.min(self.pass.tiles);
        for_each_task(self.pass.tiles.div_ceil(block), self.pass.work(), |task| {
            let first = task * block;
            let count = block.min(self.pass.tiles - first);
            let mut tiles = self.tile_scratch(block);
            let points = self.tile_points(&mut tiles, block);
            // SAFETY: each task has its own scratch and writes the pixels of its own tiles.
            unsafe {
                self.spread(first, count, points, 0);
                for panel in 0..self.panels {
                    let weights = expanded.get().add(panel * weight_panel);
                    self.multiply_and_collect(first, count, points, 0, panel, weights);
                }
            }
        });
    }

    fn by_panels(&self) {
        let per_tile = Self::ALL_POINTS * self.depth_width();
        let most = (SUPERBLOCK_NUMBERS / per_tile).max(48).next_multiple_of(12);
        let superblock = self.pass.tiles.div_ceil(self.pass.tiles.div_ceil(most));
        let mut tiles = self.tile_scratch(superblock);
        let points = self.tile_points(&mut tiles, superblock);
        for start in (0..self.pass.tiles).step_by(superblock) {
            let count = superblock.min(self.pass.tiles - start);
            const TILES: usize = 4;
            for_each_task(count.div_ceil(TILES), 100 * count * per_tile, |task| {
                let first = task * TILES;
                // SAFETY: each task writes its own tiles.
                unsafe { self.spread(start + first, TILES.min(count - first), points, first) }
            });
            for_each_task(self.panels, self.pass.work(), |panel| {
                let mut expanded = Scratch::<T>::new(Self::ALL_POINTS * self.weight_plane());
                let weights = expanded.pointer();
                // SAFETY: each task has its own scratch and writes the channels of its own panel.
                unsafe {
                    self.expand(panel, 0, self.pass.input.channels, weights);
                    self.multiply_and_collect(start, count, points, 0, panel, weights);
                }
            });
        }
    }

    fn tile_scratch(&self, tiles: usize) -> Scratch<T> {
        Scratch::new(Self::ALL_POINTS * (tiles * self.depth_width() + PLANE_GAP))
    }

    fn tile_points(&self, scratch: &mut Scratch<T>, tiles: usize) -> Points<T> {
        let width = self.depth_width();
        Points { base: Shared::new(scratch.pointer()), panel: 0, plane: tiles * width + PLANE_GAP, width }
    }

    /// Transforms the weights of some row channels of a panel.
    unsafe fn expand(&self, panel: usize, row: usize, rows: usize, to: *mut T) {
        let job = Expand {
            weight: self.weight.get(),
            layout: self.pass.layout,
            row,
            rows,
            column: panel * self.width,
            columns: self.columns(panel),
            to,
            plane: self.weight_plane(),
            width: self.width,
            scheme: PhantomData::<S>,
        };
        // SAFETY: the weight has all rows and columns of the pass; the caller vouches for `to`.
        unsafe { self.set.run(&job) }
    }

    /// Transforms tiles `first..first + count` of the input.
    unsafe fn spread(&self, first: usize, count: usize, to: Points<T>, to_tile: usize) {
        let job = Spread::<T, S, false> {
            geometry: self.pass.input,
            images: self.x.get(),
            zeros: self.zeros.get(),
            first,
            count,
            to,
            to_tile,
            scheme: PhantomData,
        };
        // SAFETY: the input has all images of the pass, `zeros` its channels; the caller vouches for `to`.
        unsafe { self.set.run(&job) }
    }

    /// Multiplies transformed tiles with one panel's weights and writes the panel's channels of the output.
    unsafe fn multiply_and_collect(
        &self,
        first: usize,
        count: usize,
        tiles: Points<T>,
        from_tile: usize,
        panel: usize,
        weights: *const T,
    ) {
        let plane = count * self.width + PLANE_GAP;
        let mut product_scratch = Scratch::<T>::new(Self::ALL_POINTS * plane);
        let products = Points { base: Shared::new(product_scratch.pointer()), panel: 0, plane, width: self.width };
        let columns = self.columns(panel);
        for point in 0..Self::ALL_POINTS {
            // SAFETY: tiles, weights and products hold all points; the caller vouches for the first two.
            unsafe {
                let product = PanelProduct {
                    rows: count,
                    depth: self.pass.input.channels,
                    columns,
                    a: tiles.base.get().add(point * tiles.plane + from_tile * tiles.width),
                    a_row: tiles.width,
                    a_depth: 1,
                    b: weights.add(point * self.weight_plane()),
                    b_row: self.width,
                    c: products.base.get().add(point * plane),
                    c_row: self.width,
                    onto: Onto::Zero,
                };
                product.compute(self.set);
            }
        }
        let channel = panel * self.width;
        let bias = self.bias.get();
        let job = Collect {
            geometry: self.pass.output,
            from: products,
            images: self.y.get(),
            first,
            count,
            channel,
            columns,
            // SAFETY: a bias has as many numbers as the output has channels.
            bias: if bias.is_null() { bias } else { unsafe { bias.add(channel) } },
            scheme: PhantomData::<S>,
        };
        // SAFETY: the products are written; no other task writes these tiles' pixels in these channels.
        unsafe { self.set.run(&job) }
    }
}
