//! Images to transformed tiles and back, vectorised over channels.

use std::marker::PhantomData;

use super::scheme::Scheme;
use crate::kernels::Element;
use crate::kernels::instruction_set::Job;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Vector;

/// NHWC images with a grid of tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TiledImages {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Tiles along (height, width) of one image.
    pub(crate) grid: [usize; 2],
    /// Rows, and columns, between neighbouring tiles.
    pub(crate) step: usize,
    /// The first pixel of the first tile: zero, or above and left of the image.
    pub(crate) origin: [isize; 2],
}

/// The image and first pixel of one tile.
struct Corner {
    image: usize,
    top: isize,
    left: isize,
}

impl TiledImages {
    fn corner(&self, tile: usize) -> Corner {
        let [down, across] = self.grid;
        let (row, column) = (tile / across % down, tile % across);
        Corner {
            image: tile / across / down,
            top: (row * self.step) as isize + self.origin[0],
            left: (column * self.step) as isize + self.origin[1],
        }
    }
}

/// Transformed tiles `[panel][point][tile][column]`; strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Points<T> {
    pub(crate) base: Shared<T>,
    /// Stride between panels.
    pub(crate) panel: usize,
    /// Stride between points.
    pub(crate) plane: usize,
    /// Stride between tiles: columns per panel.
    pub(crate) width: usize,
}

impl<T> Points<T> {
    /// The address of `channel` of `tile` at point 0.
    ///
    /// # Safety
    /// The points hold this tile and channel.
    #[inline(always)]
    unsafe fn at(&self, tile: usize, channel: usize) -> *mut T {
        let (panel, column) = (channel / self.width, channel % self.width);
        // SAFETY: the caller vouches that the address lies within the points.
        unsafe { self.base.get().add(panel * self.panel + tile * self.width + column) }
    }
}

/// Reads tiles `first..first + count` of the images and writes them transformed, as tiles `to_tile..` of `to`.
///
/// With `GRADIENT` the tiles are those of the cotangent, and the transform is A g Aᵀ. Without, it is Bᵀ d B.
///
/// # Safety
/// For [`Job::run`]: `images` is readable for every tile's image, `zeros` for `channels` numbers, and `to` is writable for
/// all its points, where channels are rounded up to whole vectors.
pub(crate) struct Spread<T, S, const GRADIENT: bool> {
    pub(crate) geometry: TiledImages,
    pub(crate) images: *const T,
    pub(crate) zeros: *const T,
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) to: Points<T>,
    pub(crate) to_tile: usize,
    pub(crate) scheme: PhantomData<S>,
}

impl<T: Element, S: Scheme, const GRADIENT: bool> Job<T> for Spread<T, S, GRADIENT> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let extent = if GRADIENT { S::OUTPUTS } else { S::INPUTS };
        let channels = self.geometry.channels;
        // With few channels the hardware prefetches far enough.
        let prefetches = channels >= 4 * V::LANES;
        let mut next = self.pixels(0, extent);
        for tile in 0..self.count {
            let pixels = next;
            next = self.pixels((tile + 1).min(self.count - 1), extent);
            let whole = channels - channels % V::LANES;
            // SAFETY: every pixel is readable for its channels and `to` is writable, as the type demands.
            unsafe {
                for channel in (0..whole).step_by(V::LANES) {
                    if prefetches {
                        // Pixels that the previous tile has not read.
                        for row in &next[..extent] {
                            for pixel in &row[extent.saturating_sub(self.geometry.step)..extent] {
                                V::prefetch(pixel.wrapping_add(channel));
                            }
                        }
                    }
                    let to = self.to.at(self.to_tile + tile, channel);
                    let load = |row: usize, column: usize| V::load(pixels[row][column].add(channel));
                    transform::<V, S, GRADIENT>(load, to, self.to.plane);
                }
                if whole < channels {
                    let to = self.to.at(self.to_tile + tile, whole);
                    let count = channels - whole;
                    let load = |row: usize, column: usize| V::load_first(pixels[row][column].add(whole), count);
                    transform::<V, S, GRADIENT>(load, to, self.to.plane);
                }
            }
        }
    }
}

impl<T: Element, S: Scheme, const GRADIENT: bool> Spread<T, S, GRADIENT> {
    /// The addresses of a tile's pixels; those outside the image are the address of zeros.
    #[inline(always)]
    fn pixels(&self, tile: usize, extent: usize) -> [[*const T; 6]; 6] {
        let TiledImages { height, width, channels, .. } = self.geometry;
        let corner = self.geometry.corner(self.first + tile);
        let columns: [Option<usize>; 6] = std::array::from_fn(|column| {
            let x = corner.left + column as isize;
            (x >= 0 && x < width as isize).then(|| x as usize * channels)
        });
        let mut pixels = [[self.zeros; 6]; 6];
        for (row, pixels) in pixels.iter_mut().enumerate().take(extent) {
            let y = corner.top + row as isize;
            if y < 0 || y >= height as isize {
                continue;
            }
            let line = self.images.wrapping_add((corner.image * height + y as usize) * width * channels);
            for (pixel, offset) in pixels.iter_mut().zip(columns).take(extent) {
                *pixel = offset.map_or(self.zeros, |offset| line.wrapping_add(offset));
            }
        }
        pixels
    }
}

