//! Max and average pooling of NHWC data, as gathers, scatters and means over stored windows.

use std::mem::MaybeUninit;

use super::instruction_set::InstructionSet;
use super::shared::Shared;
use super::{Element, fresh};

/// The sizes of one pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolGeometry {
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

impl PoolGeometry {
    pub(crate) fn out_height(&self) -> usize {
        (self.height + 2 * self.padding[0] - self.kernel[0]) / self.stride[0] + 1
    }

    pub(crate) fn out_width(&self) -> usize {
        (self.width + 2 * self.padding[1] - self.kernel[1]) / self.stride[1] + 1
    }

    pub(crate) fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    pub(crate) fn pooled_len(&self) -> usize {
        self.out_height() * self.out_width() * self.channels
    }

    /// The pixels (row · width + column) inside the image that the window at (i, j) covers, in row-major order.
    fn window(&self, i: usize, j: usize) -> impl Iterator<Item = usize> + use<> {
        let span = |at: usize, kernel: usize, padding: usize, size: usize| {
            (at.saturating_sub(padding), (at + kernel).saturating_sub(padding).min(size))
        };
        let (top, bottom) = span(i * self.stride[0], self.kernel[0], self.padding[0], self.height);
        let (left, right) = span(j * self.stride[1], self.kernel[1], self.padding[1], self.width);
        let width = self.width;
        (top..bottom).flat_map(move |row| (left..right).map(move |column| row * width + column))
    }

    fn outputs(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (width, channels) = (self.out_width(), self.channels);
        (0..self.out_height()).flat_map(move |i| (0..width).map(move |j| (i, j, (i * width + j) * channels)))
    }
}

/// For each output value, the window's maximum and its pixel (row · width + column), the first in row-major order.
///
/// A NaN counts as a maximum, so that it is not lost.
pub(crate) fn max_and_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let mut positions = Vec::new();
    let length = geometry.batch * geometry.pooled_len();
    let write = |values: &mut [MaybeUninit<T>]| {
        let values = Shared::new(values.as_mut_ptr());
        positions = fresh::filled(0u32, length, geometry.pooled_len(), |index, positions| {
            let image = &x[index * geometry.image_len()..][..geometry.image_len()];
            // SAFETY: each block of positions is one image's, whose values no other task writes.
            let values = unsafe {
                std::slice::from_raw_parts_mut(values.get().add(index * geometry.pooled_len()), positions.len())
            };
            max_of_image(geometry, image, values, positions);
        });
    };
    // SAFETY: every output of every image is written.
    let values = unsafe { fresh::written(length, write) };
    (values, positions)
}

/// The positions of [`max_and_positions`] alone.
pub(crate) fn max_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> Vec<u32> {
    max_and_positions(geometry, x).1
}

/// Channels whose maxima are kept in registers together.
const TOGETHER: usize = 16;

fn max_of_image<T: Element>(g: &PoolGeometry, image: &[T], values: &mut [MaybeUninit<T>], positions: &mut [u32]) {
    let (channels, set) = (g.channels, InstructionSet::best());
    let mut pixels = Vec::with_capacity(g.kernel[0] * g.kernel[1]);
    for (i, j, at) in g.outputs() {
        pixels.clear();
        pixels.extend(g.window(i, j));
        let (values, positions) = (&mut values[at..at + channels], &mut positions[at..at + channels]);
        set.vectorised(|| {
            let whole = channels - channels % TOGETHER;
            for first in (0..whole).step_by(TOGETHER) {
                max_of_window::<T, TOGETHER>(
                    image,
                    &pixels,
                    channels,
                    first,
                    &mut values[first..],
                    &mut positions[first..],
                );
            }
            for first in whole..channels {
                max_of_window::<T, 1>(image, &pixels, channels, first, &mut values[first..], &mut positions[first..]);
            }
        });
    }
}

/// The maxima of some neighbouring channels of one window.
#[inline(always)]
fn max_of_window<T: Element, const COUNT: usize>(
    image: &[T],
    pixels: &[usize],
    channels: usize,
    first: usize,
    values: &mut [MaybeUninit<T>],
    positions: &mut [u32],
) {
    let (mut best, mut at) = ([T::default(); COUNT], [0u32; COUNT]);
    if let Some((&first_pixel, others)) = pixels.split_first() {
        best.copy_from_slice(&image[first_pixel * channels + first..][..COUNT]);
        at.fill(first_pixel as u32);
        for &pixel in others {
            let candidates = &image[pixel * channels + first..][..COUNT];
            // Without a branch, so that the lanes go together.
            for ((best, at), &candidate) in best.iter_mut().zip(&mut at).zip(candidates) {
                let larger = (candidate > *best) | (is_nan(candidate) & !is_nan(*best));
                *best = if larger { candidate } else { *best };
                *at = if larger { pixel as u32 } else { *at };
            }
        }
    }
    for ((value, position), (best, at)) in values.iter_mut().zip(positions).zip(best.into_iter().zip(at)) {
        value.write(best);
        *position = at;
    }
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "only a NaN differs from itself; `partial_cmp` says the same with a branch")]
fn is_nan<T: Element>(value: T) -> bool {
    value != value
}

