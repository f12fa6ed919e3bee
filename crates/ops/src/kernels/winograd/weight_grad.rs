//! The weight gradient: dU = Σ over tiles of (Bᵀ d B)ᵀ(A g Aᵀ) for each point, then dw = Gᵀ dU G.
//!
//! The sum runs over blocks of tiles in order and is one chain within a block, so it does not depend on the threads.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::Pass;
use super::forward::PLANE_GAP;
use super::scheme::Scheme;
use super::tiles::{Points, Spread};
use super::weights::Contract;
use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};

/// Numbers in the transformed tiles of a block, inputs and cotangents together.
const BLOCK_NUMBERS: usize = 600_000;
/// Tiles per block. The minimum limits how often sums are loaded, the maximum the length of a chain of additions.
const BLOCK_TILES: std::ops::RangeInclusive<usize> = 128..=512;
/// Row channels whose gradients at all points fit the private cache of a core.
const ROWS: usize = 48;

/// The operands and sizes of one call.
struct Call<'a, T, S> {
    set: InstructionSet,
    pass: &'a Pass<S>,
    x: Shared<T>,
    grad_y: Shared<T>,
    grad_weight: Shared<T>,
    zeros: Shared<T>,
    /// Transformed tiles of the input.
    inputs: Shared<T>,
    /// Transformed tiles of the cotangent.
    gradients: Shared<T>,
    /// Tiles per block.
    block: usize,
    input_width: usize,
    /// Columns per panel.
    width: usize,
    panels: usize,
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to the weight.
pub(super) fn correlate<T: Element, S: Scheme>(
    set: InstructionSet,
    pass: &Pass<S>,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    let points = S::POINTS * S::POINTS;
    let (rows, columns) = (pass.input.channels, pass.output.channels);
    let lanes = set.lanes::<T>();
    // An odd number of cache lines, so that the rows of one column of tiles do not map to a few cache sets.
    let line = 64 / size_of::<T>();
    let input_width = (rows.next_multiple_of(lanes).div_ceil(line) | 1) * line;
    let width = set.panel::<T>().min(columns.next_multiple_of(lanes));
    let panels = columns.div_ceil(width);
    let most =
        (BLOCK_NUMBERS / (points * (input_width + panels * width))).clamp(*BLOCK_TILES.start(), *BLOCK_TILES.end());
    let block = pass.tiles.div_ceil(pass.tiles.div_ceil(most));
    let mut zeros = Scratch::<T>::new(rows.max(columns));
    zeros.slice().fill(T::default());
    let mut inputs = Scratch::<T>::new(points * (block * input_width + PLANE_GAP));
    let mut gradients = Scratch::<T>::new(panels * points * (block * width + PLANE_GAP));
    let call = Call {
        set,
        pass,
        x: Shared::reading(x.as_ptr()),
        grad_y: Shared::reading(grad_y.as_ptr()),
        grad_weight: Shared::new(grad_weight.as_mut_ptr().cast()),
        zeros: Shared::new(zeros.pointer()),
        inputs: Shared::new(inputs.pointer()),
        gradients: Shared::new(gradients.pointer()),
        block,
        input_width,
        width,
        panels,
    };
    if block == pass.tiles && panels * rows.div_ceil(ROWS) >= 8 { call.by_rows() } else { call.by_points() }
}

