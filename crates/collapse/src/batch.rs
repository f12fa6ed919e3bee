//! Moments of one batch, in two passes over its rows: class means first, then deviations from them.
//!
//! Two passes over a batch that is in memory anyway lose nothing to cancellation, however far the features lie
//! from zero. Batches are then joined by the exact update of Chan, Golub and LeVeque (1983).

use rayon::prelude::*;

use crate::class_order::ClassOrder;
use crate::convention::Precision;
use crate::features::{Element, Labelled};
use crate::kernel::{add_rows, deviate, squared_distance};
use crate::products::add_scatter;
use crate::{Error, Result};

/// Rows whose sum is one task. Fixed, so that sums do not depend on the number of threads.
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
    /// Nothing is added when an error comes back.
    pub(crate) fn new<E: Element>(
        operation: &'static str,
        data: &Labelled<'_, E>,
        class_count: usize,
        products: Option<(&mut [f64], Precision)>,
    ) -> Result<Self> {
        let order = ClassOrder::new(data.labels, class_count);
        let means = class_means(operation, data, &order)?;
        let squares = class_squares(data, &order, &means);
        if let Some(slot) = squares.iter().position(|square| !square.is_finite()) {
            return Err(Error::Overflow { operation, class: order.classes[slot].0 });
        }
        if let Some((products, precision)) = products {
            match precision {
                Precision::OfFeatures if E::holds_products(squares.iter().sum(), data.features.len()) => {
                    add_deviations::<E, E>(data, &order, &means, products);
                }
                _ => add_deviations::<E, f64>(data, &order, &means, products),
            }
        }
        Ok(Self { order, means, squares })
    }
}

fn class_means<E: Element>(operation: &'static str, data: &Labelled<'_, E>, order: &ClassOrder) -> Result<Vec<f64>> {
    let width = data.width;
    let pieces = order.pieces(PIECE);
    let mut means = vec![0.0; order.classes.len() * width];
    // A bounded number of partial sums at a time: they are as wide as the features.
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

fn add_deviations<E: Element, T: Element>(
    data: &Labelled<'_, E>,
    order: &ClassOrder,
    means: &[f64],
    products: &mut [f64],
) {
    let width = data.width;
    let slots = order.slots();
    let rows = (TILE / width).clamp(256, 4096);
    let mut tile = vec![T::narrow(0.0); rows.min(order.rows.len()) * width];
    for start in (0..order.rows.len()).step_by(rows) {
        let rows = rows.min(order.rows.len() - start);
        let tile = &mut tile[..rows * width];
        tile.par_chunks_mut(width).enumerate().with_min_len(64).for_each(|(offset, deviation)| {
            let at = start + offset;
            let slot = slots[at] as usize;
            deviate(data.row(order.rows[at] as usize), &means[slot * width..(slot + 1) * width], deviation);
        });
        add_scatter(products, width, tile);
    }
}