/// x at the positions: the pooled values of x, or of a tangent of x.
pub(crate) fn gather<T: Element>(geometry: &PoolGeometry, x: &[T], positions: &[u32]) -> Vec<T> {
    let channels = geometry.channels;
    fresh::filled(T::default(), positions.len(), geometry.pooled_len(), |index, y| {
        let image = &x[index * geometry.image_len()..][..geometry.image_len()];
        let positions = &positions[index * geometry.pooled_len()..];
        for (y, positions) in y.chunks_mut(channels).zip(positions.chunks(channels)) {
            let places = positions.iter().enumerate().map(|(channel, pixel)| *pixel as usize * channels + channel);
            y.iter_mut().zip(places).for_each(|(y, place)| *y = image[place]);
        }
    })
}

/// The adjoint of [`gather`]: every pooled value is added where it came from.
pub(crate) fn scatter<T: Element>(geometry: &PoolGeometry, g: &[T], positions: &[u32]) -> Vec<T> {
    let (channels, set) = (geometry.channels, InstructionSet::best());
    let apart = (0..2).all(|axis| geometry.kernel[axis] <= geometry.stride[axis]);
    fresh::filled(T::default(), geometry.batch * geometry.image_len(), geometry.image_len(), |index, image| {
        let positions = &positions[index * geometry.pooled_len()..][..geometry.pooled_len()];
        let g = &g[index * geometry.pooled_len()..][..geometry.pooled_len()];
        if !apart {
            for (g, positions) in g.chunks(channels).zip(positions.chunks(channels)) {
                let places = positions.iter().enumerate().map(|(channel, pixel)| *pixel as usize * channels + channel);
                g.iter().zip(places).for_each(|(g, place)| image[place] += *g);
            }
            return;
        }
        // Every pixel belongs to one window at most, so that it can ask whether it was the maximum: no scattered writes.
        for (i, j, at) in geometry.outputs() {
            let (positions, g) = (&positions[at..at + channels], &g[at..at + channels]);
            for pixel in geometry.window(i, j) {
                let start = pixel * channels;
                let values = &mut image[start..start + channels];
                set.vectorised(|| {
                    for ((value, g), position) in values.iter_mut().zip(g).zip(positions) {
                        *value = if *position == pixel as u32 { *g } else { T::default() };
                    }
                });
            }
        }
    })
}

/// The mean of each window; its divisor is the number of pixels inside the image.
pub(crate) fn average<T: Element>(geometry: &PoolGeometry, x: &[T]) -> Vec<T> {
    let channels = geometry.channels;
    fresh::filled(T::default(), geometry.batch * geometry.pooled_len(), geometry.pooled_len(), |index, y| {
        let image = &x[index * geometry.image_len()..][..geometry.image_len()];
        for (i, j, at) in geometry.outputs() {
            let y = &mut y[at..at + channels];
            let mut count = 0usize;
            for pixel in geometry.window(i, j) {
                count += 1;
                y.iter_mut().zip(&image[pixel * channels..]).for_each(|(y, x)| *y += *x);
            }
            let share = T::from_f64(1.0 / count as f64);
            y.iter_mut().for_each(|y| *y = *y * share);
        }
    })
}

/// The adjoint of [`average`]: each value is shared equally among the pixels of its window.
pub(crate) fn spread<T: Element>(geometry: &PoolGeometry, g: &[T]) -> Vec<T> {
    let channels = geometry.channels;
    fresh::filled(T::default(), geometry.batch * geometry.image_len(), geometry.image_len(), |index, image| {
        let g = &g[index * geometry.pooled_len()..][..geometry.pooled_len()];
        for (i, j, at) in geometry.outputs() {
            let share = T::from_f64(1.0 / geometry.window(i, j).count() as f64);
            for pixel in geometry.window(i, j) {
                let start = pixel * channels;
                image[start..start + channels].iter_mut().zip(&g[at..]).for_each(|(x, g)| *x += *g * share);
            }
        }
    })
}
