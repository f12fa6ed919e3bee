//! Matrix products for linear layers, on the `gemm` crate.

use gemm::Parallelism;

use super::Element;
use super::shared::{Shared, for_each_task};

/// The minimal number of rows or columns per task.
const STRIP: usize = 32;
/// The maximal number of tasks.
const TASKS: usize = 16;

/// A matrix in a slice, with strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    /// The elements.
    pub elements: &'a [T],
    /// Rows and columns.
    pub sizes: [usize; 2],
    /// Elements between neighbouring rows and between neighbouring columns. Zero repeats a row or a column.
    pub strides: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix.
    pub fn row_major(elements: &'a [T], [rows, columns]: [usize; 2]) -> Self {
        Self { elements, sizes: [rows, columns], strides: [columns, 1] }
    }

    /// The transpose, of the same elements.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [row, column]) = (self.sizes, self.strides);
        Self { sizes: [columns, rows], strides: [column, row], ..self }
    }

    /// The index of the last element. No size is zero.
    pub(super) fn last(&self) -> usize {
        (self.sizes[0] - 1) * self.strides[0] + (self.sizes[1] - 1) * self.strides[1]
    }
}

/// Writes the product of `a` `[m, k]` and `b` `[k, n]` into `out` `[m, n]`, row-major.
///
/// The longer side of the product is split into strips by its length only, so the result does not depend on the number of
/// threads.
///
/// ```
/// use ops::kernels::{Matrix, matmul};
/// let mut out = [0.0f64; 2];
/// matmul(Matrix::row_major(&[1.0, 2.0], [1, 2]), Matrix::row_major(&[1.0, 10.0, 100.0, 1000.0], [2, 2]), &mut out);
/// assert_eq!(out, [201.0, 2010.0]);
/// ```
///
/// # Panics
/// If the inner sizes differ, if a slice is too short for its sizes and strides, or if `out` does not have length `m * n`.
pub fn matmul<T: Element>(a: Matrix<'_, T>, b: Matrix<'_, T>, out: &mut [T]) {
    let ([m, k], [inner, n]) = (a.sizes, b.sizes);
    assert_eq!(k, inner, "columns of the left operand and rows of the right one");
    assert_eq!(Some(out.len()), m.checked_mul(n), "length of the product");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        return out.fill(T::default());
    }
    assert!(a.last() < a.elements.len(), "the left operand is too short");
    assert!(b.last() < b.elements.len(), "the right operand is too short");
    let (a_strides, b_strides) = (a.strides, b.strides);
    let by_rows = m >= n;
    let strip = m.max(n).div_ceil(TASKS).max(STRIP).next_multiple_of(8);
    let (a, b) = (Shared::reading(a.elements.as_ptr()), Shared::reading(b.elements.as_ptr()));
    let out = Shared::new(out.as_mut_ptr());
    for_each_task(m.max(n).div_ceil(strip), m * n * k, |task| {
        let first = task * strip;
        let count = strip.min(m.max(n) - first);
        let (row, column, rows, columns) = if by_rows { (first, 0, count, n) } else { (0, first, m, count) };
        let strides = [a_strides, b_strides].map(|pair| pair.map(|stride| stride as isize));
        // SAFETY: by the assertions above every element of both operands lies within its slice; `out` has m × n elements, and
        // each task writes its own strip.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                k,
                out.get().add(row * n + column),
                1,
                n as isize,
                false,
                a.get().add(row * a_strides[0]),
                strides[0][1],
                strides[0][0],
                b.get().add(column * b_strides[1]),
                strides[1][1],
                strides[1][0],
                T::default(),
                T::from_f64(1.0),
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
}
