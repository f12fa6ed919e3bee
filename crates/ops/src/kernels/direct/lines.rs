//! The forward pass and the weight gradient of an image with few channels, as in a first layer.
//!
//! The taps of one kernel row read adjacent numbers of a line. So a copy of the lines with zeros around them already is the matrix of
//! patches, whose rows overlap: nothing is gathered.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::weight_grad::{CHAIN, PackRows, SumsOfSlabs};
use super::weights::{Packed, WeightView};
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::operands::Operands;
use crate::kernels::panel::{Onto, PanelProduct, Segments};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element};

/// Numbers of the lines that a task copies at a time, so that they stay in the nearest cache.
const COPIED: usize = 6 * 1024;

/// Whether the input channels fill at most half of a vector, and the taps of a kernel row are adjacent.
pub(crate) fn suits(lanes: usize, g: &ConvGeometry) -> bool {
    g.groups == 1 && g.kernel != [1, 1] && g.dilation[1] == 1 && 2 * g.in_channels <= lanes
}

/// The lines of an image with zeros above, below and at both sides.
#[derive(Clone, Copy)]
struct PaddedLines<'a> {
    g: &'a ConvGeometry,
    /// Numbers of one line.
    length: usize,
    /// Lines that the kernel spans.
    span: usize,
}

impl<'a> PaddedLines<'a> {
    fn new(g: &'a ConvGeometry) -> Self {
        let length = (g.width + 2 * g.padding[1]) * g.in_channels;
        Self { g, length, span: g.dilation[0] * (g.kernel[0] - 1) + 1 }
    }

    /// Rows of the output whose lines are copied together.
    fn rows_at_a_time(&self) -> usize {
        (COPIED / self.length).saturating_sub(self.span) / self.g.stride[0] + 1
    }

    /// The lines that these rows of the output read.
    fn copy<T: Element>(&self, image: &[T], rows: &Range<usize>) -> Scratch<T> {
        let first = rows.start * self.g.stride[0];
        let count = (rows.len().max(1) - 1) * self.g.stride[0] + self.span;
        let mut scratch = Scratch::<T>::new(count * self.length);
        let (side, inside) = (self.g.padding[1] * self.g.in_channels, self.g.width * self.g.in_channels);
        for (line, to) in (first..first + count).zip(scratch.slice().chunks_exact_mut(self.length)) {
            match line.checked_sub(self.g.padding[0]).filter(|&line| line < self.g.height) {
                None => to.fill(T::default()),
                Some(line) => {
                    let (left, rest) = to.split_at_mut(side);
                    let (middle, right) = rest.split_at_mut(inside);
                    left.fill(T::default());
                    middle.copy_from_slice(&image[line * inside..][..inside]);
                    right.fill(T::default());
                }
            }
        }
        scratch
    }
}

/// Writes conv(x, weight) + bias into `y`. Slices have the lengths of the geometry.
pub(crate) fn forward<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    operands: Operands<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let Operands { x, weight, bias } = operands;
    let plane = g.kernel[0] * g.kernel[1];
    let view = WeightView { first: 0, depth: plane, column: g.in_channels * plane, taps: (0..plane).collect() };
    let mut packed = Packed::new(set, weight, &view, g.in_channels, g.out_channels);
    let weights = Shared::reading(packed.pointer());
    let packed = &packed;
    let bias = Shared::reading(bias.map_or(std::ptr::null(), <[T]>::as_ptr));
    let lines = PaddedLines::new(g);
    let y = Shared::new(y.as_mut_ptr().cast::<T>());
    let (height, at_a_time) = (g.out_height(), lines.rows_at_a_time());
    let bands = height.div_ceil(at_a_time);
    for_each_task(g.batch * bands, g.multiplications(), |task| {
        let (image, first) = (task / bands, task % bands * at_a_time);
        let rows = first..height.min(first + at_a_time);
        let copied = lines.copy(&x[image * g.input_len() / g.batch..], &rows);
        let depth = g.kernel[1] * g.in_channels;
        for row in rows.clone() {
            for panel in 0..packed.panels() {
                let column = panel * packed.width;
                let part = packed.rows * packed.width;
                // SAFETY: the lines hold what the row reads, the packed weights and the output have the sizes of the geometry, and no
                // other task writes this row.
                unsafe {
                    let product = PanelProduct {
                        rows: g.out_width(),
                        depth,
                        columns: packed.used(panel),
                        a: copied.as_ptr().add((row - rows.start) * g.stride[0] * lines.length),
                        a_row: g.stride[1] * g.in_channels,
                        a_depth: 1,
                        b: weights.get().add(panel * part),
                        b_row: packed.width,
                        b_len: part,
                        c: y.get().add((image * height + row) * g.out_width() * g.out_channels + column),
                        c_row: g.out_channels,
                        onto: match bias.get().is_null() {
                            true => Onto::Zero,
                            false => Onto::Columns(bias.get().add(column)),
                        },
                    };
                    let kernel_rows =
                        Segments { count: g.kernel[0], a: g.dilation[0] * lines.length, b: depth * packed.width };
                    product.compute_segments(set, kernel_rows);
                }
            }
        }
    });
}

