//! Square tiles over pairs of rows, mapped in parallel and visited in a fixed order.

use std::ops::Range;

use rayon::prelude::*;

use crate::products::add_row_products;

/// Rows along one side of a tile.
const SIDE: usize = 128;
/// Tiles computed before their results are visited.
const GROUP: usize = 64;

/// Maps the tiles (rows, columns) that cover the upper triangle of a `count`×`count` matrix.
pub(crate) fn visit_upper<R: Send>(
    count: usize,
    map: impl Fn(Range<usize>, Range<usize>) -> R + Sync,
    visit: impl FnMut(R),
) {
    visit_where(count, |row, column| column >= row, map, visit);
}

fn visit_where<R: Send>(
    count: usize,
    wanted: impl Fn(usize, usize) -> bool,
    map: impl Fn(Range<usize>, Range<usize>) -> R + Sync,
    mut visit: impl FnMut(R),
) {
    let starts = || (0..count).step_by(SIDE);
    let all = starts().flat_map(|row| starts().map(move |column| (row, column)));
    let tiles: Vec<(usize, usize)> = all.filter(|&(row, column)| wanted(row, column)).collect();
    let stretch = |start: usize| start..count.min(start + SIDE);
    for group in tiles.chunks(GROUP) {
        let results: Vec<R> = group.par_iter().map(|&(row, column)| map(stretch(row), stretch(column))).collect();
        results.into_iter().for_each(&mut visit);
    }
}

/// Numbers of a matrix of products that is kept between two sums over it; those of a larger one are computed again.
const KEPT: usize = 1 << 21;

/// Inner products of two sets of rows, tile by tile.
pub(crate) struct Products<'a> {
    left: &'a [f64],
    right: &'a [f64],
    width: usize,
    /// The products of every tile in the order of the visits, where they are few enough.
    kept: Vec<Block>,
}

/// The products of a stretch of rows with a stretch of columns, row-major.
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    values: Vec<f64>,
}

impl Block {
    /// (row, column, inner product) of all entries, row by row.
    fn entries(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let lines = self.rows.clone().zip(self.values.chunks_exact(self.columns.len().max(1)));
        lines.flat_map(|(row, line)| self.columns.clone().zip(line).map(move |(column, &value)| (row, column, value)))
    }

    fn sum(&self, term: &impl Fn(usize, usize, f64) -> f64) -> f64 {
        self.entries().map(|(row, column, value)| term(row, column, value)).sum()
    }
}

impl<'a> Products<'a> {
    /// Products that are computed tile by tile, each time.
    pub(crate) fn new(left: &'a [f64], right: &'a [f64], width: usize) -> Self {
        Self { left, right, width, kept: Vec::new() }
    }

    /// The same, computed once where they are few enough.
    pub(crate) fn kept(left: &'a [f64], right: &'a [f64], width: usize) -> Self {
        let mut products = Self::new(left, right, width);
        let (rows, columns) = (left.len() / width, right.len() / width);
        if rows.saturating_mul(columns) <= KEPT {
            let mut kept = Vec::new();
            visit_where(rows, |_, _| true, |rows, columns| products.block(rows, columns), |block| kept.push(block));
            products.kept = kept;
        }
        products
    }

    /// Σ over all rows i and columns j of `term(i, j, left_i · right_j)`.
    pub(crate) fn sum(&self, term: impl Fn(usize, usize, f64) -> f64 + Sync) -> f64 {
        let mut total = 0.0;
        if self.kept.is_empty() {
            let map = |rows: Range<usize>, columns: Range<usize>| self.block(rows, columns).sum(&term);
            visit_where(self.left.len() / self.width, |_, _| true, map, |part| total += part);
        } else {
            let parts: Vec<f64> = self.kept.par_iter().map(|block| block.sum(&term)).collect();
            parts.into_iter().for_each(|part| total += part);
        }
        total
    }

    /// (row, column, inner product) of a tile.
    pub(crate) fn entries(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<(usize, usize, f64)> {
        self.block(rows, columns).entries().collect()
    }

    fn block(&self, rows: Range<usize>, columns: Range<usize>) -> Block {
        let left = &self.left[rows.start * self.width..rows.end * self.width];
        let right = &self.right[columns.start * self.width..columns.end * self.width];
        let mut values = vec![0.0; rows.len() * columns.len()];
        add_row_products(&mut values, left, right, self.width);
        Block { rows, columns, values }
    }
}
