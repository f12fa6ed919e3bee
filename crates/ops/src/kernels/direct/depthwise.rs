//! Depthwise convolution: every channel has its own kernel, so vectors run over channels.

use std::mem::MaybeUninit;

use super::patches::Axis;
use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::operands::Operands;
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// Neighbouring positions, or taps of a row, whose sums are computed together in registers.
const TILE: usize = 8;

/// Whether every group has one input channel and one output channel.
pub(crate) fn suits(g: &ConvGeometry) -> bool {
    g.groups > 1 && g.groups == g.in_channels && g.groups == g.out_channels
}

/// The weight as `[tap][channel]`.
fn by_tap<T: Element>(g: &ConvGeometry, weight: &[T]) -> Scratch<T> {
    let plane = g.kernel[0] * g.kernel[1];
    let mut scratch = Scratch::new(weight.len());
    for (index, to) in scratch.slice().iter_mut().enumerate() {
        *to = weight[index % g.groups * plane + index / g.groups];
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
    let mut weight = by_tap(g, weight);
    let bias = Shared::reading(bias.map_or(std::ptr::null(), <[T]>::as_ptr));
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let lines = Lines { set, g, axes, from: x, weight: weight.slice(), bias };
    lines.compute(y, [0, 0], [1, 1], [g.out_height(), g.out_width()]);
}

/// Writes the input gradient into `grad_x`. Slices have the lengths of the geometry.
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    let mut weight = by_tap(g, weight);
    for top in 0..g.stride[0].min(g.height) {
        for left in 0..g.stride[1].min(g.width) {
            let axes = [Axis::input_grad(g, 0, top), Axis::input_grad(g, 1, left)];
            let bias = Shared::reading(std::ptr::null());
            let lines = Lines { set, g, axes, from: grad_y, weight: weight.slice(), bias };
            lines.compute(grad_x, [top, left], g.stride, [g.height, g.width]);
        }
    }
}

/// A sum over taps at every position of a grid.
struct Lines<'a, T> {
    set: InstructionSet,
    g: &'a ConvGeometry,
    axes: [Axis; 2],
    from: &'a [T],
    /// `[tap][channel]`
    weight: &'a [T],
    bias: Shared<T>,
}

impl<T: Element> Lines<'_, T> {
    /// Writes pixels `first + n * step` of images of this size.
    fn compute(&self, to: &mut [MaybeUninit<T>], first: [usize; 2], step: [usize; 2], size: [usize; 2]) {
        let channels = self.g.groups;
        let to = Shared::<T>::new(to.as_mut_ptr().cast());
        let positions = self.axes[0].positions;
        for_each_task(self.g.batch * positions, self.g.multiplications() / (step[0] * step[1]), |task| {
            let (image, row) = (task / positions, task % positions);
            let line = ((image * size[0] + first[0] + row * step[0]) * size[1] + first[1]) * channels;
            // SAFETY: the line lies within the images, and no other task writes its pixels of this class.
            unsafe {
                let job = Line { lines: self, image, row, to: to.get().add(line), step: step[1] * channels };
                self.set.run(&job);
            }
        });
    }
}

/// One line of positions.
///
/// # Safety
/// For [`Job::run`]: `to` is writable for the positions of the line.
struct Line<'a, T> {
    lines: &'a Lines<'a, T>,
    image: usize,
    row: usize,
    to: *mut T,
    /// Numbers between neighbouring positions.
    step: usize,
}

impl<T: Element> Job<T> for Line<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let positions = self.lines.axes[1].positions;
        for channel in (0..self.lines.g.groups).step_by(V::LANES) {
            for position in (0..positions).step_by(TILE) {
                // SAFETY: the caller vouches for the line.
                unsafe { self.tile::<V>(channel, position, TILE.min(positions - position)) };
            }
        }
    }
}