impl<T: Element, S: Scheme> Call<'_, T, S> {
    const ALL_POINTS: usize = S::POINTS * S::POINTS;

    fn columns(&self, panel: usize) -> usize {
        self.width.min(self.pass.output.channels - panel * self.width)
    }

    fn rows(&self) -> usize {
        self.pass.input.channels
    }

    fn gradient_plane(&self) -> usize {
        self.block * self.width + PLANE_GAP
    }

    fn input_plane(&self) -> usize {
        self.block * self.input_width + PLANE_GAP
    }

    /// With all tiles in one block: each task computes the gradient of some row channels of a panel at all points.
    fn by_rows(&self) {
        self.spread(0, self.pass.tiles);
        let chunks = self.rows().div_ceil(ROWS);
        // Panels vary fastest, so that the rows of a chunk stay in the cache.
        for_each_task(self.panels * chunks, self.pass.work(), |task| {
            let (panel, row) = (task % self.panels, task / self.panels * ROWS);
            let rows = ROWS.min(self.rows() - row);
            let plane = rows * self.width + PLANE_GAP;
            let mut sums = Scratch::<T>::new(Self::ALL_POINTS * plane);
            // SAFETY: each task has its own scratch and writes the weights of its own rows and panel.
            unsafe {
                for point in 0..Self::ALL_POINTS {
                    let sums = sums.pointer().add(point * plane);
                    self.multiply(point, panel, row..row + rows, self.pass.tiles, sums, Onto::Zero);
                }
                self.contract(panel, row, rows, sums.pointer(), plane);
            }
        });
    }

    /// With several blocks, in order: each task adds one point of a panel.
    fn by_points(&self) {
        let plane = self.rows() * self.width + PLANE_GAP;
        let panel_numbers = Self::ALL_POINTS * plane;
        let mut sum_scratch = Scratch::<T>::new(self.panels * panel_numbers);
        let sums = Shared::new(sum_scratch.pointer());
        for first in (0..self.pass.tiles).step_by(self.block) {
            let count = self.block.min(self.pass.tiles - first);
            self.spread(first, count);
            let work = self.pass.work() / self.pass.tiles * count;
            for_each_task(Self::ALL_POINTS * self.panels, work, |task| {
                let (point, panel) = (task / self.panels, task % self.panels);
                // SAFETY: each task writes its own point of its own panel.
                unsafe {
                    let to = sums.get().add(panel * panel_numbers + point * plane);
                    let onto = if first == 0 { Onto::Zero } else { Onto::Itself };
                    self.multiply(point, panel, 0..self.rows(), count, to, onto);
                }
            });
        }
        const ROWS: usize = 16;
        let chunks = self.rows().div_ceil(ROWS);
        for_each_task(self.panels * chunks, 100 * self.rows() * self.pass.output.channels, |task| {
            let (panel, row) = (task / chunks, task % chunks * ROWS);
            // SAFETY: each task writes the weights of its own rows and panel.
            unsafe {
                let from = sums.get().add(panel * panel_numbers + row * self.width);
                self.contract(panel, row, ROWS.min(self.rows() - row), from, plane);
            }
        });
    }

    /// Transforms tiles `first..first + count` of the input and of the cotangent.
    fn spread(&self, first: usize, count: usize) {
        const TILES: usize = 4;
        let numbers = Self::ALL_POINTS * (self.input_width + self.panels * self.width);
        for_each_task(count.div_ceil(TILES), 8 * count * numbers, |task| {
            let tile = task * TILES;
            let number = TILES.min(count - tile);
            let inputs = Spread::<T, S, false> {
                geometry: self.pass.input,
                images: self.x.get(),
                zeros: self.zeros.get(),
                first: first + tile,
                count: number,
                to: Points { base: self.inputs, panel: 0, plane: self.input_plane(), width: self.input_width },
                to_tile: tile,
                scheme: PhantomData,
            };
            let gradient_plane = self.gradient_plane();
            let gradients = Spread::<T, S, true> {
                geometry: self.pass.output,
                images: self.grad_y.get(),
                zeros: self.zeros.get(),
                first: first + tile,
                count: number,
                to: Points {
                    base: self.gradients,
                    panel: Self::ALL_POINTS * gradient_plane,
                    plane: gradient_plane,
                    width: self.width,
                },
                to_tile: tile,
                scheme: PhantomData,
            };
            // SAFETY: both tensors have the lengths of the geometry, the buffers hold a block, and each task writes its own
            // tiles.
            unsafe {
                self.set.run(&inputs);
                self.set.run(&gradients);
            }
        });
    }

    /// Writes the sum over `tiles` tiles at one point, for some row channels and one panel of column channels.
    ///
    /// # Safety
    /// `to` is writable for these rows of a panel, and initialised for [`Onto::Itself`]. The block holds `tiles` tiles.
    unsafe fn multiply(&self, point: usize, panel: usize, rows: Range<usize>, tiles: usize, to: *mut T, onto: Onto<T>) {
        // SAFETY: the transformed tiles are initialised and not changed meanwhile; the caller vouches for `to`.
        unsafe {
            let product = PanelProduct {
                rows: rows.len(),
                depth: tiles,
                columns: self.columns(panel),
                a: self.inputs.get().add(point * self.input_plane() + rows.start),
                a_row: 1,
                a_depth: self.input_width,
                b: self.gradients.get().add((panel * Self::ALL_POINTS + point) * self.gradient_plane()),
                b_row: self.width,
                b_len: self.gradient_plane(),
                c: to,
                c_row: self.width,
                onto,
            };
            product.compute(self.set);
        }
    }

    /// Writes the gradient of some row channels of one panel.
    ///
    /// # Safety
    /// `from` is readable for these rows at all points. No other thread writes these rows of this panel.
    unsafe fn contract(&self, panel: usize, row: usize, rows: usize, from: *const T, plane: usize) {
        let job = Contract {
            from,
            plane,
            width: self.width,
            weight: self.grad_weight.get(),
            layout: self.pass.layout,
            row,
            rows,
            column: panel * self.width,
            columns: self.columns(panel),
            scheme: PhantomData::<S>,
        };
        // SAFETY: the weight has all rows and columns of the pass; the caller vouches for `from`.
        unsafe { self.set.run(&job) }
    }
}
