//! Max and average pooling of NHWC data, as gathers, scatters and means over windows.
//!
//! Max pooling works on vectors of channels: with few of them, loops over channels have no whole vectors for the compiler.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::instruction_set::{InstructionSet, Job};
use super::shared::Shared;
use super::simd::Vector;
use super::{Element, plane_pool, uninitialised};

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

    /// The four pixels of every window, if all are 2×2 and lie inside the image.
    #[inline(always)]
    fn pairs(&self) -> Option<Pairs> {
        let (columns, left) = (self.out_width(), self.out_height() * self.out_width());
        let [down, right] = [self.stride[0] * self.width, self.stride[1]];
        self.pairs_inside().then_some(Pairs { width: self.width, columns, down, right, line: 0, column: 0, left })
    }

    /// Whether all windows are 2×2 and lie inside the image.
    pub(super) fn pairs_inside(&self) -> bool {
        self.kernel == [2, 2] && self.padding == [0, 0] && !self.ceil_mode
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

/// 2×2 windows in row-major order, as the upper left, upper right, lower left and lower right pixel.
struct Pairs {
    width: usize,
    columns: usize,
    /// Pixels between the starts of neighbouring rows of windows, and of neighbours in a row.
    down: usize,
    right: usize,
    /// The first pixel of this row of windows.
    line: usize,
    column: usize,
    left: usize,
}

impl Iterator for Pairs {
    type Item = [usize; 4];

    #[inline(always)]
    fn next(&mut self) -> Option<[usize; 4]> {
        self.left = self.left.checked_sub(1)?;
        let first = self.line + self.column * self.right;
        self.column += 1;
        if self.column == self.columns {
            (self.line, self.column) = (self.line + self.down, 0);
        }
        Some([first, first + 1, first + self.width, first + self.width + 1])
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
    fn pixels(&self) -> impl Iterator<Item = usize> + Clone {
        self.rows.clone().flat_map(move |row| self.columns.clone().map(move |column| row * self.width + column))
    }
}

/// The maximum of each window and its pixel (row · width + column), the first in row-major order.
///
/// A NaN counts as a maximum.
pub(crate) fn max_and_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let (length, of_image) = (geometry.batch * geometry.pooled_len(), geometry.pooled_len());
    let mut positions = Vec::new();
    let write = |values: &mut [MaybeUninit<T>]| {
        let values = Shared::new(values.as_mut_ptr());
        let write = |positions: &mut [MaybeUninit<u32>]| {
            uninitialised::for_each_block(positions, of_image, |index, positions| {
                let image = &x[index * geometry.image_len()..][..geometry.image_len()];
                // SAFETY: each block of positions belongs to one image, whose values no other task writes.
                let values =
                    unsafe { std::slice::from_raw_parts_mut(values.get().add(index * of_image), positions.len()) };
                max_of_image(geometry, image, values, positions);
            });
        };
        // SAFETY: the position of every output of every image is written.
        positions = unsafe { uninitialised::written(length, write) };
    };
    // SAFETY: every output of every image is written.
    let values = unsafe { uninitialised::written(length, write) };
    (values, positions)
}

/// The positions of [`max_and_positions`].
pub(crate) fn max_positions<T: Element>(geometry: &PoolGeometry, x: &[T]) -> Vec<u32> {
    max_and_positions(geometry, x).1
}

fn max_of_image<T: Element>(
    g: &PoolGeometry,
    image: &[T],
    values: &mut [MaybeUninit<T>],
    positions: &mut [MaybeUninit<u32>],
) {
    if g.channels == 1 && g.pairs_inside() {
        return plane_pool::max(g, image, values, positions);
    }
    assert!(image.len() == g.image_len() && [values.len(), positions.len()] == [g.pooled_len(); 2]);
    let (values, positions) = (values.as_mut_ptr().cast(), positions.as_mut_ptr().cast());
    let maxima = Maxima { geometry: g, image: image.as_ptr(), values, positions };
    // SAFETY: the pointers are of slices with the lengths of this geometry.
    unsafe { InstructionSet::best().run(&EachWindow(maxima)) }
}

/// Values of neighbouring channels and their pixels.
#[derive(Clone, Copy)]
pub(super) struct Candidates<V: Vector> {
    pub(super) values: V,
    pub(super) pixels: V::Indices,
}

impl<V: Vector> Candidates<V> {
    /// The values of a pixel at this address, of which `count` are left.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`, and the numbers can be read.
    #[inline(always)]
    unsafe fn load(from: *const V::Elem, count: usize, pixel: usize) -> Self {
        // SAFETY: the caller vouches for both.
        unsafe { Self { values: V::load_up_to(from, count), pixels: V::splat_index(pixel as u32) } }
    }

    /// [`larger`] in every lane.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn larger(self, later: Self) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let stays = self.values.stays_before(later.values);
            Self {
                values: V::select(stays, self.values, later.values),
                pixels: V::select_indices(stays, self.pixels, later.pixels),
            }
        }
    }

    /// Writes values and pixels to addresses with `count` places.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`, and both addresses have these places.
    #[inline(always)]
    pub(super) unsafe fn store(self, values: *mut V::Elem, positions: *mut u32, count: usize) {
        // SAFETY: the caller vouches for both.
        unsafe {
            self.values.store_up_to(values, count);
            V::store_indices(self.pixels, positions, count);
        }
    }
}