impl<T: Element> Line<'_, T> {
    /// The sums of `count` neighbouring positions for one vector of channels. Each has its taps added in the same order; the positions
    /// of a tile are independent chains of additions, so that one need not wait for the other.
    ///
    /// # Safety
    /// As for [`Job::run`].
    #[inline(always)]
    unsafe fn tile<V: Vector<Elem = T>>(&self, channel: usize, position: usize, count: usize) {
        let Lines { g, axes: [rows, columns], from, weight, bias, .. } = self.lines;
        let (channels, bias) = (g.groups, bias.get());
        let lanes = channels - channel;
        // SAFETY: `inside` checks the pixels; `lanes` limits the channels.
        unsafe {
            let start = if bias.is_null() { V::zero() } else { V::load_up_to(bias.add(channel).cast_const(), lanes) };
            let mut sums = [start; TILE];
            for (&down, &start) in rows.taps.iter().zip(&rows.starts) {
                let Some(y) = inside(self.row * rows.step, start, rows.extent) else { continue };
                let line = from.as_ptr().add((self.image * rows.extent + y) * columns.extent * channels + channel);
                for (&right, &start) in columns.taps.iter().zip(&columns.starts) {
                    let tap = (down * g.kernel[1] + right) * channels + channel;
                    let factor = V::load_up_to(weight.as_ptr().add(tap), lanes);
                    let pixel = |index: usize| inside((position + index) * columns.step, start, columns.extent);
                    if let (TILE, Some(first), Some(_)) = (count, pixel(0), pixel(TILE - 1)) {
                        let first = line.add(first * channels);
                        for (index, sum) in sums.iter_mut().enumerate() {
                            let value = V::load_up_to(first.add(index * columns.step * channels), lanes);
                            *sum = value.mul_add(factor, *sum);
                        }
                        continue;
                    }
                    for (index, sum) in sums.iter_mut().enumerate() {
                        if let (true, Some(pixel)) = (index < count, pixel(index)) {
                            *sum = V::load_up_to(line.add(pixel * channels), lanes).mul_add(factor, *sum);
                        }
                    }
                }
            }
            for (index, sum) in sums.into_iter().enumerate().take(count) {
                sum.store_up_to(self.to.add((position + index) * self.step + channel), lanes);
            }
        }
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
    let lanes = set.lanes::<T>();
    let plane = g.kernel[0] * g.kernel[1];
    let to = Shared::<T>::new(grad_weight.as_mut_ptr().cast());
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let blocks = g.groups.div_ceil(lanes);
    grad_weight.fill(MaybeUninit::new(T::default()));
    for_each_task(blocks * axes[0].taps.len(), g.multiplications(), |task| {
        let (channel, index) = (task % blocks * lanes, task / blocks);
        let mut sums = Scratch::<T>::new(g.kernel[1] * lanes);
        sums.slice().fill(T::default());
        let job = TapSums { g, axes: &axes, x, grad_y, channel, index, to: sums.pointer() };
        // SAFETY: the sums belong to this task and hold one vector per tap of a row.
        unsafe { set.run(&job) };
        for (&right, sums) in axes[1].taps.iter().zip(sums.slice().chunks(lanes)) {
            let tap = axes[0].taps[index] * g.kernel[1] + right;
            for (lane, &sum) in sums.iter().enumerate().take(g.groups - channel) {
                // SAFETY: the weight has this tap; no other task writes this row of taps in these channels.
                unsafe { *to.get().add((channel + lane) * plane + tap) = sum };
            }
        }
    });
}

/// The sums of one row of taps for one vector of channels.
///
/// # Safety
/// For [`Job::run`]: `to` is readable and writable for one vector per tap of a row.
struct TapSums<'a, T> {
    g: &'a ConvGeometry,
    axes: &'a [Axis; 2],
    x: &'a [T],
    grad_y: &'a [T],
    channel: usize,
    index: usize,
    to: *mut T,
}

impl<T: Element> Job<T> for TapSums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let [rows, columns] = self.axes;
        let channels = self.g.groups;
        let count = channels - self.channel;
        for line in 0..self.g.batch * rows.positions {
            let (image, row) = (line / rows.positions, line % rows.positions);
            let Some(y) = inside(row * rows.step, rows.starts[self.index], rows.extent) else { continue };
            for (chunk, starts) in columns.starts.chunks(TILE).enumerate() {
                // One chain of additions per tap and line, then one over lines: shorter chains have less rounding error.
                // SAFETY: `inside` checks the pixels; `count` limits the channels.
                unsafe {
                    let mut sums = [V::zero(); TILE];
                    let x_line =
                        self.x.as_ptr().add((image * rows.extent + y) * columns.extent * channels + self.channel);
                    for position in 0..columns.positions {
                        let output = (line * columns.positions + position) * channels + self.channel;
                        let gradient = V::load_up_to(self.grad_y.as_ptr().add(output), count);
                        for (sum, &start) in sums.iter_mut().zip(starts) {
                            if let Some(x) = inside(position * columns.step, start, columns.extent) {
                                *sum = V::load_up_to(x_line.add(x * channels), count).mul_add(gradient, *sum);
                            }
                        }
                    }
                    for (tap, sum) in sums.into_iter().enumerate().take(starts.len()) {
                        let to = self.to.add((chunk * TILE + tap) * V::LANES);
                        V::load(to).add(sum).store(to);
                    }
                }
            }
        }
    }
}