/// Transforms one vector of channels of one tile.
///
/// # Safety
/// `load` is callable for every pixel of a tile, and `to` is writable for a vector at all points.
#[allow(clippy::needless_range_loop, reason = "the index addresses several arrays")]
#[inline(always)]
unsafe fn transform<V: Vector, S: Scheme, const GRADIENT: bool>(
    load: impl Fn(usize, usize) -> V,
    to: *mut V::Elem,
    plane: usize,
) {
    // SAFETY: the caller vouches for the stores and the instruction set.
    unsafe {
        let extent = if GRADIENT { S::OUTPUTS } else { S::INPUTS };
        let along = |line: [V; 6]| {
            if GRADIENT { S::output_transposed([line[0], line[1], line[2], line[3]]) } else { S::input(line) }
        };
        // Columns first, then the rows of the result.
        let mut rows = [[V::zero(); 6]; 6];
        for column in 0..extent {
            let mut line = [V::zero(); 6];
            for (row, value) in line.iter_mut().enumerate().take(extent) {
                *value = load(row, column);
            }
            for (row, value) in along(line).into_iter().enumerate().take(S::POINTS) {
                rows[row][column] = value;
            }
        }
        for (row, line) in rows.into_iter().enumerate().take(S::POINTS) {
            for (column, value) in along(line).into_iter().enumerate().take(S::POINTS) {
                value.store(to.add((row * S::POINTS + column) * plane));
            }
        }
    }
}

/// Transforms products back, Y = Aᵀ M A + bias, and writes the pixels inside the image.
///
/// # Safety
/// For [`Job::run`]: `from` is readable for all its points of one panel, `images` writable for every tile's image, `bias`
/// null or readable for `columns` numbers.
pub(crate) struct Collect<T, S> {
    pub(crate) geometry: TiledImages,
    /// Points of one panel.
    pub(crate) from: Points<T>,
    pub(crate) images: *mut T,
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// First channel of the panel.
    pub(crate) channel: usize,
    /// Channels of the panel.
    pub(crate) columns: usize,
    /// The bias of the panel's first channel, or null.
    pub(crate) bias: *const T,
    pub(crate) scheme: PhantomData<S>,
}

impl<T: Element, S: Scheme> Job<T> for Collect<T, S> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for tile in 0..self.count {
            let corner = self.geometry.corner(self.first + tile);
            let TiledImages { height, width, channels, .. } = self.geometry;
            // Tiles of the output start inside the image; only their far sides may lie outside.
            let (top, left) = (corner.top.unsigned_abs(), corner.left.unsigned_abs());
            let (rows, across) = (height - top, width - left);
            let offset = ((corner.image * height + top) * width + left) * channels + self.channel;
            // SAFETY: the columns of the panel are readable and the pixels of the image writable, as the type demands.
            unsafe {
                for column in (0..self.columns).step_by(V::LANES) {
                    let count = self.columns - column;
                    let from = self.from.at(tile, column);
                    let bias =
                        if self.bias.is_null() { V::zero() } else { V::load_up_to(self.bias.add(column), count) };
                    let results = restore::<V, S>(from, self.from.plane, bias);
                    let corner = self.images.add(offset + column);
                    for (row, results) in results.iter().enumerate().take(S::OUTPUTS.min(rows)) {
                        let line = corner.add(row * width * channels);
                        for (index, value) in results.iter().enumerate().take(S::OUTPUTS) {
                            if index < across {
                                value.store_up_to(line.add(index * channels), count);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the products of one tile back, for one vector of channels.
///
/// # Safety
/// `from` is readable for a vector at all points.
#[allow(clippy::needless_range_loop, reason = "the index addresses several arrays")]
#[inline(always)]
unsafe fn restore<V: Vector, S: Scheme>(from: *const V::Elem, plane: usize, bias: V) -> [[V; 4]; 4] {
    // SAFETY: the caller vouches for the loads and the instruction set.
    unsafe {
        let mut rows = [[V::zero(); 6]; 4];
        for column in 0..S::POINTS {
            let mut line = [V::zero(); 6];
            for (row, value) in line.iter_mut().enumerate().take(S::POINTS) {
                *value = V::load(from.add((row * S::POINTS + column) * plane));
            }
            for (row, value) in S::output(line).into_iter().enumerate().take(S::OUTPUTS) {
                rows[row][column] = value;
            }
        }
        let mut results = [[V::zero(); 4]; 4];
        for (row, results) in results.iter_mut().enumerate().take(S::OUTPUTS) {
            for (result, value) in results.iter_mut().zip(S::output(rows[row])).take(S::OUTPUTS) {
                *result = value.add(bias);
            }
        }
        results
    }
}
