//! Products of tiles by inner products of rows in f64, without a linear algebra library.

use reductions::{Widen, row_sums};

use super::Multiply;

impl<T: Widen> Multiply for T {
    fn add_row_products(target: &mut [f64], left: &[T], right: &[T], width: usize) {
        let columns = right.len() / width;
        let mut sums = vec![0.0; columns];
        for (line, row) in target.chunks_exact_mut(columns.max(1)).zip(left.chunks_exact(width)) {
            add_row(line, row, right, &mut sums);
        }
    }

    fn add_scatter_strip(chunk: &mut [f64], first: usize, tile: &[T], width: usize) {
        let (rows, last) = (tile.len() / width, first + chunk.len() / width);
        // The columns of the tile as rows; the strip needs none beyond its diagonal.
        let columns: Vec<T> = (0..last).flat_map(|column| tile.iter().skip(column).step_by(width).copied()).collect();
        let mut sums = vec![0.0; last];
        for (line, at) in chunk.chunks_exact_mut(width).zip(first..) {
            let row = &columns[at * rows..][..rows];
            add_row(&mut line[..=at], row, &columns[..(at + 1) * rows], &mut sums[..=at]);
        }
    }
}

/// Adds the inner products of `row` with each of `rows` to `line`.
fn add_row<T: Widen>(line: &mut [f64], row: &[T], rows: &[T], sums: &mut [f64]) {
    #[inline(always)]
    fn product(a: f64, b: f64) -> f64 {
        a * b
    }
    row_sums(row, rows, sums, product);
    line.iter_mut().zip(sums).for_each(|(entry, sum)| *entry += *sum);
}
