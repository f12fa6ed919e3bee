//! Depthwise convolution: every channel has its own kernel, so vectors run over channels.
//!
//! A task copies the lines that it reads for one vector of channels, with zeros where taps reach beyond a line. What it reads then lies
//! in whole cache lines, and no position needs a check.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::patches::Axis;
use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::operands::Operands;
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// Neighbouring positions whose sums are computed together in registers: independent chains of additions.
const TILE: usize = 8;
/// Numbers in the lines of a band, so that they fit the private cache of a core.
const COPIED: usize = 1 << 15;
/// The batch is divided into at most this many parts, whose weight gradients are added at the end.
const PARTS: usize = 8;

/// Whether every group has one input channel and one output channel.
pub(crate) fn suits(g: &ConvGeometry) -> bool {
    g.groups > 1 && g.groups == g.in_channels && g.groups == g.out_channels
}

/// The weight as `[vector of channels][tap][lane]`, with zeros in the lanes that have no channel.
fn by_lane<T: Element>(g: &ConvGeometry, lanes: usize, weight: &[T]) -> Scratch<T> {
    let plane = g.kernel[0] * g.kernel[1];
    let mut scratch = Scratch::new(g.groups.div_ceil(lanes) * plane * lanes);
    for (index, to) in scratch.slice().iter_mut().enumerate() {
        let (vector, tap, lane) = (index / (plane * lanes), index / lanes % plane, index % lanes);
        *to = weight.get((vector * lanes + lane) * plane + tap).copied().unwrap_or_default();
    }
    scratch
}

/// Writes conv(x, weight) + bias into `y`. Slices have the lengths of the geometry.
pub(crate) fn forward<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    operands: Operands<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let Operands { x, weight, bias } = operands;
    let mut weight = by_lane(g, set.lanes::<T>(), weight);
    let bias = Shared::reading(bias.map_or(std::ptr::null(), <[T]>::as_ptr));
    let strips = Strips::new([Axis::forward(g, 0), Axis::forward(g, 1)], g.groups);
    let sums = TapSums { set, g, strips, from: x, weight: weight.slice(), bias };
    sums.compute(y, [0, 0], [1, 1], [g.out_height(), g.out_width()]);
}

/// Writes the input gradient into `grad_x`. Slices have the lengths of the geometry.
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    let mut weight = by_lane(g, set.lanes::<T>(), weight);
    for top in 0..g.stride[0].min(g.height) {
        for left in 0..g.stride[1].min(g.width) {
            let strips = Strips::new([Axis::input_grad(g, 0, top), Axis::input_grad(g, 1, left)], g.groups);
            let bias = Shared::reading(std::ptr::null());
            let sums = TapSums { set, g, strips, from: grad_y, weight: weight.slice(), bias };
            sums.compute(grad_x, [top, left], g.stride, [g.height, g.width]);
        }
    }
}

/// Lines of images as they are copied: `[line][pixel][lane]`.
struct Strips {
    rows: Axis,
    columns: Axis,
    channels: usize,
    /// The pixel at the start of a copied line, negative in the padding.
    first: isize,
    /// Pixels of a copied line: all that the taps of whole tiles of positions read.
    width: usize,
}

impl Strips {
    fn new([rows, columns]: [Axis; 2], channels: usize) -> Self {
        let first = columns.starts.iter().min().copied().unwrap_or(0);
        let reach = columns.starts.iter().max().map_or(0, |last| (last - first) as usize + 1);
        let width = (columns.positions.next_multiple_of(TILE).max(1) - 1) * columns.step + reach;
        Self { rows, columns, channels, first, width }
    }

    /// The lines that the taps of these rows of positions read.
    fn lines(&self, rows: &Range<usize>) -> Range<usize> {
        let (step, extent) = (self.rows.step, self.rows.extent as isize);
        let at = |row: usize, start: Option<&isize>| (row * step) as isize + start.copied().unwrap_or(0);
        let first = at(rows.start, self.rows.starts.iter().min()).clamp(0, extent);
        let last = at(rows.end.max(1) - 1, self.rows.starts.iter().max());
        first as usize..(last + 1).clamp(first, extent) as usize
    }

