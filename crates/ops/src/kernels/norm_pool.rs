//! Batch norm, ReLU and max pooling of 2×2 windows as one pass over memory, and the cotangent behind such a pooling.
//!
//! Neither the normalised images nor the cotangent behind the pooling is written to memory as a whole.

use std::mem::MaybeUninit;

use super::batch_norm::{Cotangent, Normalisation};
use super::elementwise::{positive_part, relu_mask};
use super::instruction_set::InstructionSet;
use super::pool::{PoolGeometry, larger};
use super::shared::{Shared, for_each_task};
use super::{Element, uninitialised};

/// Multiplications that take as long as one value of the images.
const WORK: usize = 16;

/// Calls `$body` for parts of the channels, each with its first channel and its constant number of channels `$N`, so that the loops
/// inside are unrolled into vectors also for few channels.
macro_rules! in_parts {
    ($channels:expr, $channel:ident, $N:ident => $body:expr) => {{
        let mut $channel = 0;
        in_parts!(@parts 16, $channels, $channel, $N => $body);
        in_parts!(@parts 8, $channels, $channel, $N => $body);
        in_parts!(@parts 4, $channels, $channel, $N => $body);
        in_parts!(@parts 1, $channels, $channel, $N => $body);
    }};
    (@parts $count:literal, $channels:expr, $channel:ident, $N:ident => $body:expr) => {{
        const $N: usize = $count;
        while $channels - $channel >= $N {
            $body;
            $channel += $N;
        }
    }};
}
/// Whether the windows of this pooling are 2×2 and divide the images without a rest.
pub(crate) fn suits(geometry: &PoolGeometry) -> bool {
    geometry.kernel == [2, 2] && geometry.tiles()
}

/// The maxima of the positive part of the normalised batch, and their pixels, as by
/// [`normalise`](super::batch_norm::normalise) and [`max_and_positions`](super::pool::max_and_positions).
pub(crate) fn normalise_and_pool<T: Element>(
    geometry: &PoolGeometry,
    x: &[T],
    by: &Normalisation<'_, T>,
) -> (Vec<T>, Vec<u32>) {
    let constants = by.by_channel();
    let (rows, length) = (geometry.out_height(), geometry.out_width() * geometry.channels);
    let mut positions = Vec::new();
    let write = |values: &mut [MaybeUninit<T>]| {
        let values = Shared::new(values.as_mut_ptr());
        let write = |positions: &mut [MaybeUninit<u32>]| {
            let positions = Shared::new(positions.as_mut_ptr());
            for_each_task(geometry.batch * rows, WORK * x.len(), |line| {
                // SAFETY: every line has its own values and positions, which no other task writes.
                let (values, positions) = unsafe {
                    let start = line * length;
                    (
                        std::slice::from_raw_parts_mut(values.get().add(start), length),
                        std::slice::from_raw_parts_mut(positions.get().add(start), length),
                    )
                };
                let of_line = Line { geometry, constants: &constants, pair: &x[line * 4 * length..][..4 * length] };
                InstructionSet::best().vectorised(
                    #[inline(always)]
                    || of_line.pool(2 * (line % rows), values, positions),
                );
            });
        };
        // SAFETY: every line of every image is written.
        positions = unsafe { uninitialised::written(geometry.batch * rows * length, write) };
    };
    // SAFETY: as for the positions.
    let values = unsafe { uninitialised::written(geometry.batch * rows * length, write) };
    (values, positions)
}

/// Two neighbouring lines of an image, of which one line of windows is pooled.
struct Line<'a, T> {
    geometry: &'a PoolGeometry,
    /// Centre, factor and shift of each channel.
    constants: &'a [Vec<T>; 3],
    pair: &'a [T],
}

impl<T: Element> Line<'_, T> {
    /// `row` is the row of the upper line in its image.
    #[inline(always)]
    fn pool(&self, row: usize, values: &mut [MaybeUninit<T>], positions: &mut [MaybeUninit<u32>]) {
        let (width, channels) = (self.geometry.width, self.geometry.channels);
        let windows = values.chunks_exact_mut(channels).zip(positions.chunks_exact_mut(channels));
        for (column, (values, positions)) in windows.enumerate() {
            let first = row * width + 2 * column;
            let window = Window {
                line: self,
                first: 2 * column * channels,
                at: [first, first + 1, first + width, first + width + 1].map(|pixel| pixel as u32),
            };
            in_parts!(channels, channel, N => window.part::<N>(channel, values, positions));
        }
    }
}

/// One 2×2 window.
struct Window<'a, T> {
    line: &'a Line<'a, T>,
    /// The first value of the upper left pixel.
    first: usize,
    /// The pixels.
    at: [u32; 4],
}

/// `N` values from `start` on.
#[inline(always)]
fn part<T, const N: usize>(values: &[T], start: usize) -> &[T; N] {
    let Some(part) = values[start..].first_chunk() else { unreachable!("a part lies within its pixel") };
    part
}

impl<T: Element> Window<'_, T> {
    /// The maxima of `N` channels.
    #[inline(always)]
    fn part<const N: usize>(&self, channel: usize, values: &mut [MaybeUninit<T>], positions: &mut [MaybeUninit<u32>]) {
        let Line { geometry, constants: [centre, factor, shift], pair } = self.line;
        let (channels, below) = (geometry.channels, geometry.width * geometry.channels);
        let first = self.first + channel;
        let pixels: [&[T; N]; 4] =
            [first, first + channels, first + below, first + below + channels].map(|start| part(pair, start));
        let (centre, factor, shift) =
            (part::<T, N>(centre, channel), part::<T, N>(factor, channel), part::<T, N>(shift, channel));
        let (values, positions) = (&mut values[channel..][..N], &mut positions[channel..][..N]);
        for index in 0..N {
            let normalised = |pixel: usize| {
                let value = positive_part((pixels[pixel][index] - centre[index]) * factor[index] + shift[index]);
                (value, self.at[pixel])
            };
            let (upper, lower) = (larger(normalised(0), normalised(1)), larger(normalised(2), normalised(3)));
            let (value, pixel) = larger(upper, lower);
            values[index].write(value);
            positions[index].write(pixel);
        }
    }
}

