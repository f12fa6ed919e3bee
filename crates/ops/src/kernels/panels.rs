//! The right operand of a product, packed into panels for the tiles of [`PanelProduct`].

use super::Element;
use super::instruction_set::InstructionSet;
use super::matmul::Matrix;
use super::packing::pack;
use super::panel::{Onto, PanelProduct};
use super::scratch::Scratch;
use super::shared::{Shared, for_each_task};

/// Depth that one chain of additions sums.
const DEPTH: usize = 512;
/// Depth that one task packs.
const TASK_DEPTH: usize = 16;

/// A matrix `[depth, columns]` as `[panel][depth][column]`, the last panel padded with zeros.
pub(super) struct Panels<T> {
    pub(super) set: InstructionSet,
    numbers: Scratch<T>,
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) width: usize,
}

/// The columns of one panel. Of a wide matrix it has three vectors, beside which a tile of eight rows fits the registers.
pub(super) fn panel_width<T: Element>(set: InstructionSet, columns: usize) -> usize {
    let (lanes, most) = (set.lanes::<T>(), set.panel::<T>());
    let whole = columns.next_multiple_of(lanes);
    if whole <= most { whole } else { most.min(3 * lanes) }
}

impl<T: Element> Panels<T> {
    /// Panels with arbitrary contents.
    fn empty([depth, columns]: [usize; 2]) -> Self {
        let set = InstructionSet::best();
        let width = panel_width::<T>(set, columns);
        Self { set, numbers: Scratch::new(columns.div_ceil(width) * depth * width), depth, columns, width }
    }

    /// `factor` times a matrix, packed by the calling thread.
    pub(super) fn of(factor: T, matrix: Matrix<'_, T>) -> Self {
        let mut panels = Self::empty(matrix.sizes);
        let (width, depth) = (panels.width, panels.depth);
        for (panel, to) in panels.numbers.slice().chunks_exact_mut(depth * width).enumerate() {
            pack(panels.set, factor, matrix, [0, panel * width], to, width);
        }
        panels
    }

    /// A matrix, packed in parallel.
    pub(super) fn in_parallel(matrix: Matrix<'_, T>) -> Self {
        let mut panels = Self::empty(matrix.sizes);
        let (width, depth) = (panels.width, panels.depth);
        let (to, chunks) = (Shared::new(panels.numbers.pointer()), depth.div_ceil(TASK_DEPTH));
        for_each_task(panels.columns.div_ceil(width) * chunks, 4 * depth * panels.columns, |task| {
            let (panel, first) = (task / chunks, task % chunks * TASK_DEPTH);
            let count = TASK_DEPTH.min(depth - first);
            // SAFETY: these rows of the panel lie within the scratch, and no other task has them.
            let to =
                unsafe { std::slice::from_raw_parts_mut(to.get().add((panel * depth + first) * width), count * width) };
            pack(panels.set, T::from_f64(1.0), matrix, [first, panel * width], to, width);
        });
        panels
    }