    /// Rows of positions whose lines fit the cache together.
    fn band(&self, lanes: usize) -> usize {
        let reach = self.lines(&(0..1)).len().max(self.rows.starts.len());
        (COPIED / (self.width * lanes).max(1)).saturating_sub(reach).div_ceil(self.rows.step).max(4)
    }

    /// Copies lines of one vector of channels.
    ///
    /// # Safety
    /// `images` holds the image with these lines, and `to` is writable for them.
    #[inline(always)]
    unsafe fn copy<V: Vector>(
        &self,
        images: *const V::Elem,
        image: usize,
        lines: Range<usize>,
        channel: usize,
        to: *mut V::Elem,
    ) {
        let extent = self.columns.extent;
        let before = (-self.first).clamp(0, self.width as isize) as usize;
        let skipped = self.first.max(0) as usize;
        let inside = extent.saturating_sub(skipped).min(self.width - before);
        let lanes = self.channels - channel;
        for (index, line) in lines.enumerate() {
            // SAFETY: the pixels lie within the line, and `lanes` limits the channels; the caller vouches for `to`.
            unsafe {
                let to = to.add(index * self.width * V::LANES);
                let from = images.add(((image * self.rows.extent + line) * extent + skipped) * self.channels + channel);
                for pixel in (0..before).chain(before + inside..self.width) {
                    V::zero().store(to.add(pixel * V::LANES));
                }
                for pixel in 0..inside {
                    let value = V::load_up_to(from.add(pixel * self.channels), lanes);
                    value.store(to.add((before + pixel) * V::LANES));
                }
            }
        }
    }
}

/// A sum over taps at every position of a grid.
struct TapSums<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    strips: Strips,
    from: &'a [T],
    /// See [`by_lane`].
    weight: &'a [T],
    bias: Shared<T>,
}

impl<T: Element> TapSums<'_, T> {
    /// Writes pixels `first + n * step` of images of this size.
    fn compute(&self, to: &mut [MaybeUninit<T>], first: [usize; 2], step: [usize; 2], size: [usize; 2]) {
        let (channels, lanes) = (self.g.groups, self.set.lanes::<T>());
        let to = Shared::<T>::new(to.as_mut_ptr().cast());
        let (positions, band) = (self.strips.rows.positions, self.strips.band(lanes));
        let (bands, vectors) = (positions.div_ceil(band), channels.div_ceil(lanes));
        let work = self.g.multiplications() / (step[0] * step[1]);
        for_each_task(self.g.batch * bands * vectors, work, |task| {
            let (image, rest) = (task / (bands * vectors), task % (bands * vectors));
            let (start, channel) = (rest / vectors * band, rest % vectors * lanes);
            let rows = start..positions.min(start + band);
            let lines = self.strips.lines(&rows);
            let mut copied = Scratch::new(lines.len() * self.strips.width * lanes);
            let line = (image * size[0] + first[0]) * size[1] + first[1];
            // SAFETY: the pixels lie within the images, and no other task writes these rows and channels of this class.
            unsafe {
                let to = to.get().add(line * channels + channel);
                let step = [step[0] * size[1] * channels, step[1] * channels];
                self.set.run(&Band { sums: self, image, rows, lines, channel, copied: copied.pointer(), to, step });
            }
        });
    }
}

/// Rows of positions of one image, for one vector of channels.
///
/// # Safety
/// For [`Job::run`]: `to` is writable at the positions, and `copied` for the lines.
struct Band<'a, T> {
    sums: &'a TapSums<'a, T>,
    image: usize,
    rows: Range<usize>,
    /// The lines that these rows read.
    lines: Range<usize>,
    channel: usize,
    copied: *mut T,
    to: *mut T,
    /// Numbers between neighbouring rows and between neighbouring positions.
    step: [usize; 2],
}