/// The cotangent of the normalised batch behind a pooling: each cotangent of a maximum that is positive at its pixel, 0 elsewhere.
pub(crate) struct BehindPool<'a, T> {
    pub(crate) geometry: &'a PoolGeometry,
    /// The cotangent of the maxima.
    pub(crate) g: &'a [T],
    /// The maxima, of which only positive ones have a gradient.
    pub(crate) maxima: &'a [T],
    pub(crate) positions: &'a [u32],
}

// SAFETY: every channel of every pixel is written, in parts that follow one another.
unsafe impl<T: Element> Cotangent<T> for BehindPool<'_, T> {
    #[inline(always)]
    fn write(&self, start: usize, to: &mut [MaybeUninit<T>]) {
        let &PoolGeometry { height, width, channels, .. } = self.geometry;
        let (mut line, mut column) = (start / channels / width, start / channels % width);
        for to in to.chunks_exact_mut(channels) {
            // Images have whole lines of windows, so all lines together do too.
            let window = (line / 2 * (width / 2) + column / 2) * channels;
            let pixel = (line % height * width + column) as u32;
            in_parts!(channels, channel, N => self.part::<N>(window + channel, pixel, &mut to[channel..]));
            column += 1;
            if column == width {
                (line, column) = (line + 1, 0);
            }
        }
    }
}

impl<T: Element> BehindPool<'_, T> {
    /// Writes `N` channels of a pixel.
    #[inline(always)]
    fn part<const N: usize>(&self, start: usize, pixel: u32, to: &mut [MaybeUninit<T>]) {
        let (g, maxima) = (part::<T, N>(self.g, start), part::<T, N>(self.maxima, start));
        let (positions, to) = (part::<u32, N>(self.positions, start), &mut to[..N]);
        for index in 0..N {
            let here = relu_mask(g[index], maxima[index]);
            to[index].write(if positions[index] == pixel { here } else { T::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_norm::{Given, cotangent_sums, cotangent_sums_of, input_gradient, normalise};
    use super::super::{channel, pool};
    use super::*;

    fn values<T: Element>(count: usize, offset: f64) -> Vec<T> {
        (0..count).map(|index| T::from_f64((index as f64 * 1.7 + offset).sin())).collect()
    }

    /// Values, positions, and all gradients of one geometry, by the fused kernels and one after another.
    fn check<T: Element + std::fmt::Debug>(batch: usize, [height, width]: [usize; 2], channels: usize) {
        let geometry = PoolGeometry {
            batch,
            height,
            width,
            channels,
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: false,
        };
        assert!(suits(&geometry));
        let x: Vec<T> = values(batch * height * width * channels, 0.0);
        let (mean, variance) = channel::moments(&x, channels);
        let inverse: Vec<f64> = variance.iter().map(|variance| 1.0 / (variance + 1e-5).sqrt()).collect();
        let (scale, shift) = (values::<T>(channels, 3.0), values::<T>(channels, 4.0));
        let by = Normalisation { mean: &mean, inverse_deviation: &inverse, scale: &scale, shift: &shift };
        let y = normalise(&x, &by, true);
        let (maxima, positions) = pool::max_and_positions(&geometry, &y);
        let fused = normalise_and_pool(&geometry, &x, &by);
        assert!(fused.0 == maxima && fused.1 == positions, "{geometry:?}");
        let g: Vec<T> = values(maxima.len(), 5.0);
        let masked: Vec<T> = g.iter().zip(&maxima).map(|(g, maximum)| relu_mask(*g, *maximum)).collect();
        let scattered = pool::scatter(&geometry, &masked, &positions);
        let behind = BehindPool { geometry: &geometry, g: &g, maxima: &maxima, positions: &positions };
        let sums = cotangent_sums(&x, &scattered, &by, false);
        let fused = cotangent_sums_of(&x, &behind, &by);
        assert!(sums.by_shift == fused.by_shift && sums.by_scale == fused.by_scale, "{geometry:?}");
        let (expected, none) = input_gradient(&x, &Given(&scattered), &by, &sums, false, None, false);
        let (found, sum) = input_gradient(&x, &behind, &by, &sums, false, None, true);
        assert!(found == expected && none.is_none(), "{geometry:?}");
        assert_eq!(sum, Some(channel::sum(&expected, channels)));
    }

    #[test]
    fn fused_kernels_have_the_bits_of_separate_ones() {
        for channels in [1, 3, 4, 7, 8, 16, 31, 64, 70] {
            for (batch, size) in [(1, [2, 2]), (3, [4, 6]), (2, [6, 2])] {
                check::<f32>(batch, size, channels);
                check::<f64>(batch, size, channels);
            }
        }
        // Several blocks of several tasks.
        check::<f32>(9, [32, 32], 8);
        check::<f32>(5, [10, 14], 48);
    }

    #[test]
    fn other_windows_do_not_suit() {
        let pairs = PoolGeometry {
            batch: 1,
            height: 4,
            width: 4,
            channels: 1,
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: false,
        };
        assert!(suits(&pairs));
        assert!(!suits(&PoolGeometry { height: 5, ..pairs }));
        assert!(!suits(&PoolGeometry { stride: [1; 2], ..pairs }));
        assert!(!suits(&PoolGeometry { kernel: [4; 2], stride: [4; 2], ..pairs }));
    }
}
