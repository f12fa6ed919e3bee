//! The transposition between NCHW and NHWC.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::instruction_set::{InstructionSet, Job};
use super::shared::{Shared, for_each_task};
use super::simd::Vector;
use super::{Element, uninitialised};

/// Columns of a task.
const STRIP: usize = 32;
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
    if columns == 3 {
        return three_columns(x, batch, rows);
    }
    let (strips, set) = (columns.div_ceil(STRIP), InstructionSet::with_lanes::<T>(rows.min(columns)));
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
            transpose_strip(set, x, to, first..last, [rows, columns]);
        });
    };
    // SAFETY: the strips cover every column of every matrix, and each is written for all rows.
    unsafe { uninitialised::written(x.len(), write) }
}

/// Columns `strip` of the matrix `x` as rows of `to`: by tiles of vectors, then the rows and columns that fill no tile.
fn transpose_strip<T: Element>(
    set: InstructionSet,
    x: &[T],
    to: &mut [MaybeUninit<T>],
    strip: Range<usize>,
    [rows, columns]: [usize; 2],
) {
    assert!(x.len() == rows * columns && strip.end <= columns && to.len() == strip.len() * rows);
    let (first, side) = (strip.start, set.lanes::<T>());
    let (tiled_rows, tiled_columns) = (rows / side * side, first + strip.len() / side * side);
    let tiles = Tiles { x: x.as_ptr(), to: to.as_mut_ptr().cast(), first, rows, columns, tiled_rows, tiled_columns };
    // SAFETY: the tiles lie within the matrix and within `to`, whose lengths were checked.
    unsafe { set.run(&tiles) }
    for (column, to) in strip.zip(to.chunks_exact_mut(rows)) {
        let done = if column < tiled_columns { tiled_rows } else { 0 };
        let from = x[column..].iter().step_by(columns).skip(done);
        to[done..].iter_mut().zip(from).for_each(|(to, from)| {
            to.write(*from);
        });
    }
}

/// The tiles of a strip of columns: squares with one vector on a side, in the rows and columns that whole tiles cover.
struct Tiles<T> {
    x: *const T,
    to: *mut T,
    /// The first column of the strip.
    first: usize,
    rows: usize,
    columns: usize,
    tiled_rows: usize,
    tiled_columns: usize,
}

impl<T: Element> Job<T> for Tiles<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let one = T::from_f64(1.0);
        for left in (self.first..self.tiled_columns).step_by(V::LANES) {
            for top in (0..self.tiled_rows).step_by(V::LANES) {
                // SAFETY: the caller vouches for the tiles of the strip.
                unsafe {
                    let from = self.x.add(top * self.columns + left);
                    let to = self.to.add((left - self.first) * self.rows + top);
                    V::transpose(from, self.columns, one, to, self.rows);
                }
            }
        }
    }
}

/// [`transposed`] for three rows, as those of a colour image: all rows are read in order.
fn three_rows<T: Element>(x: &[T], batch: usize, columns: usize) -> Vec<T> {
    each_image(x, batch, |x, y| {
        let ((first, rest), y) = (x.split_at(columns), y.as_chunks_mut::<3>().0);
        let (second, third) = rest.split_at(columns);
        for (to, ((first, second), third)) in y.iter_mut().zip(first.iter().zip(second).zip(third)) {
            *to = [first, second, third].map(|value| MaybeUninit::new(*value));
        }
    })
}

/// [`transposed`] for three columns: all rows are written in order.
fn three_columns<T: Element>(x: &[T], batch: usize, rows: usize) -> Vec<T> {
    each_image(x, batch, |x, y| {
        let (x, (first, rest)) = (x.as_chunks::<3>().0, y.split_at_mut(rows));
        let (second, third) = rest.split_at_mut(rows);
        for (values, ((first, second), third)) in x.iter().zip(first.iter_mut().zip(second).zip(third)) {
            [first, second, third].into_iter().zip(values).for_each(|(to, value)| {
                to.write(*value);
            });
        }
    })
}

/// As many numbers as in `x`, written image by image from those of the same image. `write` writes all of an image's.
fn each_image<T: Element>(x: &[T], batch: usize, write: impl Fn(&[T], &mut [MaybeUninit<T>]) + Send + Sync) -> Vec<T> {
    let length = x.len() / batch.max(1);
    let write = |y: &mut [MaybeUninit<T>]| {
        uninitialised::for_each_block(y, length, |image, y| write(&x[image * length..][..length], y));
    };
    // SAFETY: every image is written.
    unsafe { uninitialised::written(x.len(), write) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_at_its_transposed_index() {
        for (batch, rows, columns) in [
            (1, 1, 5),
            (2, 3, 4),
            (2, 50, 3),
            (3, 33, 70),
            (2, 64, 32),
            (1, 100, 1),
            (4, 31, 257),
            (2, 17, 41),
            (2, 8, 19),
        ] {
            agree::<f32>(batch, rows, columns);
            agree::<f64>(batch, rows, columns);
        }
        assert!(transposed::<f32>(&[], 0, 3, 4).is_empty());
    }

    /// Element (row, column) of each matrix is element (column, row) of its transpose.
    fn agree<T: Element>(batch: usize, rows: usize, columns: usize) {
        let x: Vec<T> = (0..batch * rows * columns).map(|index| T::from_f64(index as f64)).collect();
        for (index, value) in transposed(&x, batch, rows, columns).into_iter().enumerate() {
            let (image, column, row) = (index / (rows * columns), index / rows % columns, index % rows);
            assert_eq!(value.to_f64(), ((image * rows + row) * columns + column) as f64);
        }
    }

    #[test]
    fn every_instruction_set_transposes_strips_of_any_size() {
        for set in InstructionSet::available() {
            for [rows, columns] in [[16, 32], [37, 29], [7, 40], [64, 9]] {
                let x: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
                let strip = 2..columns - 1;
                let mut to = vec![-1f32; strip.len() * rows];
                transpose_strip(set, &x, uninitialised::writable(&mut to), strip.clone(), [rows, columns]);
                let expected = strip.flat_map(|column| (0..rows).map(move |row| (row * columns + column) as f32));
                assert!(to.into_iter().eq(expected), "{set:?} {rows} {columns}");
            }
        }
    }
}
