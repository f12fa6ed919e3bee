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
        let across = self.patches.columns.positions;
        let mut index = 0;
        while index < self.count {
            let (line, column) = ((self.first + index) / across, (self.first + index) % across);
            let number = (across - column).min(self.count - index);
            // SAFETY: these positions are among those of the job.
            unsafe { self.line::<V>(line, column, number, self.to.add(index * self.row)) };
            index += number;
        }
    }
}

impl<T: Element> GatherPatches<'_, T> {
    /// Writes the patches of `number` neighbours in one line of positions.
    #[inline(always)]
    unsafe fn line<V: Vector<Elem = T>>(&self, line: usize, column: usize, number: usize, to: *mut T) {
        let Patches { rows, columns, channels, first_channel, depth, .. } = self.patches;
        let (image, row) = (line / rows.positions, line % rows.positions);
        let run = columns.starts.len() * depth;
        for (index, &start) in rows.starts.iter().enumerate() {
            let y = (row * rows.step) as isize + start;
            // SAFETY: the line exists, and `to` holds a patch for each position.
            unsafe {
                let to = to.add(index * run);
                if y < 0 || y >= rows.extent as isize {
                    for position in 0..number {
                        zeros::<V>(to.add(position * self.row), run);
                    }
                    continue;
                }
                let from = self.images.add((image * rows.extent + y as usize) * columns.extent * channels);
                let from = from.add(*first_channel);
                if columns.contiguous() && depth == channels {
                    self.runs::<V>(from, column, number, &columns.starts, to);
                } else {
                    for (tap, start) in columns.starts.chunks(1).enumerate() {
                        self.runs::<V>(from, column, number, start, to.add(tap * depth));
                    }
                }
            }
        }
    }

    /// Copies what neighbouring taps read of one line of the image, for `number` positions from `column` on.
    #[inline(always)]
    unsafe fn runs<V: Vector<Elem = T>>(
        &self,
        from: *const T,
        column: usize,
        number: usize,
        starts: &[isize],
        to: *mut T,
    ) {
        let Patches { columns, channels, depth, .. } = self.patches;
        let (taps, extent) = (starts.len() as isize, columns.extent as isize);
        let first = (column * columns.step) as isize + starts[0];
        // Positions before `inside` reach over the left edge, those from `outside` on over the right one.
        let step = columns.step as isize;
        let inside = ((-first).max(0) + step - 1) / step;
        let outside = if extent - taps < first { 0 } else { (extent - taps - first) / step + 1 };
        let inside = inside.min(number as isize);
        let outside = outside.clamp(inside, number as isize);
        // SAFETY: only pixels of the line are read; `to` holds a patch for each position.
        unsafe {
            for position in (0..inside).chain(outside..number as isize) {
                let start = first + position * step;
                let before = (-start).clamp(0, taps);
                let within = (extent - start).clamp(before, taps) - before;
                let to = to.add(position as usize * self.row);
                let to = zeros::<V>(to, before as usize * depth);
                let pixel = from.wrapping_offset((start + before) * *channels as isize);
                let to = copy::<V>(pixel, to, within as usize * depth);
                zeros::<V>(to, (taps - before - within) as usize * depth);
            }
            if inside < outside {
                let mut pixel = from.offset((first + inside * step) * *channels as isize);
                let mut to = to.add(inside as usize * self.row);
                for _ in inside..outside {
                    copy::<V>(pixel, to, taps as usize * depth);
                    pixel = pixel.wrapping_add(columns.step * channels);
                    to = to.wrapping_add(self.row);
                }
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
