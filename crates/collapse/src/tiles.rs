//! Square tiles over pairs of rows, mapped in parallel and visited in a fixed order.

use std::ops::Range;

use rayon::prelude::*;

use crate::products::Multiply;

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

/// Inner products of two sets of rows, tile by tile: a function of the entries, summed.
pub(crate) struct Products<'a> {
    pub(crate) left: &'a [f64],
    pub(crate) right: &'a [f64],
    pub(crate) width: usize,
}

impl Products<'_> {
    /// Σ over all rows i and columns j of `term(i, j, left_i · right_j)`.
    pub(crate) fn sum(&self, term: impl Fn(usize, usize, f64) -> f64 + Sync) -> f64 {
        let mut total = 0.0;
        let map = |rows: Range<usize>, columns: Range<usize>| -> f64 {
            self.entries(rows, columns).into_iter().map(|(row, column, value)| term(row, column, value)).sum()
        };
        visit_where(self.left.len() / self.width, |_, _| true, map, |part| total += part);
        total
    }

    /// (row, column, inner product) of a tile.
    pub(crate) fn entries(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<(usize, usize, f64)> {
        let block = |from: &'_ [f64], range: &Range<usize>| -> Vec<f64> {
            from[range.start * self.width..range.end * self.width].to_vec()
        };
        let (left, right) = (block(self.left, &rows), block(self.right, &columns));
        let mut values = vec![0.0; rows.len() * columns.len()];
        f64::add_row_products(&mut values, &left, &right, self.width);
        let places = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
        places.zip(values).map(|((row, column), value)| (row, column, value)).collect()
    }
}
