//! Products of tiles by faer's blocked matrix product, on the calling thread.

use std::cell::Cell;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Multiply;
use crate::kernel::add_widened;

/// Terms that are summed in f32 before the sum is widened.
const STRETCH: usize = 512;
thread_local! {
    /// The sums of one stretch. The memory is kept between products, because clearing new pages would take as long as a product.
    static SUMS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Rows of the blocks into which a strip is cut where it crosses the diagonal.
const DIAGONAL: usize = 64;

impl<T: Product> Multiply for T {
    fn add_row_products(target: &mut [f64], left: &[T], right: &[T], width: usize) {
        let (rows, columns) = (left.len() / width, right.len() / width);
        T::add_product(
            MatMut::from_row_major_slice_mut(target, rows, columns),
            MatRef::from_row_major_slice(left, rows, width),
            MatRef::from_row_major_slice(right, columns, width).transpose(),
        );
    }

    fn add_scatter_strip(chunk: &mut [f64], first: usize, tile: &[T], width: usize) {
        let tile = MatRef::from_row_major_slice(tile, tile.len() / width, width);
        let height = chunk.len() / width;
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
    }
}

/// One matrix product in the precision of the type.
pub trait Product: Sized {
    /// `target` += `left` · `right`, summed in f64 over stretches of the inner dimension.
    fn add_product(target: MatMut<'_, f64>, left: MatRef<'_, Self>, right: MatRef<'_, Self>);
}

impl Product for f64 {
    fn add_product(target: MatMut<'_, f64>, left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
        matmul(target, Accum::Add, left, right, 1.0, Par::Seq);
    }
}

impl Product for f32 {
    fn add_product(mut target: MatMut<'_, f64>, left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
        // Row-major like the target, so that the sum below reads both in memory order.
        let mut sums = SUMS.take();
        let size = right.ncols() * left.nrows();
        if sums.len() < size {
            sums.resize(size, 0.0);
        }
        let mut stretch = MatMut::from_column_major_slice_mut(&mut sums[..size], right.ncols(), left.nrows());
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
                let from = stretch.as_ref().col(row).try_as_col_major().map(|column| column.as_slice());
                let into = target.as_mut().row_mut(row).transpose_mut();
                match (from, into.try_as_col_major_mut()) {
                    (Some(from), Some(into)) => add_widened(into.as_slice_mut(), from),
                    _ => (0..right.ncols()).for_each(|column| {
                        target[(row, column)] += f64::from(stretch[(column, row)]);
                    }),
                }
            }
        }
        SUMS.set(sums);
    }
}
