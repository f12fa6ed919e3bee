//! Patches times packed weights: the forward pass, and one class of pixels of the input gradient.

use super::patches::{GatherPatches, Patches};
use super::weights::Packed;
use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::panel::{Onto, PanelProduct};
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};

/// Numbers per block of gathered patches.
const BLOCK_NUMBERS: usize = 96 * 1024;
/// Depth of one product: a panel of weights of this depth fits the private cache of a core.
const DEPTH: usize = 512;

/// The destination of the rows of the product.
pub(crate) trait Destination<T>: Sync {
    /// Whether rows are equally spaced in memory, so that the product writes to them directly.
    fn in_place(&self) -> bool;
    /// The start of the row of this position.
    fn row(&self, position: usize) -> *mut T;
    /// Numbers between neighbouring rows, if in place.
    fn stride(&self) -> usize;
}

/// Multiplies every patch with the packed weights.
///
/// # Safety
/// `images` holds the images of `patches`. Every row of `to` is writable for the packed columns and overlaps no other row.
pub(crate) unsafe fn multiply<T: Element>(
    set: InstructionSet,
    patches: &Patches,
    images: *const T,
    packed: &mut Packed<T>,
    bias: Option<&[T]>,
    to: &impl Destination<T>,
) {
    let positions = patches.positions();
    let length = patches.len();
    let row = length.next_multiple_of(set.lanes::<T>());
    let block =
        (BLOCK_NUMBERS / row.max(packed.columns)).clamp(12, 192).min(positions.div_ceil(8)).next_multiple_of(12);
    let weights = Shared::reading(packed.pointer());
    let packed = &*packed;
    let images = Shared::reading(images);
    let bias = Shared::reading(bias.map_or(std::ptr::null(), <[T]>::as_ptr));
    let gathers = !patches.are_pixels();
    for_each_task(positions.div_ceil(block), positions * length * packed.columns, |task| {
        let first = task * block;
        let count = block.min(positions - first);
        let mut gathered = Scratch::<T>::new(if gathers { block * row } else { 0 });
        let mut results = Scratch::<T>::new(if to.in_place() { 0 } else { block * packed.columns });
        // SAFETY: the caller vouches for images and destination; each scratch holds a block; no two tasks share a row.
        unsafe {
            let (a, a_row) = if gathers {
                let to = gathered.pointer();
                set.run(&GatherPatches { patches, images: images.get(), first, count, to, row });
                (to.cast_const(), row)
            } else {
                (images.get().add(first * patches.channels + patches.first_channel).cast_const(), patches.channels)
            };
            let (c, c_row) =
                if to.in_place() { (to.row(first), to.stride()) } else { (results.pointer(), packed.columns) };
            for panel in 0..packed.panels() {
                let column = panel * packed.width;
                for start in (0..length).step_by(DEPTH) {
                    let onto = match (start, bias.get().is_null()) {
                        (0, true) => Onto::Zero,
                        (0, false) => Onto::Columns(bias.get().add(column).cast_const()),
                        _ => Onto::Itself,
                    };
                    let product = PanelProduct {
                        rows: count,
                        depth: DEPTH.min(length - start),
                        columns: packed.used(panel),
                        a: a.add(start),
                        a_row,
                        a_depth: 1,
                        b: weights.get().add((panel * packed.rows + start) * packed.width),
                        b_row: packed.width,
                        b_len: (packed.rows - start) * packed.width,
                        c: c.add(column),
                        c_row,
                        onto,
                    };
                    product.compute(set);
                }
            }
            if !to.in_place() {
                for index in 0..count {
                    let from = results.pointer().add(index * packed.columns);
                    from.copy_to_nonoverlapping(to.row(first + index), packed.columns);
                }
            }
        }
    });
}
