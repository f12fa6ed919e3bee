//! Max and average pooling of NHWC data, as gathers, scatters and means over windows.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::instruction_set::InstructionSet;
use super::shared::Shared;
use super::{Element, uninitialised};

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
    /// Whether output sizes are rounded up.
    pub(crate) ceil_mode: bool,
    /// Whether a mean counts the padding.
    pub(crate) count_include_pad: bool,
}

impl PoolGeometry {
    pub(crate) fn out_height(&self) -> usize {
        self.out_size(0, self.height)
    }

    pub(crate) fn out_width(&self) -> usize {
        self.out_size(1, self.width)
    }

    /// Windows along an axis. Rounded up, a last window that would start in the padding behind the image is left out, as in PyTorch.
    fn out_size(&self, axis: usize, size: usize) -> usize {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let steps = size + 2 * padding - self.kernel[axis];
        if !self.ceil_mode {
            return steps / stride + 1;
        }
        let windows = steps.div_ceil(stride) + 1;
        if (windows - 1) * stride >= size + padding { windows - 1 } else { windows }
    }

    /// The number by which the mean of the window at (i, j) divides.
    pub(crate) fn divisor(&self, i: usize, j: usize) -> usize {
        let count = |axis: usize, index: usize, size: usize| {
            let at = index * self.stride[axis];
            let (first, end) = (self.padding[axis], self.padding[axis] + size);
            let stop = at + self.kernel[axis];
            if self.count_include_pad { stop.min(end + self.padding[axis]) - at } else { stop.min(end) - at.max(first) }
        };
        count(0, i, self.height) * count(1, j, self.width)
    }

    pub(crate) fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    pub(crate) fn pooled_len(&self) -> usize {
        self.out_height() * self.out_width() * self.channels
    }

    /// The pixels of the image in the window at (i, j).
    #[inline(always)]
    fn window(&self, i: usize, j: usize) -> Window {
        let span = |at: usize, kernel: usize, padding: usize, size: usize| {
            at.saturating_sub(padding)..(at + kernel).saturating_sub(padding).min(size)
        };
        Window {
            rows: span(i * self.stride[0], self.kernel[0], self.padding[0], self.height),
            columns: span(j * self.stride[1], self.kernel[1], self.padding[1], self.width),
            width: self.width,
        }
    }

    /// Every output pixel (i, j) in row-major order, with the index of its first value.
    fn outputs(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (width, channels) = (self.out_width(), self.channels);
        (0..self.out_height()).flat_map(move |i| (0..width).map(move |j| (i, j, (i * width + j) * channels)))
    }

    /// Whether no pixel lies in two windows.
    pub(crate) fn disjoint(&self) -> bool {
        (0..2).all(|axis| self.kernel[axis] <= self.stride[axis])
    }

    /// Whether every pixel lies in exactly one window.
    pub(super) fn tiles(&self) -> bool {
        let covered = [self.out_height() * self.stride[0], self.out_width() * self.stride[1]];
        self.kernel == self.stride && self.padding == [0; 2] && covered == [self.height, self.width]
    }
}

/// The rows and columns of a window in an image of this width.
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
    width: usize,
}

impl Window {
    /// The pixels (row · width + column) in row-major order.
    #[inline(always)]
    fn pixels(self) -> impl Iterator<Item = usize> {
        let Self { rows, columns, width } = self;
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }

    /// The four pixels of a 2×2 window.
    #[inline(always)]
    fn four(&self) -> Option<[usize; 4]> {
        let first = self.rows.start * self.width + self.columns.start;
        (self.rows.len() == 2 && self.columns.len() == 2)
            .then(|| [first, first + 1, first + self.width, first + self.width + 1])
    }
}

/// The maximum of each window and its pixel (row · width + column), the first in row-major order.
///
/// A NaN counts as a maximum.
pub(crate) fn max_and_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let mut positions = Vec::new();
    let length = geometry.batch * geometry.pooled_len();
    let write = |values: &mut [MaybeUninit<T>]| {
        let values = Shared::new(values.as_mut_ptr());
        positions = uninitialised::filled(0u32, length, geometry.pooled_len(), |index, positions| {
            let image = &x[index * geometry.image_len()..][..geometry.image_len()];
            // SAFETY: each block of positions belongs to one image, whose values no other task writes.
            let values = unsafe {
                std::slice::from_raw_parts_mut(values.get().add(index * geometry.pooled_len()), positions.len())
            };
            max_of_image(geometry, image, values, positions);
        });
    };
    // SAFETY: every output of every image is written.
    let values = unsafe { uninitialised::written(length, write) };
    (values, positions)
}

/// The positions of [`max_and_positions`].
pub(crate) fn max_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> Vec<u32> {
    max_and_positions(geometry, x).1
}

