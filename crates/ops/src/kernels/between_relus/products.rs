//! The products between what is alive.

use std::mem::MaybeUninit;

use super::AliveAround;
use super::gathered::{Gathered, MOVING, SharedNumbers, by_tap};
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element, fresh};

/// Rows of a tile at most: what the registers hold beside a panel.
const TILE_ROWS: usize = 6;
/// Gathered weights that stay in a core's own cache.
const BLOCK_NUMBERS: usize = 32 * 1024;

/// How many products there are for one cotangent of an image.
pub(super) fn count(g: &ConvGeometry, alive: &AliveAround) -> usize {
    let mut taps = Vec::new();
    let at_pixel = |pixel: usize| {
        reaching(g, pixel, &mut taps);
        let depth: usize = taps.iter().map(|tap| alive.behind.at(tap.output).len()).sum();
        alive.in_front.at(pixel).len() * depth
    };
    (0..g.height * g.width).map(at_pixel).sum()
}

/// The input gradient for the cotangents of each image; zero where nothing is alive.
pub(super) fn between<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    weight: &[T],
    cotangents: &[T],
    alive: &[AliveAround],
    each: usize,
) -> Vec<T> {
    let by_tap = by_tap(g, weight);
    let row_len = cotangents.len() / (each * g.batch);
    let write = |grad_x: &mut [MaybeUninit<T>]| {
        let to = Shared::new(grad_x.as_mut_ptr().cast::<T>());
        for (image, alive) in alive.iter().enumerate() {
            let rows: Vec<&[T]> = cotangents.chunks(row_len).skip(image).step_by(g.batch).collect();
            let mut numbers = Gathered::new(set, g, &alive.behind, &rows);
            let numbers = numbers.shared();
            let moved = MOVING * each * g.input_len() / g.batch;
            for_each_task(g.height * g.width, count(g, alive) * each + moved, |pixel| {
                // SAFETY: each pixel of each image is one task's.
                unsafe { Pixel { set, g, by_tap: &by_tap, alive, numbers, image, pixel }.write(to) }
            });
        }
    };
    // SAFETY: every pixel of every image is written for every cotangent.
    unsafe { fresh::written(each * g.input_len(), write) }
}

/// A tap that reaches a pixel of the input, and the pixel of the output from where it does.
#[derive(Clone, Copy)]
struct Tap {
    tap: usize,
    output: usize,
}

/// The taps that reach a pixel of the input, in the order of the outputs.
fn reaching(g: &ConvGeometry, pixel: usize, taps: &mut Vec<Tap>) {
    let place = [pixel / g.width, pixel % g.width];
    let outputs = [g.out_height(), g.out_width()];
    // From the last tap on, so that the outputs rise.
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
    alive: &'a AliveAround,
    numbers: SharedNumbers<T>,
    image: usize,
    pixel: usize,
}

impl<T: Element> Pixel<'_, T> {
    /// # Safety
    /// `to` is writable for the gradients of all cotangents, and this pixel of this image is written by nobody else.
    unsafe fn write(&self, to: Shared<T>) {
        let layout = self.numbers.layout;
        let wanted = self.alive.in_front.at(self.pixel);
        // `[panel][channel][cotangent]`.
        let mut sums = Scratch::<T>::new(layout.panels() * wanted.len() * layout.width);
        let mut onto = Onto::Zero;
        let (mut taps, mut rows) = (Vec::new(), Vec::new());
        reaching(self.g, self.pixel, &mut taps);
        let mut left = &taps[..];
        while let [first, ..] = left {
            // Outputs that are neighbours have neighbouring numbers.
            let run = (1..left.len()).find(|next| left[*next].output != first.output + next).unwrap_or(left.len());
            let (these, others) = left.split_at(run);
            self.rows_of_weights(these, &mut rows);
            self.add(self.alive.behind.start(first.output), &rows, wanted, &mut sums, &mut onto);
            left = others;
        }
        if matches!(onto, Onto::Zero) {
            sums.slice().fill(T::default());
        }
        unsafe { self.spread(wanted, sums.slice(), to) }
    }

    /// For each number alive at the outputs of the taps, where its weights start.
    fn rows_of_weights(&self, taps: &[Tap], rows: &mut Vec<usize>) {
        rows.clear();
        for tap in taps {
            let start = |channel: &u32| (tap.tap * self.g.out_channels + *channel as usize) * self.g.in_channels;
            rows.extend(self.alive.behind.at(tap.output).iter().map(start));
        }
    }

    /// Adds the products of the numbers from `first` on with their rows of weights.
    fn add(&self, first: usize, rows: &[usize], wanted: &[u32], sums: &mut Scratch<T>, onto: &mut Onto<T>) {
        if wanted.is_empty() {
            return;
        }
        let layout = self.numbers.layout;
        let depth = (BLOCK_NUMBERS / wanted.len()).max(TILE_ROWS);
        let mut weights = Scratch::<T>::new(depth.min(rows.len()) * wanted.len());
        for (block, rows) in rows.chunks(depth).enumerate() {
            self.gather_weights(rows, wanted, weights.slice());
            for panel in 0..layout.panels() {
                let b = layout.start(panel, first + block * depth);
                for (channel, height) in strips(wanted.len()) {
                    // SAFETY: numbers, weights and sums are as long as their layouts say.
                    unsafe {
                        let product = PanelProduct {
                            rows: height,
                            depth: rows.len(),
                            columns: layout.used(panel),
                            a: weights.pointer().add(channel * rows.len()),
                            a_row: 1,
                            a_depth: height,
                            b: self.numbers.from.get().add(b),
                            b_row: layout.width,
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

    /// The weights between these rows and the channels wanted: `[strip][row][channel of the strip]`.
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
                // SAFETY: channels alive are channels of the input.
                *weight = unsafe { *row.get_unchecked(channel) };
            }
        }
    }

    /// Writes the sums to their channels, and zeros to the others.
    ///
    /// # Safety
    /// As [`Pixel::write`].
    unsafe fn spread(&self, wanted: &[u32], sums: &[T], to: Shared<T>) {
        let (g, layout) = (self.g, self.numbers.layout);
        for cotangent in 0..layout.cotangents {
            let (panel, lane) = (cotangent / layout.width, cotangent % layout.width);
            let pixel = (cotangent * g.batch + self.image) * g.height * g.width + self.pixel;
            let to = to.get().wrapping_add(pixel * g.in_channels).cast::<MaybeUninit<T>>();
            // SAFETY: the pixel lies within the gradients, and is this task's.
            let row = unsafe { std::slice::from_raw_parts_mut(to, g.in_channels) };
            row.fill(MaybeUninit::new(T::default()));
            let mut sum = sums.as_ptr().wrapping_add(panel * wanted.len() * layout.width + lane);
            for channel in wanted {
                // SAFETY: channels alive are channels, and each has a sum in each panel.
                unsafe { row.get_unchecked_mut(*channel as usize).write(*sum) };
                sum = sum.wrapping_add(layout.width);
            }
        }
    }
}

/// Strips of nearly equal height, none higher than a tile: the first channel of each and its height.
fn strips(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = channels.div_ceil(TILE_ROWS);
    (0..count).map(move |strip| {
        let (start, end) = (strip * channels / count, (strip + 1) * channels / count);
        (start, end - start)
    })
}
