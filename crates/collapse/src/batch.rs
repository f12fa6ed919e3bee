//! Moments of one batch, in two passes over its rows: class means first, then deviations from them.
//!
//! The batch is in memory, so a second pass is cheap, and it loses no precision by cancellation when the features are
//! far from zero. Batches are then joined by the exact update of Chan, Golub and LeVeque (1983).

use std::ops::Range;

use rayon::prelude::*;

use crate::class_order::ClassOrder;
use crate::convention::Precision;
use crate::features::{Element, Labelled};
use crate::kernel::{add_rows, deviate_and_square, squared_distance};
use crate::products::add_scatter;
use crate::{Error, Result};

/// Rows that one task sums. Fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1024;
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
        let means = class_means(operation, data, &order)?;
        // The pass for the products sums the squares too. Where squares may overflow, they are summed first.
        let squares = match products {
            Some((products, precision)) if E::SQUARES_FIT => add_deviations(data, &order, &means, precision, products),
            products => {
                let squares = class_squares(data, &order, &means);
                if let Some(slot) = squares.iter().position(|square| !square.is_finite()) {
                    return Err(Error::Overflow { operation, class: order.classes[slot].0 });
                }
                if let Some((products, precision)) = products {
                    add_deviations(data, &order, &means, precision, products);
                }
                squares
            }
        };
        Ok(Self { order, means, squares })
    }
}

fn class_means<E: Element>(operation: &'static str, data: &Labelled<'_, E>, order: &ClassOrder) -> Result<Vec<f64>> {
    let width = data.width;
    let pieces = order.pieces(PIECE);
    let mut means = vec![0.0; order.classes.len() * width];
    // Each partial sum has p numbers, so only 512 are held at a time.
    for group in pieces.chunks(512) {
        let sums: Vec<Vec<f64>> = group
            .par_iter()
            .map(|(_, stretch)| {
                let mut sum = vec![0.0; width];
                add_rows(&mut sum, order.rows[stretch.clone()].iter().map(|&row| data.row(row as usize)));
                sum
            })
            .collect();
        for ((slot, _), sum) in group.iter().zip(&sums) {
            means[slot * width..(slot + 1) * width].iter_mut().zip(sum).for_each(|(total, part)| *total += part);
        }
    }
    for (slot, (class, stretch)) in order.classes.iter().enumerate() {
        let mean = &mut means[slot * width..(slot + 1) * width];
        mean.iter_mut().for_each(|total| *total /= stretch.len() as f64);
        if !mean.iter().all(|total| total.is_finite()) {
            return Err(data.non_finite(operation).unwrap_or(Error::Overflow { operation, class: *class }));
        }
    }
    Ok(means)
}

fn class_squares<E: Element>(data: &Labelled<'_, E>, order: &ClassOrder, means: &[f64]) -> Vec<f64> {
    let width = data.width;
    let pieces = order.pieces(PIECE);
    let sums: Vec<f64> = pieces
        .par_iter()
        .map(|(slot, stretch)| {
            let mean = &means[slot * width..(slot + 1) * width];
            order.rows[stretch.clone()].iter().map(|&row| squared_distance(data.row(row as usize), mean)).sum()
        })
        .collect();
    let mut squares = vec![0.0; order.classes.len()];
    pieces.iter().zip(sums).for_each(|((slot, _), sum)| squares[*slot] += sum);
    squares
}

/// Adds the products of all deviations, tile by tile; returns Σ‖x − μ‖² of each class that occurs.
fn add_deviations<E: Element>(
    data: &Labelled<'_, E>,
    order: &ClassOrder,
    means: &[f64],
    precision: Precision,
    products: &mut [f64],
) -> Vec<f64> {
    let slots = order.slots();
    let rows = (TILE / data.width).clamp(256, 4096);
    let mut squares = vec![0.0; order.classes.len()];
    let (mut narrow, mut wide) = (Vec::<E>::new(), Vec::<f64>::new());
    for start in (0..order.rows.len()).step_by(rows) {
        let stretch = start..order.rows.len().min(start + rows);
        let of_rows = match precision {
            Precision::OfFeatures => deviations(data, order, (&slots, means), stretch.clone(), &mut narrow),
            Precision::Double => deviations(data, order, (&slots, means), stretch.clone(), &mut wide),
        };
        of_rows.iter().zip(&slots[stretch.clone()]).for_each(|(square, slot)| squares[*slot as usize] += square);
        match precision {
            Precision::Double => add_scatter(products, data.width, &wide),
            Precision::OfFeatures if E::holds_products(of_rows.iter().sum(), of_rows.len() * data.width) => {
                add_scatter(products, data.width, &narrow);
            }
            Precision::OfFeatures => {
                deviations(data, order, (&slots, means), stretch, &mut wide);
                add_scatter(products, data.width, &wide);
            }
        }
    }
    squares
}

/// Writes the deviations of a stretch of the class order to `tile`; returns their squared lengths.
fn deviations<E: Element, T: Element>(
    data: &Labelled<'_, E>,
    order: &ClassOrder,
    (slots, means): (&[u32], &[f64]),
    stretch: Range<usize>,
    tile: &mut Vec<T>,
) -> Vec<f64> {
    let width = data.width;
    tile.resize(stretch.len() * width, T::narrow(0.0));
    let rows = tile.par_chunks_mut(width).zip(stretch).with_min_len(64);
    rows.map(|(deviation, at)| {
        let slot = slots[at] as usize;
        let mean = &means[slot * width..(slot + 1) * width];
        deviate_and_square(data.row(order.rows[at] as usize), mean, deviation)
    })
    .collect()
}
