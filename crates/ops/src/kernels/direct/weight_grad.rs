//! The weight gradient as a product of transposed patches with the output's gradient, summed over slabs of positions.

use std::mem::MaybeUninit;

use super::patches::{Axis, GatherPatches, Patches, copy};
use super::{forward_patches, lines};
use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element, direct::depthwise};

/// Positions that one chain of additions sums.
pub(super) const CHAIN: usize = 128;
/// Numbers in the sums of all slabs together.
const SUM_NUMBERS: usize = 2_000_000;
/// The maximal number of slabs.
const SLABS: usize = 16;

/// Writes the weight gradient into `grad_weight`. Slices have the lengths of the geometry.
pub(crate) fn weight_grad<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    if depthwise::suits(g) {
        return depthwise::weight_grad(set, g, x, grad_y, grad_weight);
    }
    if lines::suits(set.lanes::<T>(), g) {
        return lines::weight_grad(set, g, x, grad_y, grad_weight);
    }
    let group_len = g.weight_len() / g.groups;
    for (group, grad_weight) in grad_weight.chunks_mut(group_len).enumerate() {
        Sums::new(set, g, group).compute(g, x, grad_y, grad_weight);
    }
}

/// The weight gradient of one group as sums over slabs of positions, `[slab][tap][depth channel][output channel]`.
pub(super) struct SumsOfSlabs {
    pub(super) slabs: usize,
    /// Rows of a slab: taps times depth channels.
    rows: usize,
    depth: usize,
    /// Output channels of the group.
    columns: usize,
    /// Their number rounded up to a multiple of every vector length.
    pub(super) width: usize,
}

impl SumsOfSlabs {
    /// For this many positions, which are divided into as many slabs as memory and threads can use.
    pub(super) fn new(positions: usize, taps: usize, depth: usize, columns: usize) -> Self {
        let (rows, width) = (taps * depth, columns.next_multiple_of(16));
        let slabs = (SUM_NUMBERS / (rows.max(1) * width)).clamp(1, SLABS).min(positions.div_ceil(2 * CHAIN));
        Self { slabs, rows, depth, columns, width }
    }

    /// Numbers of one slab.
    pub(super) fn slab_numbers(&self) -> usize {
        self.rows * self.width
    }

    /// Sums the slabs in order and writes the result in the layout of the weight. `taps` are the offsets in a plane of the weight; those
    /// that are missing read only the padding.
    pub(super) fn finish<T: Element>(
        &self,
        g: &ConvGeometry,
        sums: Shared<T>,
        taps: &[usize],
        grad_weight: &mut [MaybeUninit<T>],
    ) {
        const COLUMNS: usize = 16;
        let (plane, depth) = (g.kernel[0] * g.kernel[1], self.depth);
        let to = Shared::<T>::new(grad_weight.as_mut_ptr().cast());
        if taps.len() < plane {
            grad_weight.fill(MaybeUninit::new(T::default()));
        }
        for_each_task(self.columns.div_ceil(COLUMNS), self.slabs * self.rows * self.columns, |task| {
            let first = task * COLUMNS;
            let columns = COLUMNS.min(self.columns - first);
            for channel in 0..depth {
                for (tap, &offset) in taps.iter().enumerate() {
                    let mut total = [T::default(); COLUMNS];
                    for slab in 0..self.slabs {
                        let row = (slab * self.rows + tap * depth + channel) * self.width + first;
                        for (column, total) in total.iter_mut().enumerate() {
                            // SAFETY: the width of the sums is a multiple of `COLUMNS`.
                            *total += unsafe { *sums.get().add(row + column) };
                        }
                    }
                    for (column, &total) in total.iter().enumerate().take(columns) {
                        // SAFETY: the offset is one of this group's weights; each task has its own columns.
                        unsafe { *to.get().add(((first + column) * depth + channel) * plane + offset) = total };
                    }
                }
            }
        });
    }
}

/// The sums of one group.
struct Sums {
    set: InstructionSet,
    /// The patches in parts of whole taps, one task each.
    parts: Vec<Part>,
    positions: usize,
    /// Positions per slab.
    slab: usize,
    sums: SumsOfSlabs,
    /// First output channel of the group.
    first_column: usize,
    taps: Vec<usize>,
}

/// The patches of some taps.
struct Part {
    patches: Patches,
    first_row: usize,
}

impl Sums {
    fn new(set: InstructionSet, g: &ConvGeometry, group: usize) -> Self {
        let patches = forward_patches(g, group);
        let columns = g.group_out_channels();
        let positions = patches.positions();
        let mut sums = SumsOfSlabs::new(positions, patches.taps(), patches.depth, columns);
        let slab = positions.div_ceil(sums.slabs).next_multiple_of(CHAIN);
        let taps = patches.weight_taps(g);
        let parts = parts(patches, sums.slabs);
        sums.slabs = positions.div_ceil(slab);
        Self { set, parts, positions, slab, sums, first_column: group * columns, taps }
    }

