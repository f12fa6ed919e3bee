//! Batch norm, ReLU and max pooling of 2×2 windows as one pass over memory, and the cotangent behind such a pooling.
//!
//! Neither the normalised images nor the cotangent behind the pooling is written to memory as a whole.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::batch_norm::{Cotangent, Normalisation};
use super::instruction_set::{InstructionSet, Job};
use super::pool::{Candidates, PoolGeometry};
use super::shared::{Shared, for_each_task};
use super::simd::Vector;
use super::{Element, uninitialised};

/// Multiplications that take as long as one value of the images.
const WORK: usize = 16;

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
    assert!(suits(geometry) && x.len() == geometry.batch * geometry.image_len());
    assert!(constants.iter().all(|of| of.len() == geometry.channels), "one constant for each channel");
    let mut positions = Vec::new();
    let write = |values: &mut [MaybeUninit<T>]| {
        let values = Shared::new(values.as_mut_ptr().cast::<T>());
        let write = |positions: &mut [MaybeUninit<u32>]| {
            let positions = Shared::new(positions.as_mut_ptr().cast::<u32>());
            for_each_task(geometry.batch * rows, WORK * x.len(), |line| {
                // SAFETY: every line has its own values and positions, which no other task writes. Each pair of lines of x has four
                // times as many numbers.
                unsafe {
                    let start = line * length;
                    let (values, positions) = (values.get().add(start), positions.get().add(start));
                    let pair = x[4 * start..][..4 * length].as_ptr();
                    let row = 2 * (line % rows);
                    InstructionSet::best().run(&Line { geometry, constants: &constants, pair, row, values, positions });
                }
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
    pair: *const T,
    /// The row of the upper line in its image.
    row: usize,
    values: *mut T,
    positions: *mut u32,
}

impl<T: Element> Job<T> for Line<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let &PoolGeometry { width, channels, .. } = self.geometry;
        let [centre, factor, shift] = self.constants;
        for column in 0..width / 2 {
            let first = self.row * width + 2 * column;
            for channel in (0..channels).step_by(V::LANES) {
                let count = channels - channel;
                // SAFETY: the channels of the four pixels of a window, and those of its output.
                unsafe {
                    let constants = [
                        V::load_up_to(centre.as_ptr().add(channel), count),
                        V::load_up_to(factor.as_ptr().add(channel), count),
                        V::load_up_to(shift.as_ptr().add(channel), count),
                    ];
                    let upper = self.pair.add(2 * column * channels + channel);
                    let lower = upper.add(width * channels);
                    let a = candidates::<V>(upper, count, constants, first);
                    let b = candidates::<V>(upper.add(channels), count, constants, first + 1);
                    let c = candidates::<V>(lower, count, constants, first + width);
                    let d = candidates::<V>(lower.add(channels), count, constants, first + width + 1);
                    let start = column * channels + channel;
                    a.larger(b).larger(c.larger(d)).store(self.values.add(start), self.positions.add(start), count);
                }
            }
        }
    }
}

/// The [`positive_part`](super::elementwise::positive_part) of the normalised values of a pixel at this address, of which `count` are left.
///
/// # Safety
/// The processor has the instruction set of `V`, and the numbers can be read.
#[inline(always)]
unsafe fn candidates<V: Vector>(
    from: *const V::Elem,
    count: usize,
    [centre, factor, shift]: [V; 3],
    pixel: usize,
) -> Candidates<V> {
    // SAFETY: the caller vouches for both.
    unsafe {
        // With the roundings of `normalise`: no fused multiply–add.
        let value = V::load_up_to(from, count).sub(centre).mul(factor).add(shift);
        let values = value.clear(value.at_most(V::zero()));
        Candidates { values, pixels: V::splat_index(pixel as u32) }
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

// SAFETY: every channel of every pixel is written, in vectors that follow one another.
unsafe impl<T: Element> Cotangent<T> for BehindPool<'_, T> {
    fn write(&self, start: usize, to: &mut [MaybeUninit<T>]) {
        let (channels, outputs) = (self.geometry.channels, self.geometry.batch * self.geometry.pooled_len());
        assert!(suits(self.geometry) && [self.g.len(), self.maxima.len(), self.positions.len()] == [outputs; 3]);
        let pixels = start / channels..(start + to.len()) / channels;
        assert!(pixels.end * channels <= self.geometry.batch * self.geometry.image_len());
        // SAFETY: the pixels lie in the batch, whose windows have the numbers of the three slices.
        unsafe { InstructionSet::best().run(&Pixels { of: self, pixels, to: to.as_mut_ptr().cast() }) }
    }
}

/// Pixels of the batch, numbered over all images, whose cotangents are written.
struct Pixels<'a, T> {
    of: &'a BehindPool<'a, T>,
    pixels: Range<usize>,
    to: *mut T,
}

impl<T: Element> Job<T> for Pixels<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let &PoolGeometry { height, width, channels, .. } = self.of.geometry;
        let BehindPool { g, maxima, positions, .. } = self.of;
        let (mut line, mut column) = (self.pixels.start / width, self.pixels.start % width);
        for index in 0..self.pixels.len() {
            // Images have whole lines of windows, so all lines together do too.
            let window = (line / 2 * (width / 2) + column / 2) * channels;
            let pixel = (line % height * width + column) as u32;
            for channel in (0..channels).step_by(V::LANES) {
                let (at, count) = (window + channel, channels - channel);
                // SAFETY: the channels of a pixel of the batch and those of its window.
                unsafe {
                    let positive = V::zero().less(V::load_up_to(maxima.as_ptr().add(at), count));
                    let g = V::load_up_to(g.as_ptr().add(at), count).keep(positive);
                    let positions = V::load_indices(positions.as_ptr().add(at), count);
                    let here = V::same_index(positions, V::splat_index(pixel));
                    g.keep(here).store_up_to(self.to.add(index * channels + channel), count);
                }
            }
            column += 1;
            if column == width {
                (line, column) = (line + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_norm::{Given, cotangent_sums, cotangent_sums_of, input_gradient, normalise};
    use super::super::elementwise::relu_mask;
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