impl<T: Element> Job<T> for Band<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let Strips { columns, .. } = &self.sums.strips;
        // SAFETY: the caller vouches for the lines and the positions.
        unsafe {
            self.sums.strips.copy::<V>(
                self.sums.from.as_ptr(),
                self.image,
                self.lines.clone(),
                self.channel,
                self.copied,
            );
            for row in self.rows.clone() {
                let mut position = 0;
                while position < columns.positions {
                    position += match (columns.positions - position, columns.step) {
                        (5.., 1) => self.tile::<V, TILE, true>(row, position),
                        (5.., _) => self.tile::<V, TILE, false>(row, position),
                        (3.., _) => self.tile::<V, 4, false>(row, position),
                        _ => self.tile::<V, 2, false>(row, position),
                    };
                }
            }
        }
    }
}

impl<T: Element> Band<'_, T> {
    /// The sums of `COUNT` neighbouring positions, or of fewer at the end of a line. Each has its taps added in the same order. Returns
    /// `COUNT`.
    ///
    /// # Safety
    /// As for [`Job::run`], after the lines were copied.
    #[inline(always)]
    unsafe fn tile<V: Vector<Elem = T>, const COUNT: usize, const UNIT: bool>(
        &self,
        row: usize,
        position: usize,
    ) -> usize {
        let TapSums { g, strips, weight, bias, .. } = self.sums;
        let Strips { rows, columns, first, width, .. } = strips;
        let (bias, lanes) = (bias.get(), g.groups - self.channel);
        let step = if UNIT { 1 } else { columns.step };
        // SAFETY: the copied lines hold what the taps of whole tiles read; the weight has every tap of this vector; `lanes` limits
        // the channels, and only positions of the line are written.
        unsafe {
            let start =
                if bias.is_null() { V::zero() } else { V::load_up_to(bias.add(self.channel).cast_const(), lanes) };
            let mut sums = [start; COUNT];
            let weight = weight.as_ptr().add(self.channel * g.kernel[0] * g.kernel[1]);
            for (&down, &start) in rows.taps.iter().zip(&rows.starts) {
                let Some(line) = inside(row * rows.step, start, rows.extent) else { continue };
                let line = self.copied.add((line - self.lines.start) * width * V::LANES).cast_const();
                for (&right, &start) in columns.taps.iter().zip(&columns.starts) {
                    let factor = V::load(weight.add((down * g.kernel[1] + right) * V::LANES));
                    let from = line.add((position * step + (start - first) as usize) * V::LANES);
                    for (index, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(from.add(index * step * V::LANES)).mul_add(factor, *sum);
                    }
                }
            }
            let to = self.to.add(row * self.step[0] + position * self.step[1]);
            for (index, sum) in sums.into_iter().enumerate().take(columns.positions - position) {
                sum.store_up_to(to.add(index * self.step[1]), lanes);
            }
        }
        COUNT
    }
}

/// The pixel that a tap reads, unless it lies in the padding.
#[inline(always)]
fn inside(position: usize, start: isize, extent: usize) -> Option<usize> {
    let pixel = position as isize + start;
    (pixel >= 0 && pixel < extent as isize).then_some(pixel as usize)
}

/// Writes the weight gradient into `grad_weight`. Slices have the lengths of the geometry.
pub(crate) fn weight_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    let (lanes, plane) = (set.lanes::<T>(), g.kernel[0] * g.kernel[1]);
    let strips = Strips::new([Axis::forward(g, 0), Axis::forward(g, 1)], g.groups);
    let output = Strips::new([pixels(g.out_height()), pixels(g.out_width())], g.groups);
    let (vectors, part) = (g.groups.div_ceil(lanes), g.batch.div_ceil(PARTS).max(1));
    let parts = g.batch.div_ceil(part);
    let mut sums = Scratch::<T>::new(parts * vectors * plane * lanes);
    sums.slice().fill(T::default());
    let all = Shared::new(sums.pointer());
    for_each_task(parts * vectors, g.multiplications(), |task| {
        let images = task / vectors * part..g.batch.min((task / vectors + 1) * part);
        let mut copied = Scratch::new(strips.rows.extent * strips.width * lanes);
        let mut gradient = Scratch::new(output.rows.extent * output.width * lanes);
        let job = PartSums {
            g,
            strips: &strips,
            output: &output,
            operands: [x, grad_y],
            images,
            channel: task % vectors * lanes,
            copied: [copied.pointer(), gradient.pointer()],
            // SAFETY: the sums hold one vector for each tap of every task.
            to: unsafe { all.get().add(task * plane * lanes) },
        };
        // SAFETY: the copies hold all lines of an image, and the sums belong to this task.
        unsafe { set.run(&job) };
    });
    let sums = sums.slice();
    for (index, to) in grad_weight.iter_mut().enumerate() {
        let (channel, tap) = (index / plane, index % plane);
        let at = (channel / lanes * plane + tap) * lanes + channel % lanes;
        let mut total = T::default();
        sums.iter().skip(at).step_by(vectors * plane * lanes).for_each(|sum| total += *sum);
        to.write(total);
    }
}

