//! The input gradient at stride 1 for an input of few channels, as in a first layer: vectors run over the pixels of a line.
//!
//! Channels would leave most of a vector unused. So the cotangent is transposed line by line to `[line][channel][pixel]` with zeros at
//! both sides. A tap then reads a shifted part of these rows.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::panel::{Onto, PanelProduct, Segments};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// Numbers of the transposed lines that a task holds at a time, so that they stay in the private cache of a core.
const TRANSPOSED: usize = 64 * 1024;
/// The longest vector of any instruction set.
const LONGEST: usize = 16;

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
    let at_a_time = (TRANSPOSED / (g.out_channels * gradient.length)).saturating_sub(gradient.span) + 1;
    let bands = g.height.div_ceil(at_a_time);
    let to = Shared::new(grad_x.as_mut_ptr().cast::<T>());
    for_each_task(g.batch * bands, g.multiplications(), |task| {
        let (image, first) = (task / bands, task % bands * at_a_time);
        let lines = first..g.height.min(first + at_a_time);
        let transposed = gradient.transpose(image, gradient.read_by(&lines));
        let mut separate = Scratch::<T>::new(g.in_channels * g.width);
        for line in lines {
            // SAFETY: the gradient holds this line of this image, which no other task writes.
            unsafe {
                let to = to.get().add((image * g.height + line) * g.width * g.in_channels);
                if g.in_channels == 1 {
                    gradient.line(&transposed, line, to);
                } else {
                    gradient.line(&transposed, line, separate.pointer());
                    interleave(separate.slice(), g.width, to);
                }
            }
        }
    });
}

/// The cotangent and the weight as the products read them.
struct Gradient<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    grad_y: &'a [T],
    /// `[kernel row][kernel column, the last first][input channel][output channel]`.
    weight: Vec<T>,
    /// Zeros before the pixels of a transposed row.
    before: usize,
    /// Numbers of a transposed row.
    length: usize,
    /// Lines of the output that a pixel is connected with, and those between them.
    span: usize,
}

/// Transposed lines of one image.
struct Transposed<T> {
    lines: Range<usize>,
    numbers: Scratch<T>,
}

impl<'a, T: Element> Gradient<'a, T> {
    fn new(set: InstructionSet, g: &'a ConvGeometry, grad_y: &'a [T], weight: &[T]) -> Self {
        let (plane, across) = (g.kernel[0] * g.kernel[1], g.kernel[1]);
        let ordered = (0..g.weight_len()).map(|index| {
            let (tap, channels) = (index / (g.in_channels * g.out_channels), index % (g.in_channels * g.out_channels));
            let (input, output) = (channels / g.out_channels, channels % g.out_channels);
            let (row, column) = (tap / across, across - 1 - tap % across);
            weight[(output * g.in_channels + input) * plane + row * across + column]
        });
        // A pixel reads up to `reach − padding` outputs to the left of its own, and as many to the right.
        let reach = g.dilation[1] * (g.kernel[1] - 1);
        let before = reach.saturating_sub(g.padding[1]);
        let length = before + g.out_width().max(g.width + g.padding[1]);
        let span = g.dilation[0] * (g.kernel[0] - 1) + 1;
        Self { set, g, grad_y, weight: ordered.collect(), before, length, span }
    }

    /// The lines of the output that these lines of the input are connected with.
    fn read_by(&self, lines: &Range<usize>) -> Range<usize> {
        let last = (lines.end + self.g.padding[0]).min(self.g.out_height());
        (lines.start + self.g.padding[0] + 1).saturating_sub(self.span).min(last)..last
    }

    fn transpose(&self, image: usize, lines: Range<usize>) -> Transposed<T> {
        let (channels, width) = (self.g.out_channels, self.g.out_width());
        // Whole vectors are read from rows and written to them, so the last line may reach beyond its end.
        let count = (lines.len() * channels + LONGEST) * self.length + LONGEST;
        let mut numbers = Scratch::<T>::new(count);
        numbers.slice().fill(T::default());
        let to = numbers.pointer();
        for (index, line) in lines.clone().enumerate() {
            let start = (image * self.g.out_height() + line) * width * channels;
            let from = &self.grad_y[start..];
            // SAFETY: the scratch holds the rows of each line, and `LONGEST` rows more. The cotangent holds the line.
            unsafe {
                let to = to.add(index * channels * self.length + self.before);
                let [pixels, row] = [width, self.length];
                self.set.run(&TransposeLine { from: from.as_ptr(), readable: from.len(), pixels, channels, to, row });
            }
        }
        Transposed { lines, numbers }
    }

    /// Writes the gradient of a line as `[input channel][pixel]`.
    ///
    /// # Safety
    /// `to` is writable for a line, and `transposed` holds the lines that it is connected with.
    unsafe fn line(&self, transposed: &Transposed<T>, line: usize, to: *mut T) {
        let g = self.g;
        let depth = g.out_channels;
        let panel = self.set.panel::<T>();
        let kernel_row = g.kernel[1] * g.in_channels * depth;
        for first in (0..g.width).step_by(panel) {
            let columns = panel.min(g.width - first);
            let mut onto = Onto::Zero;
            for row in 0..g.kernel[0] {
                let at = (line + g.padding[0]).checked_sub(row * g.dilation[0]);
                let Some(at) = at.filter(|at| transposed.lines.contains(at)) else { continue };
                // The last column of the kernel reads the output that is `reach − padding` before the pixel.
                let left = first + self.before + g.padding[1] - g.dilation[1] * (g.kernel[1] - 1);
                let start = (at - transposed.lines.start) * depth * self.length + left;
                // SAFETY: the rows have zeros around what the taps read, and the caller vouches for `to`.
                unsafe {
                    let product = PanelProduct {
                        rows: g.in_channels,
                        depth,
                        columns,
                        a: self.weight.as_ptr().add(row * kernel_row),
                        a_row: depth,
                        a_depth: 1,
                        b: transposed.numbers.as_ptr().add(start),
                        b_row: self.length,
                        b_len: transposed.numbers.len() - start,
                        c: to.add(first),
                        c_row: g.width,
                        onto,
                    };
                    let taps = Segments { count: g.kernel[1], a: g.in_channels * depth, b: g.dilation[1] };
                    product.compute_segments(self.set, taps);
                }
                onto = Onto::Itself;
            }
            if matches!(onto, Onto::Zero) {
                // No output reads this line.
                for channel in 0..g.in_channels {
                    // SAFETY: the caller vouches for `to`.
                    unsafe { to.add(channel * g.width + first).write_bytes(0, columns) };
                }
            }
        }
    }
}

/// Writes `[channel][pixel]` as `[pixel][channel]`.
///
/// # Safety
/// `to` is writable for as many numbers.
unsafe fn interleave<T: Element>(separate: &[T], width: usize, to: *mut T) {
    let channels = separate.len() / width;
    for (channel, row) in separate.chunks_exact(width).enumerate() {
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
