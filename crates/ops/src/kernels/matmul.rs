//! Matrix products for linear layers, on the `gemm` crate.

use gemm::Parallelism;

use super::Element;
use super::shared::{Shared, for_each_task};

/// Rows or columns of the product that one task computes at least.
const STRIP: usize = 32;
/// Tasks at most.
const TASKS: usize = 16;

/// Writes the `[m, n]` product of `a` `[m, k]` and `b` `[k, n]` into `out`, row-major.
///
/// Strides are (row, column) in elements and may be zero (a broadcast) but not negative. The longer side of the product
/// is split into strips by its length alone, so the result does not depend on the number of threads.
///
/// ```
/// let mut out = [0.0f64; 2];
/// ops::kernels::matmul(1, 2, 2, &[1.0, 2.0], [2, 1], &[1.0, 10.0, 100.0, 1000.0], [2, 1], &mut out);
/// assert_eq!(out, [201.0, 2010.0]);
/// ```
///
/// # Panics
/// If a slice is too short for its sizes and strides, or `out` has not length `m * n`.
#[allow(clippy::too_many_arguments)]
pub fn matmul<T: Element>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    a_strides: [usize; 2],
    b: &[T],
    b_strides: [usize; 2],
    out: &mut [T],
) {
    let reach = |rows: usize, columns: usize, [row, column]: [usize; 2]| (rows - 1) * row + (columns - 1) * column;
    assert_eq!(Some(out.len()), m.checked_mul(n), "length of the product");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        return out.fill(T::default());
    }
    assert!(reach(m, k, a_strides) < a.len(), "the left operand is too short");
    assert!(reach(k, n, b_strides) < b.len(), "the right operand is too short");
    let by_rows = m >= n;
    let strip = m.max(n).div_ceil(TASKS).max(STRIP).next_multiple_of(8);
    let (a, b) = (Shared::reading(a.as_ptr()), Shared::reading(b.as_ptr()));
    let out = Shared::new(out.as_mut_ptr());
    for_each_task(m.max(n).div_ceil(strip), m * n * k, |task| {
        let first = task * strip;
        let count = strip.min(m.max(n) - first);
        let (row, column, rows, columns) = if by_rows { (first, 0, count, n) } else { (0, first, m, count) };
        let strides = [a_strides, b_strides].map(|pair| pair.map(|stride| stride as isize));
        // SAFETY: the assertions above bound every element of both operands; `out` has m × n elements, and each task
        // writes its own strip.
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
