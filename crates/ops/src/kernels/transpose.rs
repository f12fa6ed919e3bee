//! The transposition between NCHW and NHWC.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::shared::{Shared, for_each_task};
use super::{Element, uninitialised};

/// Columns of a task.
const STRIP: usize = 32;
/// Rows and columns that are transposed at a time: half a cache line of f32 in each row.
const TILE: usize = 8;
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
    if rows == 3 {
        return three_rows(x, batch, columns);
    }
    let strips = columns.div_ceil(STRIP);
    let write = |y: &mut [MaybeUninit<T>]| {
        let y = Shared::new(y.as_mut_ptr().cast::<T>());
        for_each_task(batch * strips, MOVING * x.len(), |task| {
            let (image, first) = (task / strips, task % strips * STRIP);
            let x = &x[image * rows * columns..][..rows * columns];
            let last = columns.min(first + STRIP);
            let start = (image * columns + first) * rows;
            let to = y.get().wrapping_add(start).cast::<MaybeUninit<T>>();
            // SAFETY: the strip lies within the matrices, and no other task writes its columns.
            let to = unsafe { std::slice::from_raw_parts_mut(to, (last - first) * rows) };
            transpose_strip(x, to, first..last, [rows, columns]);
        });
    };
    // SAFETY: the strips cover every column of every matrix, and each is written for all rows.
    unsafe { uninitialised::written(x.len(), write) }
}

/// Columns `strip` of the matrix `x` as rows of `to`: by tiles, then the rows and columns that fill no tile.
fn transpose_strip<T: Element>(x: &[T], to: &mut [MaybeUninit<T>], strip: Range<usize>, [rows, columns]: [usize; 2]) {
    let first = strip.start;
    let tiled_rows = rows / TILE * TILE;
    let tiled_columns = first + strip.len() / TILE * TILE;
    for left in (first..tiled_columns).step_by(TILE) {
        for top in (0..tiled_rows).step_by(TILE) {
            transpose_tile(&x[top * columns + left..], columns, &mut to[(left - first) * rows + top..], rows);
        }
    }
    for (column, to) in strip.zip(to.chunks_exact_mut(rows)) {
        let done = if column < tiled_columns { tiled_rows } else { 0 };
        let from = x[column..].iter().step_by(columns).skip(done);
        to[done..].iter_mut().zip(from).for_each(|(to, from)| {
            to.write(*from);
        });
    }
}

/// A tile of a matrix whose rows are `columns` apart, transposed into one whose rows are `rows` apart.
#[inline(always)]
fn transpose_tile<T: Element>(x: &[T], columns: usize, to: &mut [MaybeUninit<T>], rows: usize) {
    let tile: [[T; TILE]; TILE] =
        std::array::from_fn(|row| std::array::from_fn(|column| x[row * columns..][..TILE][column]));
    for column in 0..TILE {
        let line: [T; TILE] = std::array::from_fn(|row| tile[row][column]);
        to[column * rows..][..TILE].write_copy_of_slice(&line);
    }
}

/// [`transposed`] for three rows, as those of a colour image: all rows are read in order.
fn three_rows<T: Element>(x: &[T], batch: usize, columns: usize) -> Vec<T> {
    let write = |y: &mut [MaybeUninit<T>]| {
        let y = Shared::new(y.as_mut_ptr());
        for_each_task(batch, MOVING * x.len(), |image| {
            let length = 3 * columns;
            let (first, rest) = x[image * length..][..length].split_at(columns);
            let (second, third) = rest.split_at(columns);
            // SAFETY: the image lies within the batch, and no other task writes it.
            let to = unsafe { std::slice::from_raw_parts_mut(y.get().add(image * length), length) };
            for (to, ((first, second), third)) in to.chunks_exact_mut(3).zip(first.iter().zip(second).zip(third)) {
                to[0].write(*first);
                to[1].write(*second);
                to[2].write(*third);
            }
        });
    };
    // SAFETY: every image is written, for each column of its three rows.
    unsafe { uninitialised::written(x.len(), write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_at_its_transposed_index() {
        for (batch, rows, columns) in
            [(1, 1, 5), (2, 3, 4), (3, 33, 70), (2, 64, 32), (1, 100, 1), (4, 31, 257), (2, 17, 41)]
        {
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
