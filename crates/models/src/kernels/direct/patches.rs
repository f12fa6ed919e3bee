//! Patches of images as rows of a matrix, gathered a block at a time (never the whole im2col matrix).

use crate::kernels::instruction_set::Job;
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// Along one axis: where the tap `index` of position `position` reads, `position * step + starts[index]`.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Positions.
    pub(crate) positions: usize,
    /// Pixels from one position's reading to the next's.
    pub(crate) step: usize,
    /// Where the taps of position 0 read, below zero or beyond the image for zeros.
    pub(crate) starts: Vec<isize>,
    /// The kernel's own index of each tap.
    pub(crate) taps: Vec<usize>,
    /// Pixels of the image that is read.
    pub(crate) extent: usize,
}

impl Axis {
    /// The taps of the forward pass along an axis, without those that only ever read zeros.
    pub(crate) fn forward(g: &ConvGeometry, axis: usize) -> Self {
        let extent = [g.height, g.width][axis];
        let positions = [g.out_height(), g.out_width()][axis];
        let all = (0..g.kernel[axis]).map(|tap| (tap, (tap * g.dilation[axis]) as isize - g.padding[axis] as isize));
        Self::new(positions, g.stride[axis], extent, all)
    }

    /// The taps through which input pixels `first, first + stride, …` reach the output.
    ///
    /// Pixel h meets tap k at output (h + padding − k·dilation) / stride where that is whole; along one class of pixels
    /// that moves by one from pixel to pixel.
    pub(crate) fn input_grad(g: &ConvGeometry, axis: usize, first: usize) -> Self {
        let (stride, padding, dilation) = (g.stride[axis], g.padding[axis] as isize, g.dilation[axis]);
        let positions = [g.height, g.width][axis].saturating_sub(first).div_ceil(stride);
        let extent = [g.out_height(), g.out_width()][axis];
        let all = (0..g.kernel[axis]).rev().filter_map(|tap| {
            let reach = first as isize + padding - (tap * dilation) as isize;
            (reach.rem_euclid(stride as isize) == 0).then(|| (tap, reach.div_euclid(stride as isize)))
        });
        Self::new(positions, 1, extent, all)
    }

    fn new(positions: usize, step: usize, extent: usize, all: impl Iterator<Item = (usize, isize)>) -> Self {
        let last = (positions.max(1) - 1) * step;
        let reads_pixels = |start: isize| start < extent as isize && start + last as isize >= 0;
        let (taps, starts) = all.filter(|&(_, start)| reads_pixels(start)).unzip();
        Self { positions, step, starts, taps, extent }
    }

    /// Whether the taps read neighbouring pixels in order.
    fn contiguous(&self) -> bool {
        self.starts.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }
}

/// The patches that the positions of a grid see: one row each, `[row tap][column tap][channel]`.
#[derive(Clone, Debug)]
pub(crate) struct Patches {
    pub(crate) batch: usize,
    pub(crate) rows: Axis,
    pub(crate) columns: Axis,
    /// Channels of the image, and those that are read.
    pub(crate) channels: usize,
    pub(crate) first_channel: usize,
    pub(crate) depth: usize,
}

impl Patches {
    pub(crate) fn taps(&self) -> usize {
        self.rows.taps.len() * self.columns.taps.len()
    }

    /// Numbers of a patch.
    pub(crate) fn len(&self) -> usize {
        self.taps() * self.depth
    }

    /// Positions of all images.
    pub(crate) fn positions(&self) -> usize {
        self.batch * self.rows.positions * self.columns.positions
    }

    /// Where the taps lie in a kernel's plane of the weight, in the order of the patch.
    pub(crate) fn weight_taps(&self, g: &ConvGeometry) -> Vec<usize> {
        let row_of = |&row: &usize| self.columns.taps.iter().map(move |column| row * g.kernel[1] + column);
        self.rows.taps.iter().flat_map(row_of).collect()
    }

    /// The images themselves, where a patch is a pixel and positions are pixels in order: nothing needs gathering.
    pub(crate) fn are_pixels(&self) -> bool {
        let plain = |axis: &Axis| axis.starts == [0] && axis.step == 1 && axis.positions == axis.extent;
        plain(&self.rows) && plain(&self.columns)
    }
}

/// Writes the patches of positions `first..first + count`, `row` numbers apart.
///
/// # Safety
/// For [`Job::run`]: `images` holds all the images, and `to` is writable for `count` rows.
pub(crate) struct GatherPatches<'a, T> {
    pub(crate) patches: &'a Patches,
    pub(crate) images: *const T,
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) to: *mut T,
    pub(crate) row: usize,
}

impl<T: Element> Job<T> for GatherPatches<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let Patches { rows, columns, channels, first_channel, depth, .. } = self.patches;
        let together = columns.contiguous() && depth == channels;
        let mut column = self.first % columns.positions;
        let mut line = self.first / columns.positions;
        for index in 0..self.count {
            let (image, row) = (line / rows.positions, line % rows.positions);
            // SAFETY: the offsets of pixels that exist are within the images, and a row of `to` holds a patch.
            unsafe {
                let mut to = self.to.add(index * self.row);
                for &start in &rows.starts {
                    let y = (row * rows.step) as isize + start;
                    if y < 0 || y >= rows.extent as isize {
                        to = zeros::<V>(to, columns.starts.len() * depth);
                        continue;
                    }
                    let from = self.images.add((image * rows.extent + y as usize) * columns.extent * channels);
                    let from = from.add(*first_channel);
                    let left = (column * columns.step) as isize;
                    if together {
                        let start = left + columns.starts[0];
                        let count = columns.starts.len() as isize;
                        let before = (-start).clamp(0, count);
                        let inside = (columns.extent as isize - start).clamp(before, count) - before;
                        to = zeros::<V>(to, before as usize * depth);
                        to = copy::<V>(
                            from.wrapping_offset((start + before) * *channels as isize),
                            to,
                            inside as usize * depth,
                        );
                        to = zeros::<V>(to, (count - before - inside) as usize * depth);
                    } else {
                        for &start in &columns.starts {
                            let x = left + start;
                            to = if x < 0 || x >= columns.extent as isize {
                                zeros::<V>(to, *depth)
                            } else {
                                copy::<V>(from.add(x as usize * channels), to, *depth)
                            };
                        }
                    }
                }
            }
            column += 1;
            if column == columns.positions {
                (column, line) = (0, line + 1);
            }
        }
    }
}

/// Copies numbers and returns where the next ones go.
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(from: *const V::Elem, to: *mut V::Elem, count: usize) -> *mut V::Elem {
    unsafe {
        let whole = count - count % V::LANES;
        for index in (0..whole).step_by(V::LANES) {
            V::load(from.add(index)).store(to.add(index));
        }
        if whole < count {
            V::load_first(from.add(whole), count - whole).store_first(to.add(whole), count - whole);
        }
        to.add(count)
    }
}

#[inline(always)]
unsafe fn zeros<V: Vector>(to: *mut V::Elem, count: usize) -> *mut V::Elem {
    unsafe {
        for index in (0..count).step_by(V::LANES) {
            V::zero().store_up_to(to.add(index), count - index);
        }
        to.add(count)
    }
}