/// Work on each window of one image. Pointers are of its geometry's numbers of values.
trait OfWindows<T: Element> {
    fn geometry(&self) -> &PoolGeometry;

    /// The work on the window with these pixels, whose first output is `at`.
    ///
    /// # Safety
    /// As [`Job::run`].
    unsafe fn of_window<V: Vector<Elem = T>>(&self, pixels: impl IntoIterator<Item = usize> + Clone, at: usize);
}

/// The job that does the work of every window.
struct EachWindow<W>(W);

impl<T: Element, W: OfWindows<T>> Job<T> for EachWindow<W> {
    // Closures would be compiled without the instruction set, so here and below there are none.
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let geometry = self.0.geometry();
        if let Some(pairs) = geometry.pairs() {
            for (index, pixels) in pairs.enumerate() {
                // SAFETY: the caller vouches for the pointers.
                unsafe { self.0.of_window::<V>(pixels, index * geometry.channels) };
            }
            return;
        }
        for (i, j, at) in geometry.outputs() {
            // SAFETY: the caller vouches for the pointers.
            unsafe { self.0.of_window::<V>(geometry.window(i, j).pixels(), at) };
        }
    }
}

/// The maxima of the windows and their pixels.
struct Maxima<'a, T> {
    geometry: &'a PoolGeometry,
    image: *const T,
    values: *mut T,
    positions: *mut u32,
}

impl<T: Element> OfWindows<T> for Maxima<'_, T> {
    fn geometry(&self) -> &PoolGeometry {
        self.geometry
    }

    #[inline(always)]
    unsafe fn of_window<V: Vector<Elem = T>>(&self, pixels: impl IntoIterator<Item = usize> + Clone, at: usize) {
        let channels = self.geometry.channels;
        for channel in (0..channels).step_by(V::LANES) {
            let count = channels - channel;
            let mut pixels = pixels.clone().into_iter();
            // The padding is at most half the kernel, so every window contains a pixel.
            let Some(first) = pixels.next() else { return };
            // SAFETY: the channels of a pixel of the image and those of an output.
            unsafe {
                let mut best = Candidates::<V>::load(self.image.add(first * channels + channel), count, first);
                for pixel in pixels {
                    best = best.larger(Candidates::load(self.image.add(pixel * channels + channel), count, pixel));
                }
                best.store(self.values.add(at + channel), self.positions.add(at + channel), count);
            }
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
        let gathering = Gathering { geometry, image: image.as_ptr(), positions: positions.as_ptr(), y: y.as_mut_ptr() };
        // SAFETY: the pointers are of slices with the lengths of this geometry.
        unsafe { InstructionSet::best().run(&EachWindow(gathering)) }
    })
}

