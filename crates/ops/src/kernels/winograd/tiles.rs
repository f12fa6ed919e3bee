//! From images to transformed tiles and back: everything vectorises over channels.

use std::marker::PhantomData;

use super::scheme::Scheme;
use crate::kernels::Element;
use crate::kernels::instruction_set::Job;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Vector;

/// Images NHWC, and the grid of tiles on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TiledImages {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Tiles along (height, width) of one image.
    pub(crate) grid: [usize; 2],
    /// Rows and columns from one tile to the next.
    pub(crate) step: usize,
    /// Where the first tile starts: zero, or above and left of the image.
    pub(crate) origin: [isize; 2],
}

/// Where one tile lies.
struct Place {
    image: usize,
    top: isize,
    left: isize,
}

impl TiledImages {
    fn place(&self, tile: usize) -> Place {
        let [down, across] = self.grid;
        let (row, column) = (tile / across % down, tile % across);
        Place {
            image: tile / across / down,
            top: (row * self.step) as isize + self.origin[0],
            left: (column * self.step) as isize + self.origin[1],
        }
    }
}

/// Transformed tiles: `[panel][point][tile][column]`, every panel `width` columns wide, strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Points<T> {
    pub(crate) base: Shared<T>,
    /// From one panel to the next.
    pub(crate) panel: usize,
    /// From one point to the next.
    pub(crate) plane: usize,
    /// From one tile to the next: the width of a panel.
    pub(crate) width: usize,
}

impl<T> Points<T> {
    /// Where tile `tile`'s channels from `channel` on start at point 0.
    #[inline(always)]
    unsafe fn at(&self, tile: usize, channel: usize) -> *mut T {
        let (panel, column) = (channel / self.width, channel % self.width);
        unsafe { self.base.get().add(panel * self.panel + tile * self.width + column) }
    }
}

/// Reads tiles `first..first + count` of the images and writes them transformed, as tiles `to_tile..` of `to`.
///
/// With `GRADIENT` the tiles are of the output's gradient and the transform is A g Aᵀ; without, Bᵀ d B.
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
        // A tile of few channels is soon done, and the processor looks far enough ahead by itself.
        let prefetches = channels >= 4 * V::LANES;
        let mut next = self.pixels(0, extent);
        for tile in 0..self.count {
            let pixels = next;
            next = self.pixels((tile + 1).min(self.count - 1), extent);
            let whole = channels - channels % V::LANES;
            // SAFETY: channels `channel..` of every pixel are readable, and `to` is writable, as the type says.
            unsafe {
                for channel in (0..whole).step_by(V::LANES) {
                    if prefetches {
                        // What the tile before has not read already.
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
    /// The pixels of a tile, or zeros in their place.
    #[inline(always)]
    fn pixels(&self, tile: usize, extent: usize) -> [[*const T; 6]; 6] {
        let TiledImages { height, width, channels, .. } = self.geometry;
        let place = self.geometry.place(self.first + tile);
        let columns: [Option<usize>; 6] = std::array::from_fn(|column| {
            let x = place.left + column as isize;
            (x >= 0 && x < width as isize).then(|| x as usize * channels)
        });
        let mut pixels = [[self.zeros; 6]; 6];
        for (row, pixels) in pixels.iter_mut().enumerate().take(extent) {
            let y = place.top + row as isize;
            if y < 0 || y >= height as isize {
                continue;
            }
            let line = self.images.wrapping_add((place.image * height + y as usize) * width * channels);
            for (pixel, offset) in pixels.iter_mut().zip(columns).take(extent) {
                *pixel = offset.map_or(self.zeros, |offset| line.wrapping_add(offset));
            }
        }
        pixels
    }
}

/// Transforms one vector of channels of one tile.
// Column by column: the index counts in several arrays at once.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn transform<V: Vector, S: Scheme, const GRADIENT: bool>(
    load: impl Fn(usize, usize) -> V,
    to: *mut V::Elem,
    plane: usize,
) {
    unsafe {
        let extent = if GRADIENT { S::OUTPUTS } else { S::INPUTS };
        let along = |line: [V; 6]| {
            if GRADIENT { S::output_transposed([line[0], line[1], line[2], line[3]]) } else { S::input(line) }
        };
        // First down the columns, then along the rows of what that gives.
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

/// Transforms products back: Y = Aᵀ M A (+ bias), and writes the pixels that exist.
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
    /// The panel's channels: the first, and how many.
    pub(crate) channel: usize,
    pub(crate) columns: usize,
    /// The bias of the panel's first channel, or null.
    pub(crate) bias: *const T,
    pub(crate) scheme: PhantomData<S>,
}

impl<T: Element, S: Scheme> Job<T> for Collect<T, S> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for tile in 0..self.count {
            let place = self.geometry.place(self.first + tile);
            let TiledImages { height, width, channels, .. } = self.geometry;
            // The output's tiles start inside the image, so only their far sides may stick out.
            let (top, left) = (place.top.unsigned_abs(), place.left.unsigned_abs());
            let (rows, across) = (height - top, width - left);
            let corner = ((place.image * height + top) * width + left) * channels + self.channel;
            // SAFETY: columns `column..` of the panel are readable, and pixels that exist writable, as the type says.
            unsafe {
                for column in (0..self.columns).step_by(V::LANES) {
                    let count = self.columns - column;
                    let from = self.from.at(tile, column);
                    let bias =
                        if self.bias.is_null() { V::zero() } else { V::load_up_to(self.bias.add(column), count) };
                    let results = restore::<V, S>(from, self.from.plane, bias);
                    let corner = self.images.add(corner + column);
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

/// Transforms one vector of channels of one tile's products back.
// Column by column: the index counts in several arrays at once.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn restore<V: Vector, S: Scheme>(from: *const V::Elem, plane: usize, bias: V) -> [[V; 4]; 4] {
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
