//! Weights packed into panels for the matrix product.

use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};

/// The strides of a weight seen as (depth channel, column channel, tap).
#[derive(Clone, Debug)]
pub(crate) struct WeightView {
    pub(crate) first: usize,
    pub(crate) depth: usize,
    pub(crate) column: usize,
    /// Offset of each tap.
    pub(crate) taps: Vec<usize>,
}

/// Packed weights: `[panel][tap][depth channel][column]`, the last panel padded with zero columns.
pub(crate) struct Packed<T> {
    scratch: Scratch<T>,
    /// Columns per panel.
    pub(crate) width: usize,
    /// Columns of all panels, without padding.
    pub(crate) columns: usize,
    /// Rows per panel: taps times depth channels.
    pub(crate) rows: usize,
}

/// Depth channels that one task packs.
const TASK_ROWS: usize = 16;

impl<T: Element> Packed<T> {
    /// Packs `depth` × `columns` channels of the weight.
    pub(crate) fn new(set: InstructionSet, weight: &[T], view: &WeightView, depth: usize, columns: usize) -> Self {
        let width = set.panel::<T>().min(columns.next_multiple_of(set.lanes::<T>()));
        let panels = columns.div_ceil(width);
        let rows = view.taps.len() * depth;
        let mut scratch = Scratch::<T>::new(panels * rows * width);
        let to = Shared::new(scratch.pointer());
        let chunks = depth.div_ceil(TASK_ROWS);
        for_each_task(panels * chunks, 4 * rows * columns, |task| {
            let (panel, chunk) = (task / chunks, task % chunks);
            let used = width.min(columns - panel * width);
            for row in chunk * TASK_ROWS..depth.min((chunk + 1) * TASK_ROWS) {
                for (tap, &offset) in view.taps.iter().enumerate() {
                    let start = ((panel * view.taps.len() + tap) * depth + row) * width;
                    // SAFETY: `start..start + width` lies within the scratch; no other task has this panel and row.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), width) };
                    let from = view.first + row * view.depth + panel * width * view.column + offset;
                    for (column, to) in to.iter_mut().enumerate() {
                        *to = if column < used { weight[from + column * view.column] } else { T::default() };
                    }
                }
            }
        });
        Self { scratch, width, columns, rows }
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Columns of this panel, without padding.
    pub(crate) fn used(&self, panel: usize) -> usize {
        self.width.min(self.columns - panel * self.width)
    }

    /// The packed numbers.
    pub(crate) fn pointer(&mut self) -> *const T {
        self.scratch.pointer()
    }
}
