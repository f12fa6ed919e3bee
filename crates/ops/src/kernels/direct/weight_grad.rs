//! The weight gradient as a product of transposed patches with the output's gradient, summed over slabs of positions.

use std::mem::MaybeUninit;

use super::forward_patches;
use super::patches::{Axis, GatherPatches, Patches, copy};
use crate::kernels::instruction_set::{InstructionSet, Job};
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::simd::Vector;
use crate::kernels::{ConvGeometry, Element, direct::depthwise};

/// Positions summed in one chain.
const CHAIN: usize = 128;
/// Numbers in all the slabs' sums.
const SUM_NUMBERS: usize = 2_000_000;
/// Slabs at most.
const SLABS: usize = 16;

/// Writes the weight gradient into `grad_weight`. Slices have the lengths that the geometry demands.
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
    let group_len = g.weight_len() / g.groups;
    for (group, grad_weight) in grad_weight.chunks_mut(group_len).enumerate() {
        Sums::new(set, g, group).compute(g, x, grad_y, grad_weight);
    }
}

/// The sums of one group.
struct Sums {
    set: InstructionSet,
    /// The patches in parts of whole taps, which tasks share out.
    parts: Vec<Part>,
    positions: usize,
    /// Positions of a slab.
    slab: usize,
    /// Rows of the product: taps times depth channels.
    rows: usize,
    /// The group's first output channel, the number of them, and their number rounded up to whole vectors.
    first_column: usize,
    columns: usize,
    width: usize,
    taps: Vec<usize>,
}

/// Some taps of the patches.
struct Part {
    patches: Patches,
    first_row: usize,
}

impl Sums {
    fn new(set: InstructionSet, g: &ConvGeometry, group: usize) -> Self {
        let patches = forward_patches(g, group);
        let columns = g.group_out_channels();
        let width = columns.next_multiple_of(16);
        let (positions, rows) = (patches.positions(), patches.len());
        let slabs = (SUM_NUMBERS / (rows.max(1) * width)).clamp(1, SLABS).min(positions.div_ceil(2 * CHAIN));
        let slab = positions.div_ceil(slabs).next_multiple_of(CHAIN);
        let taps = patches.weight_taps(g);
        let parts = parts(patches, slabs);
        Self { set, parts, positions, slab, rows, first_column: group * columns, columns, width, taps }
    }

    fn compute<T: Element>(&self, g: &ConvGeometry, x: &[T], grad_y: &[T], grad_weight: &mut [MaybeUninit<T>]) {
        if self.rows == 0 {
            // No tap ever meets a pixel.
            return grad_weight.fill(MaybeUninit::new(T::default()));
        }
        let slabs = self.positions.div_ceil(self.slab);
        let slab_numbers = self.rows * self.width;
        let mut scratch = Scratch::<T>::new(slabs * slab_numbers);
        let sums = Shared::new(scratch.pointer());
        let (images, gradients) = (Shared::reading(x.as_ptr()), Shared::reading(grad_y.as_ptr()));
        let work = self.positions * self.rows * self.columns;
        for_each_task(slabs * self.parts.len(), work, |task| {
            let (slab, part) = (task / self.parts.len(), &self.parts[task % self.parts.len()]);
            let first = slab * self.slab;
            let last = self.positions.min(first + self.slab);
            // SAFETY: each task writes its own rows of its own slab.
            unsafe {
                let to = sums.get().add(slab * slab_numbers + part.first_row * self.width);
                for start in (first..last).step_by(CHAIN) {
                    let onto = if start == first { Onto::Zero } else { Onto::Itself };
                    let count = CHAIN.min(last - start);
                    self.add(&part.patches, g, images.get(), gradients.get(), start, count, to, onto);
                }
            }
        });
        self.finish(g, sums, slabs, grad_weight);
    }

    /// Adds the products of `count` positions to some rows of the sums.
    #[allow(clippy::too_many_arguments)]
    unsafe fn add<T: Element>(
        &self,
        patches: &Patches,
        g: &ConvGeometry,
        images: *const T,
        gradients: *const T,
        first: usize,
        count: usize,
        to: *mut T,
        onto: Onto<T>,
    ) {
        let rows = patches.len();
        let row = rows.next_multiple_of(16);
        let panel = self.set.panel::<T>().min(self.width);
        let gathers = !patches.are_pixels();
        let mut gathered = Scratch::<T>::new(if gathers { CHAIN * row } else { 0 });
        // The gradient serves as it is where one panel holds its rows exactly.
        let packs = panel != g.out_channels;
        let mut packed = Scratch::<T>::new(if packs { CHAIN * panel } else { 0 });
        // SAFETY: the images and gradients are whole, the scratch holds a block; the caller vouches for `to`.
        unsafe {
            let (a, a_depth) = if gathers {
                let to = gathered.pointer();
                self.set.run(&GatherPatches { patches, images, first, count, to, row });
                (to.cast_const(), row)
            } else {
                (images.add(first * patches.channels + patches.first_channel), patches.channels)
            };
            for column in (0..self.columns).step_by(panel) {
                let columns = panel.min(self.columns - column);
                let from = gradients.add(first * g.out_channels + self.first_column + column);
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
                    c: to.add(column),
                    c_row: self.width,
                    onto,
                };
                product.compute(self.set);
            }
        }
    }

    /// Adds the slabs in order and writes the sums in the weight's layout.
    fn finish<T: Element>(&self, g: &ConvGeometry, sums: Shared<T>, slabs: usize, grad_weight: &mut [MaybeUninit<T>]) {
        const COLUMNS: usize = 16;
        let (plane, depth) = (g.kernel[0] * g.kernel[1], g.group_in_channels());
        let to = Shared::<T>::new(grad_weight.as_mut_ptr().cast());
        if self.taps.len() < plane {
            grad_weight.fill(MaybeUninit::new(T::default()));
        }
        for_each_task(self.columns.div_ceil(COLUMNS), slabs * self.rows * self.columns, |task| {
            let first = task * COLUMNS;
            let columns = COLUMNS.min(self.columns - first);
            for channel in 0..depth {
                for (tap, &offset) in self.taps.iter().enumerate() {
                    let mut total = [T::default(); COLUMNS];
                    for slab in 0..slabs {
                        let row = (slab * self.rows + tap * depth + channel) * self.width + first;
                        for (column, total) in total.iter_mut().enumerate() {
                            // SAFETY: rows of the sums are a multiple of `COLUMNS` wide.
                            *total += unsafe { *sums.get().add(row + column) };
                        }
                    }
                    for (column, &total) in total.iter().enumerate().take(columns) {
                        // SAFETY: the offset is that of a weight of this group; each task has its own columns.
                        unsafe { *to.get().add(((first + column) * depth + channel) * plane + offset) = total };
                    }
                }
            }
        });
    }
}

/// Splits patches so that slabs and parts together make enough tasks.
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

/// Copies some columns of rows that are apart into neighbouring rows, filled up with zeros.
struct PackRows<T> {
    from: *const T,
    row: usize,
    count: usize,
    columns: usize,
    to: *mut T,
    width: usize,
}

impl<T: Element> Job<T> for PackRows<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for row in 0..self.count {
            // SAFETY: the maker of this job gives rows of these sizes.
            unsafe {
                let to = self.to.add(row * self.width);
                let end = copy::<V>(self.from.add(row * self.row), to, self.columns);
                for column in self.columns..self.width {
                    *to.add(column) = T::default();
                }
                let _ = end;
            }
        }
    }
}
