//! Moments of one batch: class means and squares around them, then the products of deviations.
//!
//! Rows are summed a cacheful at a time, each in two passes: its mean, then squares around it. No precision is lost by cancellation
//! when the features are far from zero. The sums are joined by the exact update of Chan, Golub and LeVeque (1983), as batches are.

use std::ops::Range;

use rayon::prelude::*;

use crate::class_order::ClassOrder;
use crate::convention::Precision;
use crate::features::{Element, Labelled};
use crate::kernel::{add_rows, deviate, squared_distance};
use crate::products::add_scatter;
use crate::{Error, Result};

/// Rows that one task sums. Fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1024;
/// Bytes of the rows that are read twice in succession: a part of a core's own cache.
const NEAR: usize = 1 << 17;
/// Rows of a tile that one task writes.
const TOGETHER: usize = 64;
/// Numbers in a tile of deviations: 4 MiB in f32, enough rows to keep the product kernel busy.
const TILE: usize = 1 << 20;

/// Counts, means and sums of squared deviations of the classes of one batch.
pub(crate) struct BatchMoments {
    pub(crate) order: ClassOrder,
    /// One mean of `width` numbers for each class that occurs.
    pub(crate) means: Vec<f64>,
    /// Σ‖x − μ‖² for each class that occurs.
    pub(crate) squares: Vec<f64>,
}

impl BatchMoments {
    /// Computes the moments and, with `products`, adds Σ (x − μ)(x − μ)ᵀ of all classes to its lower triangle.
    ///
    /// Nothing is added when an error is returned.
    pub(crate) fn new<E: Element>(
        operation: &'static str,
        data: &Labelled<'_, E>,
        order: ClassOrder,
        products: Option<(&mut [f64], Precision)>,
    ) -> Result<Self> {
        let (means, squares) = class_sums(operation, data, &order)?;
        if let Some((products, precision)) = products {
            // The pooled products alone are kept, so it is their total that must neither overflow nor vanish.
            let total = squares.iter().sum();
            if precision == Precision::OfFeatures && E::holds_products(total, order.rows.len() * data.width) {
                add_deviations::<E, E>(data, &order, &means, products);
            } else {
                add_deviations::<E, f64>(data, &order, &means, products);
            }
        }
        Ok(Self { order, means, squares })
    }
}

/// Sum and Σ‖x − mean‖² of some rows.
struct Sums {
    count: usize,
    sum: Vec<f64>,
    squares: f64,
}

impl Sums {
    /// Sums of rows that are few enough to be read twice from a cache: for their mean, and for the squares around it.
    fn of<E: Element>(data: &Labelled<'_, E>, rows: &[u32]) -> Self {
        let rows = rows.iter().map(|&row| data.row(row as usize));
        let mut sum = vec![0.0; data.width];
        add_rows(&mut sum, rows.clone());
        let count = rows.len();
        let mean: Vec<f64> = sum.iter().map(|total| total / count as f64).collect();
        Self { count, squares: rows.map(|row| squared_distance(row, &mean)).sum(), sum }
    }

    /// Joins sums of `count` other rows (Chan, Golub and LeVeque 1983, eq. 2.1).
    fn join(&mut self, count: usize, sum: &[f64], squares: f64) {
        let (here, there) = (self.count as f64, count as f64);
        let apart = self.sum.iter().zip(sum).map(|(a, b)| (a / here - b / there).powi(2)).sum::<f64>();
        self.squares += squares + here * there / (here + there) * apart;
        self.sum.iter_mut().zip(sum).for_each(|(total, part)| *total += part);
        self.count += count;
    }
}

