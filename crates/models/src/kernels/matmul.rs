//! Matrix products for linear layers.

use rayon::prelude::*;

use super::Element;

/// Writes the `[m, n]` product of `a` `[m, k]` and `b` `[k, n]` into `out`, row-major.
///
/// Strides are (row, column) in elements and may be zero (a broadcast) but not negative.
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
    assert_eq!(out.len(), m * n, "length of the product");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        return out.fill(T::default());
    }
    assert!(reach(m, k, a_strides) < a.len(), "the left operand is too short");
    assert!(reach(k, n, b_strides) < b.len(), "the right operand is too short");
    out.par_chunks_mut(n).enumerate().for_each(|(row, out)| {
        for (column, out) in out.iter_mut().enumerate() {
            let mut sum = T::default();
            for i in 0..k {
                sum += a[row * a_strides[0] + i * a_strides[1]] * b[i * b_strides[0] + column * b_strides[1]];
            }
            *out = sum;
        }
    });
}
