//! The products between active channels.

use std::mem::MaybeUninit;

use super::ActiveAround;
use super::gathered_rows::{GatheredRows, MOVING, SharedRows, by_tap};
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element, uninitialised};

/// The maximal number of rows of a tile: as many as the registers hold beside a panel.
const TILE_ROWS: usize = 6;
/// Gathered weights that fit the private cache of a core.
const BLOCK_NUMBERS: usize = 32 * 1024;

/// The number of products for one cotangent of an image.
pub(super) fn count(g: &ConvGeometry, active: &ActiveAround) -> usize {
    let mut taps = Vec::new();
    let at_pixel = |pixel: usize| {
        reaching(g, pixel, &mut taps);
        let depth: usize = taps.iter().map(|tap| active.output.at(tap.output).len()).sum();
        active.input.at(pixel).len() * depth
    };
    (0..g.height * g.width).map(at_pixel).sum()
}

/// The input gradient for all cotangents of all images; zero at inactive channels. Cotangent `[k·batch, …]` r belongs to image
/// r mod batch.
pub(super) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    weight: &[T],
    cotangents: &[T],
    active: &[ActiveAround],
    each: usize,
) -> Vec<T> {
    let by_tap = by_tap(g, weight);
    let row_len = cotangents.len() / (each * g.batch);
    let write = |grad_x: &mut [MaybeUninit<T>]| {
        let to = Shared::new(grad_x.as_mut_ptr().cast::<T>());
        for (image, active) in active.iter().enumerate() {
            let rows: Vec<&[T]> = cotangents.chunks(row_len).skip(image).step_by(g.batch).collect();
            let mut gathered = GatheredRows::new(set, g, &active.output, &rows);
            let gathered = gathered.shared();
            let moved = MOVING * each * g.input_len() / g.batch;
            for_each_task(g.height * g.width, count(g, active) * each + moved, |pixel| {
                // SAFETY: each pixel of each image belongs to one task.
                unsafe { Pixel { set, g, by_tap: &by_tap, active, gathered, image, pixel }.write(to) }
            });
        }
    };
    // SAFETY: every pixel of every image is written for every cotangent.
    unsafe { uninitialised::written(each * g.input_len(), write) }
}

/// A tap that connects a pixel of the input with a pixel of the output.
#[derive(Clone, Copy)]
struct Tap {
    tap: usize,
    output: usize,
}

/// The taps that connect a pixel of the input with the output, in the order of the output pixels.
fn reaching(g: &ConvGeometry, pixel: usize, taps: &mut Vec<Tap>) {
    let place = [pixel / g.width, pixel % g.width];
    let outputs = [g.out_height(), g.out_width()];
    // In reverse order of the taps the output pixels increase.
    let along = |axis: usize| {
        (0..g.kernel[axis]).rev().filter_map(move |tap| {
            let steps = (place[axis] + g.padding[axis]).checked_sub(tap * g.dilation[axis])?;
            let output = steps / g.stride[axis];
            (steps.is_multiple_of(g.stride[axis]) && output < outputs[axis]).then_some((tap, output))
        })
    };
    taps.clear();
    for (down, row) in along(0) {
        let in_row = |(right, column)| Tap { tap: down * g.kernel[1] + right, output: row * outputs[1] + column };
        taps.extend(along(1).map(in_row));
    }
}

/// The gradient at one pixel of an image, for all cotangents.
struct Pixel<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    by_tap: &'a [T],
    active: &'a ActiveAround,
    gathered: SharedRows<T>,
    image: usize,
    pixel: usize,
}