fn max_of_image<T: Element>(g: &PoolGeometry, image: &[T], values: &mut [MaybeUninit<T>], positions: &mut [u32]) {
    if g.channels == 1 && g.kernel == [2, 2] && g.padding == [0, 0] && !g.ceil_mode {
        return max_of_plane(g, image, values, positions);
    }
    let channels = g.channels;
    let of_pixel = |pixel: usize| &image[pixel * channels..][..channels];
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for (i, j, at) in g.outputs() {
                let (values, positions) = (&mut values[at..][..channels], &mut positions[at..][..channels]);
                let window = g.window(i, j);
                match window.four() {
                    Some(pixels) => {
                        max_of_four(pixels.map(of_pixel), pixels.map(|pixel| pixel as u32), values, positions)
                    }
                    None => max_of_any(window.pixels().map(|pixel| (of_pixel(pixel), pixel as u32)), values, positions),
                }
            }
        },
    );
}

/// [`max_of_image`] for one channel and 2×2 windows without padding.
fn max_of_plane<T: Element>(g: &PoolGeometry, plane: &[T], values: &mut [MaybeUninit<T>], positions: &mut [u32]) {
    let (width, across) = (g.width, g.out_width());
    let rows = values.chunks_exact_mut(across).zip(positions.chunks_exact_mut(across));
    for (row, (values, positions)) in rows.enumerate() {
        let first = row * g.stride[0] * width;
        let (upper, lower) = (&plane[first..][..width], &plane[first + width..][..width]);
        for (column, (value, position)) in values.iter_mut().zip(positions).enumerate() {
            let left = column * g.stride[1];
            let at = |offset: usize| (first + left + offset) as u32;
            let above = larger((upper[left], at(0)), (upper[left + 1], at(1)));
            let below = larger((lower[left], at(width)), (lower[left + 1], at(width + 1)));
            let (best, pixel) = larger(above, below);
            value.write(best);
            *position = pixel;
        }
    }
}

/// A value and its pixel.
pub(super) type Candidate<T> = (T, u32);

/// The later of two candidates if it is larger or the first NaN, else the earlier one. Branch-free, to vectorise over channels.
#[inline(always)]
#[allow(clippy::eq_op, clippy::neg_cmp_op_on_partial_ord, reason = "a NaN compares as larger and is kept")]
pub(super) fn larger<T: Element>((earlier, at): Candidate<T>, (later, later_at): Candidate<T>) -> Candidate<T> {
    let wins = !(later <= earlier) & (earlier == earlier);
    (if wins { later } else { earlier }, if wins { later_at } else { at })
}

#[inline(always)]
fn max_of_four<T: Element>(
    [a, b, c, d]: [&[T]; 4],
    at: [u32; 4],
    values: &mut [MaybeUninit<T>],
    positions: &mut [u32],
) {
    let candidates = a.iter().zip(b).zip(c.iter().zip(d));
    for ((value, position), ((a, b), (c, d))) in values.iter_mut().zip(positions).zip(candidates) {
        let upper = larger((*a, at[0]), (*b, at[1]));
        let lower = larger((*c, at[2]), (*d, at[3]));
        let (best, pixel) = larger(upper, lower);
        value.write(best);
        *position = pixel;
    }
}

#[inline(always)]
fn max_of_any<'a, T: Element>(
    mut pixels: impl Iterator<Item = (&'a [T], u32)>,
    values: &mut [MaybeUninit<T>],
    positions: &mut [u32],
) {
    // The padding is at most half the kernel, so every window contains a pixel.
    let Some((first, pixel)) = pixels.next() else { return };
    let values = values.write_copy_of_slice(first);
    positions.fill(pixel);
    for (candidates, pixel) in pixels {
        for ((value, position), candidate) in values.iter_mut().zip(&mut *positions).zip(candidates) {
            (*value, *position) = larger((*value, *position), (*candidate, pixel));
        }
    }
}

/// x at the positions: the pooled values of x, or the JVP for a tangent of x.
pub(crate) fn gather<T: Element>(geometry: &PoolGeometry, x: &[T], positions: &[u32]) -> Vec<T> {
    let channels = geometry.channels;
    uninitialised::filled(T::default(), positions.len(), geometry.pooled_len(), |index, y| {
        let image = &x[index * geometry.image_len()..][..geometry.image_len()];
        let positions = &positions[index * geometry.pooled_len()..][..geometry.pooled_len()];
        if channels == 1 {
            return y.iter_mut().zip(positions).for_each(|(y, position)| *y = image[*position as usize]);
        }
        // Reading all pixels of the window in order is faster than reading at the positions.
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (i, j, at) in geometry.outputs() {
                    let (y, positions) = (&mut y[at..][..channels], &positions[at..][..channels]);
                    for pixel in geometry.window(i, j).pixels() {
                        select(&image[pixel * channels..][..channels], pixel as u32, positions, y);
                    }
                }
            },
        );
    })
}