/// Writes the weight gradient into `grad_weight`. Slices have the lengths of the geometry.
pub(crate) fn weight_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    let taps = g.kernel[0] * g.kernel[1];
    let sums = SumsOfSlabs::new(g.output_len() / g.out_channels, taps, g.in_channels, g.out_channels);
    let rows = g.batch * g.out_height();
    let slab = rows.div_ceil(sums.slabs);
    let mut scratch = Scratch::<T>::new(sums.slabs * sums.slab_numbers());
    let to = Shared::new(scratch.pointer());
    let gradient = WeightGradient {
        set,
        g,
        x,
        grad_y,
        lines: PaddedLines::new(g),
        numbers: sums.slab_numbers(),
        width: sums.width,
    };
    for_each_task(sums.slabs, g.multiplications(), |task| {
        // SAFETY: each task writes its own slab of the sums.
        unsafe { gradient.sum(task * slab..rows.min((task + 1) * slab), to.get().add(task * sums.slab_numbers())) };
    });
    sums.finish(g, to, &(0..taps).collect::<Vec<_>>(), grad_weight);
}

/// What the sums over rows of the output need.
struct WeightGradient<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    x: &'a [T],
    grad_y: &'a [T],
    lines: PaddedLines<'a>,
    /// Numbers of a slab.
    numbers: usize,
    /// Numbers of a row of the sums.
    width: usize,
}

impl<T: Element> WeightGradient<'_, T> {
    /// Writes the sums over these rows of the outputs of all images.
    ///
    /// # Safety
    /// `to` is writable for one slab.
    unsafe fn sum(&self, rows: Range<usize>, to: *mut T) {
        let (height, width) = (self.g.out_height(), self.g.out_width());
        let at_a_time = (CHAIN / width).max(1);
        let mut onto = Onto::Zero;
        if rows.is_empty() {
            // SAFETY: the caller vouches for the slab.
            unsafe { to.write_bytes(0, self.numbers) };
        }
        let mut first = rows.start;
        while first < rows.end {
            let (image, row) = (first / height, first % height);
            let inside = row..height.min(row + at_a_time).min(row + rows.end - first);
            let copied = self.lines.copy(&self.x[image * self.g.input_len() / self.g.batch..], &inside);
            for column in (0..width).step_by(CHAIN) {
                let columns = column..width.min(column + CHAIN);
                let block = Block { position: first * width + column, rows: inside.len(), columns };
                // SAFETY: the lines hold what these positions read; the caller vouches for the slab.
                unsafe { self.add(&copied, &block, onto, to) };
                onto = Onto::Itself;
            }
            first += inside.len();
        }
    }

    /// Adds the products of a block of positions to the sums.
    ///
    /// # Safety
    /// `copied` holds the lines that the block reads, from its first row on. `to` is writable for one slab, and initialised for
    /// [`Onto::Itself`].
    unsafe fn add(&self, copied: &Scratch<T>, block: &Block, onto: Onto<T>, to: *mut T) {
        let g = self.g;
        let (count, across) = (block.columns.len(), g.out_channels);
        let step = g.stride[1] * g.in_channels;
        let panel = self.set.panel::<T>().min(self.width);
        for first in (0..across).step_by(panel) {
            let columns = panel.min(across - first);
            for kernel_row in 0..g.kernel[0] {
                // SAFETY: the caller vouches for lines and sums, and the position is one of the output's.
                unsafe {
                    let line = kernel_row * g.dilation[0] * self.lines.length;
                    let start = block.position * across + first;
                    let mut product = PanelProduct {
                        rows: g.kernel[1] * g.in_channels,
                        depth: count,
                        columns,
                        a: copied.as_ptr().add(line + block.columns.start * step),
                        a_row: 1,
                        a_depth: step,
                        b: self.grad_y.as_ptr().add(start),
                        b_row: across,
                        b_len: self.grad_y.len() - start,
                        c: to.add(kernel_row * g.kernel[1] * g.in_channels * self.width + first),
                        c_row: self.width,
                        onto,
                    };
                    let mut rows =
                        Segments { count: block.rows, a: g.stride[0] * self.lines.length, b: g.out_width() * across };
                    // Cotangents are read in whole vectors, of which the last could reach beyond the tensor.
                    let packs = product.reads_of_b(self.set, rows) > product.b_len;
                    let mut packed = Scratch::<T>::new(if packs { block.rows * count * panel } else { 0 });
                    if packs {
                        for row in 0..block.rows {
                            let from = product.b.add(row * rows.b);
                            let to = packed.pointer().add(row * count * panel);
                            self.set.run(&PackRows { from, row: across, count, columns, to, width: panel });
                        }
                        (product.b, product.b_row, product.b_len) =
                            (packed.as_ptr(), panel, block.rows * count * panel);
                        rows.b = count * panel;
                    }
                    product.compute_segments(self.set, rows);
                }
            }
        }
    }
}

/// Neighbouring positions: some columns of some rows of an image's output.
struct Block {
    /// The first of them, counted over all images.
    position: usize,
    rows: usize,
    columns: Range<usize>,
}
