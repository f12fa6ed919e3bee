//! Patches of images as rows of a matrix, gathered one block at a time instead of as a whole im2col matrix.

use crate::kernels::instruction_set::Job;
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element};

/// The reads along one axis: tap `index` of position `position` reads pixel `position * step + starts[index]`.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Number of positions.
    pub(crate) positions: usize,
    /// Pixels between the reads of neighbouring positions.
    pub(crate) step: usize,
    /// The pixel that each tap of position 0 reads. Pixels outside the image are zero.
    pub(crate) starts: Vec<isize>,
    /// The index of each tap in the kernel.
    pub(crate) taps: Vec<usize>,
    /// Pixels of the image along this axis.
    pub(crate) extent: usize,
}

impl Axis {
    /// The taps of the forward pass along an axis, without taps that only read padding.
    pub(crate) fn forward(g: &ConvGeometry, axis: usize) -> Self {
        let extent = [g.height, g.width][axis];
        let positions = [g.out_height(), g.out_width()][axis];
        let all = (0..g.kernel[axis]).map(|tap| (tap, (tap * g.dilation[axis]) as isize - g.padding[axis] as isize));
        Self::new(positions, g.stride[axis], extent, all)
    }

    /// The taps that connect input pixels `first, first + stride, …` with the output.
    ///
    /// Tap k connects pixel h with output (h + padding − k·dilation) / stride, where that is an integer. Neighbouring pixels
    /// of one class are connected with neighbouring outputs.
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

    /// Whether the taps read adjacent pixels in order.
    fn contiguous(&self) -> bool {
        self.starts.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }
}

/// The patches of a grid of positions: one row each, `[row tap][column tap][channel]`.
#[derive(Clone, Debug)]
pub(crate) struct Patches {
    pub(crate) batch: usize,
    pub(crate) rows: Axis,
    pub(crate) columns: Axis,
    /// Channels of the image.
    pub(crate) channels: usize,
    /// First channel that is read.
    pub(crate) first_channel: usize,
    /// Number of channels that are read.
    pub(crate) depth: usize,
}

impl Patches {
    pub(crate) fn taps(&self) -> usize {
        self.rows.taps.len() * self.columns.taps.len()
    }

    /// Numbers per patch.
    pub(crate) fn len(&self) -> usize {
        self.taps() * self.depth
    }

    /// Positions of all images.
    pub(crate) fn positions(&self) -> usize {
        self.batch * self.rows.positions * self.columns.positions
    }

    /// The offset of each tap in a plane of the weight, in the order of the patch.
    pub(crate) fn weight_taps(&self, g: &ConvGeometry) -> Vec<usize> {
        let row_of = |&row: &usize| self.columns.taps.iter().map(move |column| row * g.kernel[1] + column);
        self.rows.taps.iter().flat_map(row_of).collect()
    }

    /// Whether each patch is one pixel and positions are pixels in order. The images then need no gathering.
    pub(crate) fn are_pixels(&self) -> bool {
        let is_identity = |axis: &Axis| axis.starts == [0] && axis.step == 1 && axis.positions == axis.extent;
        is_identity(&self.rows) && is_identity(&self.columns)
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
            // SAFETY: the positions belong to the job.
            unsafe { self.line::<V>(line, column, number, self.to.add(index * self.row)) };
            index += number;
        }
    }
}

impl<T: Element> GatherPatches<'_, T> {
    /// Writes the patches of `number` neighbouring positions of one line.
    ///
    /// # Safety
    /// As for the type, for these positions.
    #[inline(always)]
    unsafe fn line<V: Vector<Elem = T>>(&self, line: usize, column: usize, number: usize, to: *mut T) {
        let Patches { rows, columns, channels, first_channel, depth, .. } = self.patches;
        let (image, row) = (line / rows.positions, line % rows.positions);
        let run = columns.starts.len() * depth;
        for (index, &start) in rows.starts.iter().enumerate() {
            let y = (row * rows.step) as isize + start;
            // SAFETY: the line lies within the image, and `to` holds one patch per position.
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

    /// Copies the pixels that adjacent taps read from one line of the image, for `number` positions from `column` on.
    ///
    /// # Safety
    /// `from` is a line of the image, and `to` is writable for one patch per position.
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
        // Taps of positions before `inside` extend over the left edge, of positions from `outside` on over the right edge.
        let step = columns.step as isize;
        let inside = ((-first).max(0) + step - 1) / step;
        let outside = if extent - taps < first { 0 } else { (extent - taps - first) / step + 1 };
        let inside = inside.min(number as isize);
        let outside = outside.clamp(inside, number as isize);
        // SAFETY: only pixels of the line are read; `to` holds one patch per position.
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

/// Copies numbers and returns the end of the copy.
///
/// # Safety
/// `from` is readable and `to` writable for `count` numbers, on a processor with the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(from: *const V::Elem, to: *mut V::Elem, count: usize) -> *mut V::Elem {
    // SAFETY: every access is limited to `count` numbers.
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

/// Writes zeros and returns their end.
///
/// # Safety
/// `to` is writable for `count` numbers, on a processor with the instruction set of `V`.
#[inline(always)]
unsafe fn zeros<V: Vector>(to: *mut V::Elem, count: usize) -> *mut V::Elem {
    // SAFETY: every access is limited to `count` numbers.
    unsafe {
        for index in (0..count).step_by(V::LANES) {
            V::zero().store_up_to(to.add(index), count - index);
        }
        to.add(count)
    }
}