/// Mean, row-major, and Σ‖x − μ‖² of each class that occurs. The rows are read from memory once.
fn class_sums<E: Element>(
    operation: &'static str,
    data: &Labelled<'_, E>,
    order: &ClassOrder,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let width = data.width;
    let near = (NEAR / (width * size_of::<E>())).clamp(4, PIECE);
    let of_piece = |(_, stretch): &(usize, Range<usize>)| {
        let mut parts = order.rows[stretch.clone()].chunks(near).map(|rows| Sums::of(data, rows));
        let first = parts.next();
        first.map(|first| {
            parts.fold(first, |mut sums, part| {
                sums.join(part.count, &part.sum, part.squares);
                sums
            })
        })
    };
    // Sums of the rows so far; means at the end.
    let mut sums = vec![0.0; order.classes.len() * width];
    let (mut counts, mut squares) = (vec![0; order.classes.len()], vec![0.0; order.classes.len()]);
    // Each partial sum has p numbers, so only 512 are held at a time.
    for group in order.pieces(PIECE).chunks(512) {
        let parts: Vec<Option<Sums>> = group.par_iter().map(of_piece).collect();
        for ((slot, _), part) in group.iter().zip(parts) {
            let Some(mut part) = part else { continue };
            let total = &mut sums[slot * width..(slot + 1) * width];
            if counts[*slot] > 0 {
                part.join(counts[*slot], total, squares[*slot]);
            }
            total.copy_from_slice(&part.sum);
            (counts[*slot], squares[*slot]) = (part.count, part.squares);
        }
    }
    for (slot, (class, stretch)) in order.classes.iter().enumerate() {
        let mean = &mut sums[slot * width..(slot + 1) * width];
        mean.iter_mut().for_each(|total| *total /= stretch.len() as f64);
        if !squares[slot].is_finite() || !mean.iter().all(|mean| mean.is_finite()) {
            return Err(data.non_finite(operation).unwrap_or(Error::Overflow { operation, class: *class }));
        }
    }
    Ok((sums, squares))
}

/// Adds the products of all deviations in the precision of T, tile by tile.
fn add_deviations<E: Element, T: Element>(
    data: &Labelled<'_, E>,
    order: &ClassOrder,
    means: &[f64],
    products: &mut [f64],
) {
    let (width, slots) = (data.width, order.slots());
    let mean = |slot: u32| &means[slot as usize * width..][..width];
    let mut tile = Vec::new();
    let rows = (TILE / width).clamp(256, 4096);
    for (rows, slots) in order.rows.chunks(rows).zip(slots.chunks(rows)) {
        tile.resize(rows.len() * width, T::narrow(0.0));
        let parts =
            tile.par_chunks_mut(TOGETHER * width).zip(rows.par_chunks(TOGETHER).zip(slots.par_chunks(TOGETHER)));
        parts.for_each(|(tile, (rows, slots))| deviations(data, rows, slots, mean, tile));
        add_scatter(products, width, &tile);
    }
}

/// Writes rows, in the order of their classes, less the means of their classes to `tile`.
///
/// Four rows of one class go by together, because memory delivers several streams of numbers faster than one.
pub(crate) fn deviations<'a, E: Element, T: Element>(
    data: &Labelled<'_, E>,
    rows: &[u32],
    slots: &[u32],
    mean: impl Fn(u32) -> &'a [f64],
    tile: &mut [T],
) {
    let row = |row: &u32| data.row(*row as usize);
    for (tile, (rows, slots)) in tile.chunks_mut(4 * data.width).zip(rows.chunks(4).zip(slots.chunks(4))) {
        match (rows, slots) {
            ([a, b, c, d], [first, .., last]) if first == last => {
                deviate([row(a), row(b), row(c), row(d)], mean(*first), tile);
            }
            _ => {
                let each = tile.chunks_exact_mut(data.width).zip(rows.iter().zip(slots));
                each.for_each(|(tile, (one, &slot))| deviate([row(one)], mean(slot), tile));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of many pieces, far from zero beside their spread, against two passes over all rows of a class.
    #[test]
    fn sums_of_pieces_join_to_those_of_all_rows() {
        let (rows, width) = (3 * PIECE + 77, 37);
        let value = |at: usize| 1e6 + ((at * 7919 + 13) % 1009) as f64 / 100.0 + (at / 50_000) as f64;
        let features: Vec<f64> = (0..rows * width).map(value).collect();
        let labels: Vec<u32> = (0..rows).map(|row| u32::from(row % 5 == 0)).collect();
        let data = Labelled::new("test", &features, &labels, width, 2).unwrap();
        let (means, squares) = class_sums("test", &data, &ClassOrder::new(&labels)).unwrap();
        for class in 0..2 {
            let of_class = || (0..rows).filter(|&row| labels[row] as usize == class).map(|row| data.row(row));
            let count = of_class().count() as f64;
            let mean: Vec<f64> = (0..width).map(|at| of_class().map(|row| row[at]).sum::<f64>() / count).collect();
            let square: f64 = of_class().map(|row| squared_distance(row, &mean)).sum();
            assert!((squares[class] / square - 1.0).abs() < 1e-10, "{} {square}", squares[class]);
            for (found, expected) in means[class * width..].iter().zip(&mean) {
                assert!((found / expected - 1.0).abs() < 1e-14, "{found} {expected}");
            }
        }
    }
}