/// [`gather`] of one image. Reading all pixels of the window in order is faster than reading at the positions.
struct Gathering<'a, T> {
    geometry: &'a PoolGeometry,
    image: *const T,
    positions: *const u32,
    y: *mut T,
}

impl<T: Element> OfWindows<T> for Gathering<'_, T> {
    fn geometry(&self) -> &PoolGeometry {
        self.geometry
    }

    #[inline(always)]
    unsafe fn of_window<V: Vector<Elem = T>>(&self, pixels: impl IntoIterator<Item = usize> + Clone, at: usize) {
        let channels = self.geometry.channels;
        for channel in (0..channels).step_by(V::LANES) {
            let count = channels - channel;
            // SAFETY: the channels of a pixel of the image and those of an output.
            unsafe {
                let positions = V::load_indices(self.positions.add(at + channel), count);
                let mut y = V::zero();
                for pixel in pixels.clone() {
                    let value = V::load_up_to(self.image.add(pixel * channels + channel), count);
                    y = V::select(V::same_index(positions, V::splat_index(pixel as u32)), value, y);
                }
                y.store_up_to(self.y.add(at + channel), count);
            }
        }
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
    let by_lines = channels == 1 && geometry.pairs_inside() && geometry.stride[1] == 2;
    if channels == 1 && !by_lines {
        return uninitialised::filled(T::default(), length, geometry.image_len(), |index, plane| {
            let (g, positions) = of_image(index);
            g.iter().zip(positions).for_each(|(g, position)| plane[*position as usize] = *g);
        });
    }
    let write = |index: usize, image: &mut [MaybeUninit<T>]| {
        let (g, positions) = of_image(index);
        assert_eq!(image.len(), geometry.image_len());
        if by_lines {
            return plane_pool::scatter(geometry, g, positions, image);
        }
        let image = image.as_mut_ptr().cast();
        let scattering = Scattering { geometry, g: g.as_ptr(), positions: positions.as_ptr(), image };
        // SAFETY: the pointers are of slices with the lengths of this geometry.
        unsafe { InstructionSet::best().run(&EachWindow(scattering)) }
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

/// [`scatter`] to one image, of which each pixel is in at most one window: each is compared with the position, which avoids
/// scattered writes.
struct Scattering<'a, T> {
    geometry: &'a PoolGeometry,
    g: *const T,
    positions: *const u32,
    image: *mut T,
}

impl<T: Element> OfWindows<T> for Scattering<'_, T> {
    fn geometry(&self) -> &PoolGeometry {
        self.geometry
    }

    #[inline(always)]
    unsafe fn of_window<V: Vector<Elem = T>>(&self, pixels: impl IntoIterator<Item = usize> + Clone, at: usize) {
        let channels = self.geometry.channels;
        for channel in (0..channels).step_by(V::LANES) {
            let count = channels - channel;
            // SAFETY: the channels of a pixel of the image and those of an output.
            unsafe {
                let positions = V::load_indices(self.positions.add(at + channel), count);
                let g = V::load_up_to(self.g.add(at + channel), count);
                for pixel in pixels.clone() {
                    let here = V::same_index(positions, V::splat_index(pixel as u32));
                    g.keep(here).store_up_to(self.image.add(pixel * channels + channel), count);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Maxima, gathered and scattered values of one image on an instruction set.
    fn pooled<T: Element>(set: InstructionSet, g: &PoolGeometry, image: &[T]) -> (Vec<T>, Vec<u32>, Vec<T>, Vec<T>) {
        let (mut values, mut positions) = (vec![T::default(); g.pooled_len()], vec![u32::MAX; g.pooled_len()]);
        let (mut gathered, mut scattered) = (values.clone(), vec![T::default(); image.len()]);
        let image = image.as_ptr();
        // SAFETY: the pointers are of vectors with the lengths of the geometry.
        unsafe {
            let (to, at) = (values.as_mut_ptr(), positions.as_mut_ptr());
            set.run(&EachWindow(Maxima { geometry: g, image, values: to, positions: at }));
            let positions = positions.as_ptr();
            set.run(&EachWindow(Gathering { geometry: g, image, positions, y: gathered.as_mut_ptr() }));
            let (of, image) = (values.as_ptr(), scattered.as_mut_ptr());
            set.run(&EachWindow(Scattering { geometry: g, g: of, positions, image }));
        }
        (values, positions, gathered, scattered)
    }

    fn bits<T: Element>(values: &[T]) -> Vec<u64> {
        values.iter().map(|value| value.to_f64().to_bits()).collect()
    }

    fn check<T: Element>(g: &PoolGeometry) {
        // Ties, NaN, infinities and zeros of both signs.
        let numbers = [1.0, f64::NAN, -3.0, 0.0, -0.0, 1.0, f64::NEG_INFINITY, 2.0, 2.0, f64::INFINITY, -1.0];
        let image: Vec<T> =
            (0..g.image_len()).map(|index| T::from_f64(numbers[index * index % 97 % numbers.len()])).collect();
        for set in InstructionSet::available() {
            let (values, positions, gathered, scattered) = pooled(set, g, &image);
            let mut expected = vec![0.0; image.len()];
            for (i, j, at) in g.outputs() {
                for channel in 0..g.channels {
                    let value = |pixel: usize| image[pixel * g.channels + channel].to_f64();
                    let pixels: Vec<usize> = g.window(i, j).pixels().collect();
                    let largest = pixels.iter().copied().map(value).fold(f64::NEG_INFINITY, f64::max);
                    let first_nan = pixels.iter().copied().find(|&pixel| value(pixel).is_nan());
                    let first = first_nan.or(pixels.iter().copied().find(|&pixel| value(pixel) == largest)).unwrap();
                    let place = at + channel;
                    assert_eq!(positions[place] as usize, first, "{set:?} {g:?}");
                    assert_eq!(bits(&[values[place], gathered[place]]), [value(first).to_bits(); 2], "{set:?} {g:?}");
                    expected[first * g.channels + channel] = value(first);
                }
            }
            let expected: Vec<u64> = expected.into_iter().map(f64::to_bits).collect();
            assert_eq!(bits(&scattered), expected, "{set:?} {g:?}");
            // What the functions for whole batches do with planes.
            let (maxima, pixels) = max_and_positions(g, &image);
            assert_eq!((bits(&maxima), &pixels), (bits(&values), &positions), "{g:?}");
            assert_eq!(bits(&gather(g, &image, &pixels)), bits(&values), "{g:?}");
            assert_eq!(bits(&scatter(g, &values, &pixels)), expected, "{g:?}");
        }
    }

    #[test]
    fn every_instruction_set_finds_the_first_maximum_or_nan() {
        for channels in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 40] {
            for (size, kernel, padding, ceil_mode) in [
                ([6, 4], [2, 2], [0, 0], false),
                ([7, 5], [2, 2], [0, 0], false),
                ([8, 39], [2, 2], [0, 0], false),
                ([5, 7], [2, 2], [0, 0], true),
                ([7, 9], [3, 2], [1, 1], false),
            ] {
                let g = PoolGeometry {
                    batch: 1,
                    height: size[0],
                    width: size[1],
                    channels,
                    kernel,
                    stride: kernel,
                    padding,
                    ceil_mode,
                    count_include_pad: false,
                };
                check::<f32>(&g);
                check::<f64>(&g);
            }
        }
    }

    #[test]
    fn windows_further_apart_than_their_size() {
        for (stride, channels) in [([3, 2], 1), ([2, 3], 1), ([3, 3], 1), ([3, 2], 5)] {
            let g = PoolGeometry {
                batch: 1,
                height: 9,
                width: 22,
                channels,
                kernel: [2, 2],
                stride,
                padding: [0, 0],
                ceil_mode: false,
                count_include_pad: false,
            };
            check::<f32>(&g);
            check::<f64>(&g);
        }
    }
}
