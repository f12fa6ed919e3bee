//! Packing of the right operand of a product into panels.

use super::Element;
use super::instruction_set::{InstructionSet, Job};
use super::matmul::Matrix;
use super::simd::Vector;

/// Writes `factor` times some rows of one panel of this width, a multiple of the vector length, from this row and column of the matrix
/// on. Columns beyond the matrix are zero.
///
/// # Panics
/// If the matrix does not have these rows, or its elements are too few.
pub(super) fn pack<T: Element>(
    set: InstructionSet,
    factor: T,
    matrix: Matrix<'_, T>,
    [first, column]: [usize; 2],
    to: &mut [T],
    width: usize,
) {
    if to.is_empty() {
        return;
    }
    assert!(matrix.last() < matrix.elements.len(), "the matrix is too short");
    let (rows, used) = (to.len() / width, width.min(matrix.sizes[1] - column));
    assert!(first + rows <= matrix.sizes[0] && width.is_multiple_of(set.lanes::<T>()), "rows of the panel");
    let [down, across] = matrix.strides;
    let from = matrix.elements[first * down + column * across..].as_ptr();
    // SAFETY: by the assertions the matrix has these rows and columns, and `to` has `rows` rows of whole vectors.
    unsafe { set.run(&Pack { factor, from, strides: matrix.strides, rows, used, to: to.as_mut_ptr(), width }) }
}

/// See [`pack`].
///
/// # Safety
/// For [`Job::run`]: `from` is readable for `rows` rows of `used` columns, and `to` is writable for `rows` rows of `width`, a multiple of
/// the vector length.
struct Pack<T> {
    factor: T,
    from: *const T,
    strides: [usize; 2],
    rows: usize,
    used: usize,
    to: *mut T,
    width: usize,
}

impl<T: Element> Job<T> for Pack<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        // SAFETY: as the caller vouches.
        unsafe {
            match self.strides {
                [_, 1] => self.rows_of::<V>(),
                [1, _] => self.columns_of::<V>(),
                _ => self.single(0, 0),
            }
        }
    }
}

impl<T: Element> Pack<T> {
    /// Neighbouring columns are adjacent in memory.
    ///
    /// # Safety
    /// As for [`Job::run`].
    #[inline(always)]
    unsafe fn rows_of<V: Vector<Elem = T>>(&self) {
        // SAFETY: as the caller vouches; no vector reads beyond `used`.
        unsafe {
            let factor = V::splat(self.factor);
            for row in 0..self.rows {
                let (from, to) = (self.from.add(row * self.strides[0]), self.to.add(row * self.width));
                for index in (0..self.width).step_by(V::LANES) {
                    let left = self.used.saturating_sub(index);
                    let values = if left == 0 { V::zero() } else { V::load_up_to(from.add(index), left) };
                    values.mul(factor).store(to.add(index));
                }
            }
        }
    }

    /// Neighbouring rows are adjacent in memory: whole tiles are transposed.
    ///
    /// # Safety
    /// As for [`Job::run`].
    #[inline(always)]
    unsafe fn columns_of<V: Vector<Elem = T>>(&self) {
        let (rows, used) = (self.rows / V::LANES * V::LANES, self.used / V::LANES * V::LANES);
        // SAFETY: the tiles lie within the rows and columns for which the caller vouches.
        unsafe {
            for column in (0..used).step_by(V::LANES) {
                for row in (0..rows).step_by(V::LANES) {
                    let from = self.from.add(row + column * self.strides[1]);
                    V::transpose(
                        from,
                        self.strides[1],
                        self.factor,
                        self.to.add(row * self.width + column),
                        self.width,
                    );
                }
            }
            self.single(rows, used);
        }
    }

    /// One number at a time, but for the first rows of the first columns, which are done.
    ///
    /// # Safety
    /// As for [`Job::run`].
    #[inline(always)]
    unsafe fn single(&self, rows_done: usize, columns_done: usize) {
        let [down, across] = self.strides;
        for row in 0..self.rows {
            let done = if row < rows_done { columns_done } else { 0 };
            for column in done..self.width {
                // SAFETY: only columns below `used` are read.
                unsafe {
                    let inside = column < self.used;
                    let value = if inside { *self.from.add(row * down + column * across) } else { T::default() };
                    *self.to.add(row * self.width + column) = value * self.factor;
                }
            }
        }
    }
}