    /// The first columns of all panels, in order.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> + use<T> {
        (0..self.columns).step_by(self.width)
    }

    /// Writes the columns of one panel of a·b, plus `bias` or what `to` holds; the panel is that of the column `column`.
    ///
    /// # Safety
    /// `to` is the address of this column of the product, whose rows are `stride` apart. The columns of the panel are writable, no
    /// other thread accesses them, and they are initialised for [`Onto::Itself`]. An address in `onto` is readable for the columns.
    ///
    /// # Panics
    /// If the inner sizes differ, if `a` is too short, or if neither of its strides is 1.
    pub(super) unsafe fn multiply_panel(
        &self,
        a: Matrix<'_, T>,
        column: usize,
        onto: Onto<T>,
        (to, stride): (*mut T, usize),
    ) {
        let ([rows, depth], [a_row, a_depth]) = (a.sizes, a.strides);
        assert_eq!(depth, self.depth, "columns of the left operand and rows of the right one");
        let last = rows.saturating_sub(1) * a_row + depth.saturating_sub(1) * a_depth;
        assert!(rows == 0 || depth == 0 || last < a.elements.len(), "the left operand is too short");
        for start in (0..depth).step_by(DEPTH) {
            // SAFETY: by the assertions `a` holds these rows and steps; the scratch holds the panel; the caller vouches for `to`.
            unsafe {
                let product = PanelProduct {
                    rows,
                    depth: DEPTH.min(depth - start),
                    columns: self.width.min(self.columns - column),
                    a: a.elements.as_ptr().add(start * a_depth),
                    a_row,
                    a_depth,
                    b: self.numbers.as_ptr().add(column * depth + start * self.width),
                    b_row: self.width,
                    b_len: (depth - start) * self.width,
                    c: to,
                    c_row: stride,
                    onto: if start == 0 { onto } else { Onto::Itself },
                };
                product.compute(self.set);
            }
        }
    }

    /// Writes a·b to a matrix whose rows are `stride` apart, or adds it.
    ///
    /// # Safety
    /// As [`Panels::multiply_panel`] for all columns from `to` on.
    ///
    /// # Panics
    /// As [`Panels::multiply_panel`].
    pub(super) unsafe fn multiply(&self, a: Matrix<'_, T>, (to, stride): (*mut T, usize), add: bool) {
        let onto = if add { Onto::Itself } else { Onto::Zero };
        for column in self.starts() {
            // SAFETY: the caller vouches for the columns.
            unsafe { self.multiply_panel(a, column, onto, (to.add(column), stride)) };
        }
    }

    /// [`Panels::multiply`] into rows that are `stride` apart.
    ///
    /// # Panics
    /// As [`Panels::multiply_panel`], and if `to` has fewer rows or the product does not fit them.
    pub(super) fn multiply_into(&self, a: Matrix<'_, T>, to: &mut [T], stride: usize, add: bool) {
        let end = a.sizes[0].saturating_sub(1) * stride + self.columns;
        assert!(end <= to.len() && self.columns <= stride, "rows of the product");
        // SAFETY: by the assertion `to` holds the product; it is borrowed exclusively and initialised.
        unsafe { self.multiply(a, (to.as_mut_ptr(), stride), add) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes below, at and beyond a panel and a chain, of both layouts of either operand.
    #[test]
    fn products_are_those_of_the_definition() {
        for [rows, depth, columns] in [[1, 1, 1], [3, 5, 7], [9, 70, 65], [20, 3, 130], [2, 1030, 17]] {
            let a: Vec<f64> = (0..rows * depth).map(|index| (index as f64).sin()).collect();
            let b: Vec<f64> = (0..depth * columns).map(|index| (index as f64).cos()).collect();
            for [a_turned, b_turned] in [[false, false], [true, false], [false, true], [true, true]] {
                let strides = |turned, [rows, columns]: [usize; 2]| if turned { [1, rows] } else { [columns, 1] };
                let left = Matrix { elements: &a, sizes: [rows, depth], strides: strides(a_turned, [rows, depth]) };
                let right =
                    Matrix { elements: &b, sizes: [depth, columns], strides: strides(b_turned, [depth, columns]) };
                let at = |matrix: &Matrix<'_, f64>, row: usize, column: usize| {
                    matrix.elements[row * matrix.strides[0] + column * matrix.strides[1]]
                };
                let mut found = vec![1.0; rows * columns];
                Panels::of(2.0, right).multiply_into(left, &mut found, columns, true);
                Panels::in_parallel(right).multiply_into(left, &mut found, columns, true);
                for (index, found) in found.iter().enumerate() {
                    let (row, column) = (index / columns, index % columns);
                    let product: f64 = (0..depth).map(|step| at(&left, row, step) * at(&right, step, column)).sum();
                    assert!((found - 1.0 - 3.0 * product).abs() < 1e-11, "{rows}, {depth}, {columns}: {found}");
                }
            }
        }
    }
}