/// An axis on which every position reads its own pixel.
fn pixels(extent: usize) -> Axis {
    Axis { positions: extent, step: 1, starts: vec![0], taps: vec![0], extent }
}

/// The sums of all taps over some images, for one vector of channels.
///
/// # Safety
/// For [`Job::run`]: the copies are writable for the lines of an image, and `to` is readable and writable for one vector per tap.
struct PartSums<'a, T> {
    g: &'a ConvGeometry,
    strips: &'a Strips,
    output: &'a Strips,
    /// The input and the gradient.
    operands: [&'a [T]; 2],
    images: Range<usize>,
    channel: usize,
    copied: [*mut T; 2],
    to: *mut T,
}

impl<T: Element> Job<T> for PartSums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let Strips { rows, columns, .. } = self.strips;
        for image in self.images.clone() {
            // SAFETY: the operands hold the images; the caller vouches for the copies and the sums.
            unsafe {
                for (strips, (values, to)) in
                    [self.strips, self.output].into_iter().zip(self.operands.into_iter().zip(self.copied))
                {
                    strips.copy::<V>(values.as_ptr(), image, 0..strips.rows.extent, self.channel, to);
                }
                for (&down, &start) in rows.taps.iter().zip(&rows.starts) {
                    for row in 0..rows.positions {
                        let Some(line) = inside(row * rows.step, start, rows.extent) else { continue };
                        let mut tap = 0;
                        while tap < columns.taps.len() {
                            tap += match columns.taps.len() - tap {
                                7.. => self.line::<V, 7>(row, line, down, tap),
                                5.. => self.line::<V, 5>(row, line, down, tap),
                                3.. => self.line::<V, 3>(row, line, down, tap),
                                _ => self.line::<V, 1>(row, line, down, tap),
                            };
                        }
                    }
                }
            }
        }
    }
}

impl<T: Element> PartSums<'_, T> {
    /// Adds the sums of `TAPS` taps over one line. One chain of additions per tap and line, then one over lines: shorter chains have
    /// less rounding error. Returns `TAPS`.
    ///
    /// # Safety
    /// As for [`Job::run`], after the lines were copied.
    #[inline(always)]
    unsafe fn line<V: Vector<Elem = T>, const TAPS: usize>(
        &self,
        row: usize,
        line: usize,
        down: usize,
        first: usize,
    ) -> usize {
        let Strips { columns, width, first: start, .. } = self.strips;
        let (taps, starts) = (&columns.taps[first..first + TAPS], &columns.starts[first..first + TAPS]);
        // SAFETY: the copies hold what the taps read, and the sums every tap.
        unsafe {
            let x = self.copied[0].add(line * width * V::LANES).cast_const();
            let mut x: [*const T; TAPS] = std::array::from_fn(|tap| x.add((starts[tap] - start) as usize * V::LANES));
            let gradient = self.copied[1].add(row * self.output.width * V::LANES).cast_const();
            let mut sums = [V::zero(); TAPS];
            for position in 0..columns.positions {
                let gradient = V::load(gradient.add(position * V::LANES));
                for (sum, x) in sums.iter_mut().zip(&mut x) {
                    *sum = V::load(*x).mul_add(gradient, *sum);
                    *x = x.wrapping_add(columns.step * V::LANES);
                }
            }
            for (sum, tap) in sums.into_iter().zip(taps) {
                let to = self.to.add((down * self.g.kernel[1] + tap) * V::LANES);
                V::load(to).add(sum).store(to);
            }
        }
        TAPS
    }
}
