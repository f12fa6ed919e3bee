//! The input gradient at stride 1 for an input of few channels, as in a first layer: vectors run over the pixels of a line.
//!
//! Channels would leave most of a vector unused. So the cotangent is transposed line by line to `[line][channel][pixel]` with zeros
//! around. A tap then reads a shifted part of these rows.

use std::mem::MaybeUninit;

use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// Numbers of the transposed lines that a task holds at a time, so that they stay in the private cache of a core.
const TRANSPOSED: usize = 64 * 1024;
/// The longest vector of any instruction set.
const LONGEST: usize = 16;
/// The most lines of the input, and the most input channels, whose sums are formed together.
const LINES: usize = 4;
const CHANNELS: usize = 4;

/// Whether the input channels fill at most half of a vector, and neighbouring outputs read neighbouring pixels.
pub(crate) fn suits(lanes: usize, g: &ConvGeometry) -> bool {
    g.groups == 1 && g.kernel != [1, 1] && g.stride == [1, 1] && 2 * g.in_channels <= lanes
}

/// Writes the input gradient into `grad_x`. Slices have the lengths of the geometry.
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    let gradient = Gradient::new(set, g, grad_y, weight);
    let at_a_time = (TRANSPOSED / (g.out_channels * gradient.length)).saturating_sub(gradient.reach[0]).max(LINES);
    let bands = g.height.div_ceil(at_a_time);
    let to = Shared::new(grad_x.as_mut_ptr().cast::<T>());
    for_each_task(g.batch * bands, g.multiplications(), |task| {
        let (image, first) = (task / bands, task % bands * at_a_time);
        let lines = at_a_time.min(g.height - first);
        let transposed = gradient.transpose(image, first, lines);
        // SAFETY: the gradient holds these lines of this image, which no other task writes.
        unsafe {
            let to = to.get().add((image * g.height + first) * g.width * g.in_channels);
            if g.in_channels == 1 {
                gradient.lines(&transposed, lines, to);
            } else {
                let mut separate = Scratch::<T>::new(g.in_channels * lines * g.width);
                gradient.lines(&transposed, lines, separate.pointer());
                interleave(separate.slice(), lines * g.width, to);
            }
        }
    });
}

/// The cotangent and the weight as the sums read them.
struct Gradient<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    grad_y: &'a [T],
    /// For each group of [`CHANNELS`] input channels `[output channel][kernel row][kernel column][input channel]`, the last rows and
    /// columns first.
    weight: Vec<T>,
    /// Rows and columns between the first and the last tap.
    reach: [usize; 2],
    /// Zeros before the pixels of a transposed row.
    before: usize,
    /// Numbers of a transposed row.
    length: usize,
}

impl<'a, T: Element> Gradient<'a, T> {
    fn new(set: InstructionSet, g: &'a ConvGeometry, grad_y: &'a [T], weight: &[T]) -> Self {
        let plane = g.kernel[0] * g.kernel[1];
        let mut ordered = Vec::with_capacity(weight.len());
        for first in (0..g.in_channels).step_by(CHANNELS) {
            let inputs = first..g.in_channels.min(first + CHANNELS);
            for output in 0..g.out_channels {
                for tap in (0..plane).rev() {
                    ordered.extend(inputs.clone().map(|input| weight[(output * g.in_channels + input) * plane + tap]));
                }
            }
        }
        // A pixel reads up to `reach − padding` outputs to the left of its own, and as many to the right.
        let reach = [0, 1].map(|axis| g.dilation[axis] * (g.kernel[axis] - 1));
        let before = reach[1].saturating_sub(g.padding[1]);
        let length = before + g.out_width().max(g.width + g.padding[1]);
        Self { set, g, grad_y, weight: ordered, reach, before, length }
    }