    fn compute<T: Element>(&self, g: &ConvGeometry, x: &[T], grad_y: &[T], grad_weight: &mut [MaybeUninit<T>]) {
        if self.sums.rows == 0 {
            // Every tap reads the padding only.
            return grad_weight.fill(MaybeUninit::new(T::default()));
        }
        let (slabs, slab_numbers) = (self.sums.slabs, self.sums.slab_numbers());
        let mut scratch = Scratch::<T>::new(slabs * slab_numbers);
        let sums = Shared::new(scratch.pointer());
        let (images, gradients) = (Shared::reading(x.as_ptr()), Shared::reading(grad_y.as_ptr()));
        let work = self.positions * self.sums.rows * self.sums.columns;
        for_each_task(slabs * self.parts.len(), work, |task| {
            let (slab, part) = (task / self.parts.len(), &self.parts[task % self.parts.len()]);
            let first = slab * self.slab;
            let last = self.positions.min(first + self.slab);
            // SAFETY: the images and cotangents have the lengths of the geometry, and the scratch holds all slabs. Each task
            // writes its own rows of its own slab.
            unsafe {
                let to = sums.get().add(slab * slab_numbers + part.first_row * self.sums.width);
                for start in (first..last).step_by(CHAIN) {
                    let block = Block { first: start, count: CHAIN.min(last - start), is_first: start == first };
                    self.add(&part.patches, g, [images.get(), gradients.get()], block, to);
                }
            }
        });
        self.sums.finish(g, sums, &self.taps, grad_weight);
    }

    /// Adds the products of a block of positions to some rows of the sums.
    ///
    /// # Safety
    /// `images` and `cotangents` are readable for whole tensors of the geometry. `to` is writable for `patches.len()` rows
    /// of the sums, which belong to this task and hold the sums of the blocks before.
    unsafe fn add<T: Element>(
        &self,
        patches: &Patches,
        g: &ConvGeometry,
        [images, cotangents]: [*const T; 2],
        Block { first, count, is_first }: Block,
        to: *mut T,
    ) {
        let rows = patches.len();
        let row = rows.next_multiple_of(16);
        let panel = self.set.panel::<T>().min(self.sums.width);
        let gathers = !patches.are_pixels();
        let mut gathered = Scratch::<T>::new(if gathers { CHAIN * row } else { 0 });
        // The cotangent is read in place if one panel holds whole rows of it and these are whole vectors. A panel is read in
        // whole vectors: with several groups, a vector could reach beyond the last row.
        let packs = panel != self.sums.columns || self.sums.columns != g.out_channels;
        let mut packed = Scratch::<T>::new(if packs { CHAIN * panel } else { 0 });
        // SAFETY: the caller vouches for images, cotangents and `to`; each scratch holds a block.
        unsafe {
            let (a, a_depth) = if gathers {
                let to = gathered.pointer();
                self.set.run(&GatherPatches { patches, images, first, count, to, row });
                (to.cast_const(), row)
            } else {
                (images.add(first * patches.channels + patches.first_channel), patches.channels)
            };
            for column in (0..self.sums.columns).step_by(panel) {
                let columns = panel.min(self.sums.columns - column);
                let from = cotangents.add(first * g.out_channels + self.first_column + column);
                let b = if packs {
                    let to = packed.pointer();
                    self.set.run(&PackRows { from, row: g.out_channels, count, columns, to, width: panel });
                    to.cast_const()
                } else {
                    from
                };
                let product = PanelProduct {
                    rows,
                    depth: count,
                    columns,
                    a,
                    a_row: 1,
                    a_depth,
                    b,
                    b_row: panel,
                    b_len: if packs { CHAIN * panel } else { (self.positions - first) * g.out_channels },
                    c: to.add(column),
                    c_row: self.sums.width,
                    onto: if is_first { Onto::Zero } else { Onto::Itself },
                };
                product.compute(self.set);
            }
        }
    }
}

/// Splits the patches by taps until slabs and parts make enough tasks.
fn parts(patches: Patches, slabs: usize) -> Vec<Part> {
    if slabs >= 8 || patches.taps() < 2 {
        return vec![Part { patches, first_row: 0 }];
    }
    let pick = |axis: &Axis, index: usize| Axis {
        starts: vec![axis.starts[index]],
        taps: vec![axis.taps[index]],
        ..axis.clone()
    };
    let (across, depth) = (patches.columns.taps.len(), patches.depth);
    let part = |tap: usize| Part {
        patches: Patches {
            rows: pick(&patches.rows, tap / across),
            columns: pick(&patches.columns, tap % across),
            ..patches.clone()
        },
        first_row: tap * depth,
    };
    (0..patches.taps()).map(part).collect()
}

/// Positions of which one call adds the products.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    count: usize,
    /// Whether the sums start at zero.
    is_first: bool,
}

/// Copies some columns of separate rows into adjacent rows, and pads them with zeros.
///
/// # Safety
/// For [`Job::run`]: `from` is readable for `columns` numbers in `count` rows, `row` apart, and `to` is writable for `count`
/// rows of `width`.
pub(super) struct PackRows<T> {
    pub(super) from: *const T,
    pub(super) row: usize,
    pub(super) count: usize,
    pub(super) columns: usize,
    pub(super) to: *mut T,
    pub(super) width: usize,
}

impl<T: Element> Job<T> for PackRows<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for row in 0..self.count {
            // SAFETY: the rows have the sizes that the type demands.
            unsafe {
                let to = self.to.add(row * self.width);
                copy::<V>(self.from.add(row * self.row), to, self.columns);
                for column in self.columns..self.width {
                    *to.add(column) = T::default();
                }
            }
        }
    }
}