impl<T: Element> Pixel<'_, T> {
    /// Writes the gradient at this pixel for all cotangents.
    ///
    /// # Safety
    /// `to` is writable for the gradients of all cotangents, and no other thread writes this pixel of this image.
    unsafe fn write(&self, to: Shared<T>) {
        let layout = self.gathered.layout;
        let wanted = self.active.input.at(self.pixel);
        // `[panel][channel][cotangent]`.
        let mut sums = Scratch::<T>::new(layout.panels() * wanted.len() * layout.width);
        let mut onto = Onto::Zero;
        let (mut taps, mut rows) = (Vec::new(), Vec::new());
        reaching(self.g, self.pixel, &mut taps);
        let mut left = &taps[..];
        while let [first, ..] = left {
            // The values of adjacent output pixels are adjacent.
            let run = (1..left.len()).find(|next| left[*next].output != first.output + next).unwrap_or(left.len());
            let (these, others) = left.split_at(run);
            self.rows_of_weights(these, &mut rows);
            self.add(self.active.output.start(first.output), &rows, wanted, &mut sums, &mut onto);
            left = others;
        }
        if matches!(onto, Onto::Zero) {
            sums.slice().fill(T::default());
        }
        // SAFETY: the caller vouches for `to` and this pixel.
        unsafe { self.scatter(wanted, sums.slice(), to) }
    }

    /// The start of the weights of each active channel at the output pixels of these taps.
    fn rows_of_weights(&self, taps: &[Tap], rows: &mut Vec<usize>) {
        rows.clear();
        for tap in taps {
            let start = |channel: &u32| (tap.tap * self.g.out_channels + *channel as usize) * self.g.in_channels;
            rows.extend(self.active.output.at(tap.output).iter().map(start));
        }
    }

    /// Adds the products of the values from `first` on with their rows of weights.
    fn add(&self, first: usize, rows: &[usize], wanted: &[u32], sums: &mut Scratch<T>, onto: &mut Onto<T>) {
        if wanted.is_empty() {
            return;
        }
        let layout = self.gathered.layout;
        let depth = (BLOCK_NUMBERS / wanted.len()).max(TILE_ROWS);
        let mut weights = Scratch::<T>::new(depth.min(rows.len()) * wanted.len());
        for (block, rows) in rows.chunks(depth).enumerate() {
            self.gather_weights(rows, wanted, weights.slice());
            for panel in 0..layout.panels() {
                let b = layout.start(panel, first + block * depth);
                for (channel, height) in strips(wanted.len()) {
                    // SAFETY: gathered rows, weights and sums have the lengths of their layouts.
                    unsafe {
                        let product = PanelProduct {
                            rows: height,
                            depth: rows.len(),
                            columns: layout.used(panel),
                            a: weights.pointer().add(channel * rows.len()),
                            a_row: 1,
                            a_depth: height,
                            b: self.gathered.from.get().add(b),
                            b_row: layout.width,
                            b_len: layout.left(first + block * depth),
                            c: sums.pointer().add((panel * wanted.len() + channel) * layout.width),
                            c_row: layout.width,
                            onto: *onto,
                        };
                        product.compute(self.set);
                    }
                }
            }
            *onto = Onto::Itself;
        }
    }

    /// Writes the weights between these rows and the active input channels: `[strip][row][channel of the strip]`.
    fn gather_weights(&self, rows: &[usize], wanted: &[u32], weights: &mut [T]) {
        for (channel, height) in strips(wanted.len()) {
            let wanted = &wanted[channel..][..height];
            let strip = &mut weights[channel * rows.len()..][..height * rows.len()];
            match height {
                6 => self.gather_strip::<6>(rows, wanted, strip),
                5 => self.gather_strip::<5>(rows, wanted, strip),
                4 => self.gather_strip::<4>(rows, wanted, strip),
                3 => self.gather_strip::<3>(rows, wanted, strip),
                2 => self.gather_strip::<2>(rows, wanted, strip),
                _ => self.gather_strip::<1>(rows, wanted, strip),
            }
        }
    }

    fn gather_strip<const HEIGHT: usize>(&self, rows: &[usize], wanted: &[u32], strip: &mut [T]) {
        let mut channels = [0; HEIGHT];
        channels.iter_mut().zip(wanted).for_each(|(to, channel)| *to = *channel as usize);
        let (weights, _) = strip.as_chunks_mut::<HEIGHT>();
        for (weights, row) in weights.iter_mut().zip(rows) {
            let row = &self.by_tap[*row..][..self.g.in_channels];
            for (weight, channel) in weights.iter_mut().zip(channels) {
                // SAFETY: active channels are channels of the input.
                *weight = unsafe { *row.get_unchecked(channel) };
            }
        }
    }

    /// Writes the sums to their channels and zeros to the inactive channels.
    ///
    /// # Safety
    /// As [`Pixel::write`].
    unsafe fn scatter(&self, wanted: &[u32], sums: &[T], to: Shared<T>) {
        let (g, layout) = (self.g, self.gathered.layout);
        for cotangent in 0..layout.cotangents {
            let (panel, lane) = (cotangent / layout.width, cotangent % layout.width);
            let pixel = (cotangent * g.batch + self.image) * g.height * g.width + self.pixel;
            let to = to.get().wrapping_add(pixel * g.in_channels).cast::<MaybeUninit<T>>();
            // SAFETY: the pixel lies within the gradients and belongs to this task.
            let row = unsafe { std::slice::from_raw_parts_mut(to, g.in_channels) };
            row.fill(MaybeUninit::new(T::default()));
            let mut sum = sums.as_ptr().wrapping_add(panel * wanted.len() * layout.width + lane);
            for channel in wanted {
                // SAFETY: active channels are channels of the input, and each has one sum per panel.
                unsafe { row.get_unchecked_mut(*channel as usize).write(*sum) };
                sum = sum.wrapping_add(layout.width);
            }
        }
    }
}

/// Strips of nearly equal height, none higher than a tile, as (first channel, height).
fn strips(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = channels.div_ceil(TILE_ROWS);
    (0..count).map(move |strip| {
        let (start, end) = (strip * channels / count, (strip + 1) * channels / count);
        (start, end - start)
    })
}