    /// What `lines` lines of the input from `first` on read. The first line of the result is that of the last kernel row for the first
    /// line of the input. Lines outside the output are zero.
    fn transpose(&self, image: usize, first: usize, lines: usize) -> Scratch<T> {
        let (channels, width) = (self.g.out_channels, self.g.out_width());
        // A last block of lines reads up to `LINES − 1` more. Whole vectors are read from rows and written to them, so the last line may
        // reach beyond its end.
        let count = ((lines + LINES + self.reach[0]) * channels + LONGEST) * self.length + 2 * LONGEST;
        let mut numbers = Scratch::<T>::new(count);
        numbers.slice().fill(T::default());
        for index in 0..lines + self.reach[0] {
            let line = (first + index + self.g.padding[0]).checked_sub(self.reach[0]);
            let start = index * channels * self.length;
            let Some(line) = line.filter(|&line| line < self.g.out_height()) else {
                // The line before has written into it.
                numbers.slice()[start..start + channels * self.length].fill(T::default());
                continue;
            };
            let from = &self.grad_y[(image * self.g.out_height() + line) * width * channels..];
            // SAFETY: the scratch holds the rows of each line, and `LONGEST` rows more. The cotangent holds the line.
            unsafe {
                let to = numbers.pointer().add(start + self.before);
                let [pixels, row] = [width, self.length];
                self.set.run(&TransposeLine { from: from.as_ptr(), readable: from.len(), pixels, channels, to, row });
            }
        }
        numbers
    }

    /// Writes the gradient of lines as `[input channel][line][pixel]`.
    ///
    /// # Safety
    /// `to` is writable for these lines, and `transposed` is what they read.
    unsafe fn lines(&self, transposed: &Scratch<T>, lines: usize, to: *mut T) {
        let from = transposed.as_ptr();
        // SAFETY: the caller vouches for both.
        unsafe { self.set.run(&LineSums { gradient: self, from, lines, to }) };
    }
}

/// The sums over output channels and taps for lines of the input.
///
/// # Safety
/// For [`Job::run`]: as [`Gradient::lines`].
struct LineSums<'a, T> {
    gradient: &'a Gradient<'a, T>,
    from: *const T,
    lines: usize,
    to: *mut T,
}

impl<T: Element> Job<T> for LineSums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let g = self.gradient.g;
        let plane = self.lines * g.width;
        let mut weight = self.gradient.weight.as_ptr();
        for first in (0..g.in_channels).step_by(CHANNELS) {
            let channels = CHANNELS.min(g.in_channels - first);
            // SAFETY: the caller vouches for the pointers.
            unsafe {
                let to = self.to.add(first * plane);
                // Eight to twelve sums are formed at a time: as many as multiply–adds are in flight.
                match channels {
                    1 => self.of_channels::<V, 1, 4>(weight, to),
                    2 => self.of_channels::<V, 2, 2>(weight, to),
                    3 => self.of_channels::<V, 3, 2>(weight, to),
                    _ => self.of_channels::<V, 4, 1>(weight, to),
                }
                weight = weight.add(channels * g.out_channels * g.kernel[0] * g.kernel[1]);
            }
        }
    }
}