/// Copies the values of this pixel where it is the position.
#[inline(always)]
fn select<T: Element>(values: &[T], pixel: u32, positions: &[u32], y: &mut [T]) {
    for ((y, position), value) in y.iter_mut().zip(positions).zip(values) {
        *y = if *position == pixel { *value } else { *y };
    }
}

/// The adjoint of [`gather`]: each pooled value is added at its position. Positions are repeated if the batch is larger than
/// theirs.
pub(crate) fn scatter<T: Element>(geometry: &PoolGeometry, g: &[T], positions: &[u32]) -> Vec<T> {
    let (channels, length) = (geometry.channels, geometry.batch * geometry.image_len());
    let of_image = |index: usize| {
        let start = index * geometry.pooled_len();
        (&g[start..][..geometry.pooled_len()], &positions[start % positions.len()..][..geometry.pooled_len()])
    };
    if !geometry.disjoint() {
        return uninitialised::filled(T::default(), length, geometry.image_len(), |index, image| {
            let (g, positions) = of_image(index);
            for (g, positions) in g.chunks(channels).zip(positions.chunks(channels)) {
                let places = positions.iter().enumerate().map(|(channel, pixel)| *pixel as usize * channels + channel);
                g.iter().zip(places).for_each(|(g, place)| image[place] += *g);
            }
        });
    }
    if channels == 1 {
        return uninitialised::filled(T::default(), length, geometry.image_len(), |index, plane| {
            let (g, positions) = of_image(index);
            g.iter().zip(positions).for_each(|(g, position)| plane[*position as usize] = *g);
        });
    }
    // Each pixel is in at most one window: each is compared with the position, which avoids scattered writes.
    let write = |index: usize, image: &mut [MaybeUninit<T>]| {
        let (g, positions) = of_image(index);
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (i, j, at) in geometry.outputs() {
                    let (g, positions) = (&g[at..][..channels], &positions[at..][..channels]);
                    for pixel in geometry.window(i, j).pixels() {
                        scatter_to_pixel(g, positions, pixel as u32, &mut image[pixel * channels..][..channels]);
                    }
                }
            },
        );
    };
    if !geometry.tiles() {
        return uninitialised::filled(T::default(), length, geometry.image_len(), |index, image| {
            write(index, uninitialised::writable(image))
        });
    }
    // SAFETY: every pixel lies in a window, for which it is written.
    unsafe {
        uninitialised::written(length, |images| uninitialised::for_each_block(images, geometry.image_len(), write))
    }
}

/// Writes the values whose position is this pixel, and zeros for the others.
#[inline(always)]
fn scatter_to_pixel<T: Element>(g: &[T], positions: &[u32], pixel: u32, values: &mut [MaybeUninit<T>]) {
    for ((value, g), position) in values.iter_mut().zip(g).zip(positions) {
        value.write(if *position == pixel { *g } else { T::default() });
    }
}

/// The mean of each window.
pub(crate) fn average<T: Element>(geometry: &PoolGeometry, x: &[T]) -> Vec<T> {
    let channels = geometry.channels;
    uninitialised::filled(T::default(), geometry.batch * geometry.pooled_len(), geometry.pooled_len(), |index, y| {
        let image = &x[index * geometry.image_len()..][..geometry.image_len()];
        for (i, j, at) in geometry.outputs() {
            let y = &mut y[at..at + channels];
            for pixel in geometry.window(i, j).pixels() {
                y.iter_mut().zip(&image[pixel * channels..]).for_each(|(y, x)| *y += *x);
            }
            let share = T::from_f64(1.0 / geometry.divisor(i, j) as f64);
            y.iter_mut().for_each(|y| *y = *y * share);
        }
    })
}

/// The adjoint of [`average`]: each value is divided equally among the pixels of its window.
pub(crate) fn spread<T: Element>(geometry: &PoolGeometry, g: &[T]) -> Vec<T> {
    let channels = geometry.channels;
    uninitialised::filled(T::default(), geometry.batch * geometry.image_len(), geometry.image_len(), |index, image| {
        let g = &g[index * geometry.pooled_len()..][..geometry.pooled_len()];
        for (i, j, at) in geometry.outputs() {
            let share = T::from_f64(1.0 / geometry.divisor(i, j) as f64);
            for pixel in geometry.window(i, j).pixels() {
                let start = pixel * channels;
                image[start..start + channels].iter_mut().zip(&g[at..]).for_each(|(x, g)| *x += *g * share);
            }
        }
    })
}
