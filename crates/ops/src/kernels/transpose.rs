//! The transposition between NCHW and NHWC.

use std::mem::MaybeUninit;

use super::shared::{Shared, for_each_task};
use super::{Element, uninitialised};

/// Rows and columns of a block: the cache lines of a block fit the first-level cache.
const BLOCK: usize = 32;
/// Multiplications that take as long as moving one element.
const MOVING: usize = 4;

/// The `[batch, rows, columns]` elements of `x` as `[batch, columns, rows]`.
///
/// # Panics
/// If `x` does not have this length.
pub(crate) fn transposed<T: Element>(x: &[T], batch: usize, rows: usize, columns: usize) -> Vec<T> {
    assert_eq!(x.len(), batch * rows * columns, "elements of {batch} matrices of {rows} by {columns}");
    if rows == 1 || columns == 1 {
        return x.to_vec();
    }
    let strips = columns.div_ceil(BLOCK);
    let write = |y: &mut [MaybeUninit<T>]| {
        let y = Shared::new(y.as_mut_ptr().cast::<T>());
        for_each_task(batch * strips, MOVING * x.len(), |task| {
            let (image, first) = (task / strips, task % strips * BLOCK);
            let x = &x[image * rows * columns..][..rows * columns];
            let last = columns.min(first + BLOCK);
            let start = (image * columns + first) * rows;
            let to = y.get().wrapping_add(start).cast::<MaybeUninit<T>>();
            // SAFETY: the strip lies within the matrices, and no other task writes its columns.
            let to = unsafe { std::slice::from_raw_parts_mut(to, (last - first) * rows) };
            for top in (0..rows).step_by(BLOCK) {
                let bottom = rows.min(top + BLOCK);
                for (column, to) in (first..last).zip(to.chunks_exact_mut(rows)) {
                    let from = x[top * columns + column..].iter().step_by(columns);
                    to[top..bottom].iter_mut().zip(from).for_each(|(to, from)| {
                        to.write(*from);
                    });
                }
            }
        });
    };
    // SAFETY: the strips cover every column of every matrix, and each is written for all rows.
    unsafe { uninitialised::written(x.len(), write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_at_its_transposed_index() {
        for (batch, rows, columns) in [(1, 1, 5), (2, 3, 4), (3, 33, 70), (2, 64, 32), (1, 100, 1), (4, 31, 257)] {
            let x: Vec<f64> = (0..batch * rows * columns).map(|index| index as f64).collect();
            let y = transposed(&x, batch, rows, columns);
            for (index, value) in y.iter().enumerate() {
                let (image, column, row) = (index / (rows * columns), index / rows % columns, index % rows);
                assert_eq!(*value, ((image * rows + row) * columns + column) as f64);
            }
        }
        assert!(transposed::<f32>(&[], 0, 3, 4).is_empty());
    }
}