impl<T: Element> LineSums<'_, T> {
    /// The sums of `I` input channels, `L` lines at a time.
    ///
    /// # Safety
    /// As [`Job::run`], with the weight of these channels.
    #[inline(always)]
    unsafe fn of_channels<V: Vector<Elem = T>, const I: usize, const L: usize>(&self, weight: *const T, to: *mut T) {
        let &Gradient { g, reach, length, .. } = self.gradient;
        let (line, skipped) = (g.out_channels * length, g.padding[1].saturating_sub(reach[1]));
        for first in (0..self.lines).step_by(L) {
            for pixel in (0..g.width).step_by(2 * V::LANES) {
                // SAFETY: the caller vouches for the lines that are read, those of a last block and whole vectors included, and for those
                // that are written.
                unsafe {
                    let from = self.from.add(first * line + skipped + pixel);
                    let sums = self.block::<V, I, L>(from, weight);
                    for (index, sums) in sums.iter().enumerate().take(self.lines - first) {
                        for (channel, sums) in sums.iter().enumerate() {
                            let to = to.add((channel * self.lines + first + index) * g.width + pixel);
                            let count = g.width - pixel;
                            sums[0].store_up_to(to, count);
                            if count > V::LANES {
                                sums[1].store_up_to(to.add(V::LANES), count - V::LANES);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums of two vectors of pixels, for each line and channel.
    ///
    /// # Safety
    /// As [`Job::run`]; `from` is what the first kernel row and column read for the first pixel of the first line.
    #[inline(always)]
    unsafe fn block<V: Vector<Elem = T>, const I: usize, const L: usize>(
        &self,
        from: *const T,
        mut weight: *const T,
    ) -> [[[V; 2]; I]; L] {
        let &Gradient { g, length, .. } = self.gradient;
        let line = g.out_channels * length;
        // SAFETY: the caller vouches for what is read.
        unsafe {
            let mut sums = [[[V::zero(); 2]; I]; L];
            for output in 0..g.out_channels {
                for row in 0..g.kernel[0] {
                    for column in 0..g.kernel[1] {
                        let from = from.add(row * g.dilation[0] * line + output * length + column * g.dilation[1]);
                        let mut factors = [V::zero(); I];
                        for (channel, factor) in factors.iter_mut().enumerate() {
                            *factor = V::splat(*weight.add(channel));
                        }
                        weight = weight.add(I);
                        for (index, sums) in sums.iter_mut().enumerate() {
                            let from = from.add(index * line);
                            let pixels = [V::load(from), V::load(from.add(V::LANES))];
                            for (sums, &factor) in sums.iter_mut().zip(&factors) {
                                for (sum, pixels) in sums.iter_mut().zip(pixels) {
                                    *sum = pixels.mul_add(factor, *sum);
                                }
                            }
                        }
                    }
                }
            }
            sums
        }
    }
}

/// Writes `[channel][pixel]` as `[pixel][channel]`, for this number of pixels.
///
/// # Safety
/// `to` is writable for as many numbers.
unsafe fn interleave<T: Element>(separate: &[T], pixels: usize, to: *mut T) {
    let channels = separate.len() / pixels;
    for (channel, row) in separate.chunks_exact(pixels).enumerate() {
        for (pixel, &value) in row.iter().enumerate() {
            // SAFETY: the caller vouches for `to`.
            unsafe { to.add(pixel * channels + channel).write(value) };
        }
    }
}

/// Transposes a line `[pixel][channel]` to `[channel][pixel]`.
///
/// # Safety
/// For [`Job::run`]: `from` is readable for `readable` numbers, at least the line. `to` is writable for `channels` rows, `row` apart, and
/// [`LONGEST`] rows more, whose contents are lost.
struct TransposeLine<T> {
    from: *const T,
    readable: usize,
    pixels: usize,
    channels: usize,
    to: *mut T,
    row: usize,
}

impl<T: Element> Job<T> for TransposeLine<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let one = T::from_f64(1.0);
        for pixel in (0..self.pixels).step_by(V::LANES) {
            let pixels = V::LANES.min(self.pixels - pixel);
            for channel in (0..self.channels).step_by(V::LANES) {
                let start = pixel * self.channels + channel;
                let reads = (V::LANES - 1) * self.channels + V::LANES;
                // SAFETY: a whole square is read only where it lies within what is readable; the caller vouches for the rows.
                unsafe {
                    let (from, to) = (self.from.add(start), self.to.add(channel * self.row + pixel));
                    if pixels == V::LANES && start + reads <= self.readable {
                        V::transpose(from, self.channels, one, to, self.row);
                        continue;
                    }
                    for index in 0..pixels {
                        for channel in 0..V::LANES.min(self.channels - channel) {
                            to.add(channel * self.row + index).write(*from.add(index * self.channels + channel));
                        }
                    }
                }
            }
        }
    }
}
