//! Sums of products of tile rows: the kernel of scatter matrices, distances and projections.
//!
//! Double-precision tiles are multiplied and summed in f64. Single-precision tiles are multiplied in f32 over
//! stretches of at most [`STRETCH`] terms, and the stretches are summed in f64: the error is that of a few
//! hundred roundings in f32 for any number of samples.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::features::{Element, sealed::Sealed};
use crate::kernel::add_widened;

/// Terms that are summed in f32 before the sum is widened.
const STRETCH: usize = 512;

impl Sealed for f64 {
    const SQUARES_FIT: bool = false;

    fn add_product(target: MatMut<'_, f64>, left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
        matmul(target, Accum::Add, left, right, 1.0, Par::Seq);
    }

    fn holds_products(_: f64, _: usize) -> bool {
        true
    }
}

impl Sealed for f32 {
    const SQUARES_FIT: bool = true;

    fn add_product(mut target: MatMut<'_, f64>, left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
        // Row-major like the target, so that the sum below reads both in memory order.
        let mut stretch = Mat::<f32>::zeros(right.ncols(), left.nrows());
        for start in (0..left.ncols()).step_by(STRETCH) {
            let length = STRETCH.min(left.ncols() - start);
            matmul(
                stretch.as_mut().transpose_mut(),
                Accum::Replace,
                left.subcols(start, length),
                right.subrows(start, length),
                1.0,
                Par::Seq,
            );
            for row in 0..left.nrows() {
                let from = stretch.col(row).try_as_col_major().map(|column| column.as_slice());
                let into = target.as_mut().row_mut(row).transpose_mut();
                match (from, into.try_as_col_major_mut()) {
                    (Some(from), Some(into)) => add_widened(into.as_slice_mut(), from),
                    _ => (0..right.ncols()).for_each(|column| {
                        target[(row, column)] += f64::from(stretch[(column, row)]);
                    }),
                }
            }
        }
    }

    fn holds_products(squares: f64, numbers: usize) -> bool {
        // No partial sum of products exceeds the sum of all squares. Below the lower limit f32 products would underflow.
        squares == 0.0 || (squares < f64::from(f32::MAX) && squares / numbers as f64 > 1e-28)
    }
}

/// Rows of the blocks into which a strip is cut where it crosses the diagonal.
const DIAGONAL: usize = 64;

/// Rows of one strip of a scatter matrix: small enough to balance threads, large enough for the product kernel.
fn strip_rows(width: usize) -> usize {
    if width <= 1024 { 128 } else { 256 }
}

/// Adds `tile`ᵀ·`tile` to the lower triangle of `products` (row-major, `width`²); the upper triangle may be overwritten.
///
/// Strips are independent and each is summed in order of the rows, so the bits do not depend on the threads.
pub(crate) fn add_scatter<T: Element>(products: &mut [f64], width: usize, tile: &[T]) {
    let rows = tile.len() / width;
    if rows == 0 {
        return;
    }
    let tile = MatRef::from_row_major_slice(tile, rows, width);
    let strip = strip_rows(width);
    // The last strips are the longest. They are started first, so that the threads finish together.
    products.par_chunks_mut(strip * width).enumerate().rev().with_max_len(1).for_each(|(index, chunk)| {
        let (first, height) = (index * strip, chunk.len() / width);
        let mut target = MatMut::from_row_major_slice_mut(chunk, height, width);
        let left = tile.subcols(first, height).transpose();
        if first > 0 {
            T::add_product(target.as_mut().subcols_mut(0, first), left, tile.subcols(0, first));
        }
        // The upper half of every diagonal block is computed but not used, so these blocks are smaller.
        for start in (0..height).step_by(DIAGONAL) {
            let rows = DIAGONAL.min(height - start);
            let block = target.as_mut().subrows_mut(start, rows).subcols_mut(first, start + rows);
            T::add_product(block, left.subrows(start, rows), tile.subcols(first, start + rows));
        }
    });
}
