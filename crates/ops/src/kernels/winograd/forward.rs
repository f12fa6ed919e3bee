//! The forward pass and the input gradient: tiles in, one matrix product for each point, tiles out.
//!
//! Two loop orders with the same arithmetic. With many tiles and few channels, weights are transformed once and each
//! task processes a block of tiles completely. With many channels, tiles are transformed once and each task transforms the
//! weights of a group of panels of output channels and multiplies them with every tile.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::Pass;
use super::scheme::Scheme;
use super::tiles::{Collect, Points, Spread};
use super::weights::Expand;
use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};

/// Numbers between the planes of two points, so that planes do not map to the same cache sets.
pub(super) const PLANE_GAP: usize = 16;
/// Columns per group of panels where each task transforms its own weights: wide enough that loading a row of tiles pays.
const GROUP_COLUMNS: usize = 64;
/// Tiles that are multiplied with all panels of a group while they are in the cache.
const GROUP_TILES: usize = 48;
/// Numbers in all transformed tiles together, where weights are transformed panel by panel.
const SUPERBLOCK_NUMBERS: usize = 4_000_000;

/// The operands and sizes of one call.
struct Call<'a, T, S> {
    set: InstructionSet,
    pass: &'a Pass<S>,
    x: Shared<T>,
    weight: Shared<T>,
    bias: Shared<T>,
    y: Shared<T>,
    zeros: Shared<T>,
    /// Columns per panel.
    width: usize,
    panels: usize,
    /// Panels per group.
    together: usize,
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
        together: GROUP_COLUMNS.div_ceil(width),
    };
    if columns > 3 * GROUP_COLUMNS && pass.tiles <= 2048 { call.by_groups() } else { call.by_tiles() }
}

impl<T: Element, S: Scheme> Call<'_, T, S> {
    const ALL_POINTS: usize = S::POINTS * S::POINTS;

    /// Numbers between neighbouring points of transformed weights.
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
        let block =
            (self.set.cached_numbers() / numbers).clamp(12, 96).min(self.pass.tiles.div_ceil(8)).next_multiple_of(12);
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
                    self.multiply_and_collect(first, count, points, panel..panel + 1, weights);
                }
            }
        });
    }

    fn by_groups(&self) {
        let per_tile = Self::ALL_POINTS * self.depth_width();
        let most = (SUPERBLOCK_NUMBERS / per_tile).max(48).next_multiple_of(12);
        let superblock = self.pass.tiles.div_ceil(self.pass.tiles.div_ceil(most));
        let weight_panel = Self::ALL_POINTS * self.weight_plane();
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
            for_each_task(self.panels.div_ceil(self.together), self.pass.work(), |group| {
                let group = group * self.together..self.panels.min((group + 1) * self.together);
                let mut expanded = Scratch::<T>::new(group.len() * weight_panel);
                let weights = expanded.pointer();
                // SAFETY: each task has its own scratch and writes the channels of its own panels.
                unsafe {
                    for panel in group.clone() {
                        let to = weights.add((panel - group.start) * weight_panel);
                        self.expand(panel, 0, self.pass.input.channels, to);
                    }
                    self.multiply_and_collect(start, count, points, group, weights);
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
    ///
    /// # Safety
    /// `to` is writable for these rows at all points.
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
    ///
    /// # Safety
    /// `to` is writable for `count` tiles from `to_tile` on, at all points.
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

    /// Multiplies transformed tiles with the weights of some panels and writes the panels' channels of the output.
    ///
    /// # Safety
    /// `tiles` and `weights` are readable at all points, for `count` tiles and these panels. No other thread writes the pixels
    /// of these tiles in the channels of these panels.
    unsafe fn multiply_and_collect(
        &self,
        first: usize,
        count: usize,
        tiles: Points<T>,
        panels: Range<usize>,
        weights: *const T,
    ) {
        let plane = count * self.width + PLANE_GAP;
        let (weight_panel, product_panel) = (Self::ALL_POINTS * self.weight_plane(), Self::ALL_POINTS * plane);
        let mut product_scratch = Scratch::<T>::new(panels.len() * product_panel);
        let base = Shared::new(product_scratch.pointer());
        for point in 0..Self::ALL_POINTS {
            for start in (0..count).step_by(GROUP_TILES) {
                for (index, panel) in panels.clone().enumerate() {
                    // SAFETY: tiles, weights and products hold all points; the caller vouches for the first two.
                    unsafe {
                        let product = PanelProduct {
                            rows: GROUP_TILES.min(count - start),
                            depth: self.pass.input.channels,
                            columns: self.columns(panel),
                            a: tiles.base.get().add(point * tiles.plane + start * tiles.width),
                            a_row: tiles.width,
                            a_depth: 1,
                            b: weights.add(index * weight_panel + point * self.weight_plane()),
                            b_row: self.width,
                            b_len: self.weight_plane(),
                            c: base.get().add(index * product_panel + point * plane + start * self.width),
                            c_row: self.width,
                            onto: Onto::Zero,
                        };
                        product.compute(self.set);
                    }
                }
            }
        }
        let bias = self.bias.get();
        for (index, panel) in panels.enumerate() {
            let channel = panel * self.width;
            // SAFETY: each panel's products lie within the scratch; a bias has as many numbers as the output channels.
            let (from, bias) = unsafe {
                (
                    Shared::new(base.get().add(index * product_panel)),
                    if bias.is_null() { bias } else { bias.add(channel) },
                )
            };
            let job = Collect {
                geometry: self.pass.output,
                from: Points { base: from, panel: 0, plane, width: self.width },
                images: self.y.get(),
                first,
                count,
                channel,
                columns: self.columns(panel),
                bias,
                scheme: PhantomData::<S>,
            };
            // SAFETY: the products are written; no other task writes these tiles' pixels in these channels.
            unsafe { self.set.run(&job) }
        }
    }
}
