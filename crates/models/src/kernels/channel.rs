//! Reductions and products along the channels of NHWC data, seen as rows of `channels` values.
//!
//! Rows are reduced in blocks of a fixed size, within a block in the data's own precision and across blocks in f64 and
//! in order, so the result depends neither on the number of threads nor, beyond rounding, on the number of rows.

use rayon::prelude::*;

use super::Element;

/// Values that one task reduces or writes.
const BLOCK: usize = 1 << 13;

fn rows_per_block(channels: usize) -> usize {
    (BLOCK / channels.max(1)).clamp(1, 256)
}

/// Σ over rows of `term`, which adds one row's contribution to its `sums · channels` accumulators.
fn reduce<T: Element, F>(x: &[T], other: &[T], channels: usize, sums: usize, term: F) -> Vec<f64>
where
    F: Fn(&[T], &[T], &mut [T]) + Sync,
{
    let block = rows_per_block(channels) * channels;
    let partial: Vec<Vec<T>> = x
        .par_chunks(block)
        .zip(other.par_chunks(block))
        .map(|(x, other)| {
            let mut accumulators = vec![T::default(); sums * channels];
            for (x, other) in x.chunks_exact(channels).zip(other.chunks_exact(channels)) {
                term(x, other, &mut accumulators);
            }
            accumulators
        })
        .collect();
    let mut total = vec![0.0; sums * channels];
    for accumulators in &partial {
        total.iter_mut().zip(accumulators).for_each(|(total, value)| *total += value.to_f64());
    }
    total
}

/// Σ x over the rows, by channel.
pub(crate) fn sum<T: Element>(x: &[T], channels: usize) -> Vec<f64> {
    reduce(x, x, channels, 1, |x, _, sums| sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += *x))
}

/// Σ a·b over the rows, by channel.
pub(crate) fn dot<T: Element>(a: &[T], b: &[T], channels: usize) -> Vec<f64> {
    reduce(a, b, channels, 1, |a, b, sums| {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += *a * *b);
    })
}

/// Mean and variance (divisor: the number of rows) by channel, in two passes.
pub(crate) fn moments<T: Element>(x: &[T], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / channels.max(1)) as f64;
    let mean: Vec<f64> = sum(x, channels).into_iter().map(|sum| sum / rows).collect();
    let centre: Vec<T> = mean.iter().map(|mean| T::from_f64(*mean)).collect();
    let squares = reduce(x, x, channels, 2, |x, _, sums| {
        let (squares, rests) = sums.split_at_mut(channels);
        for (((x, centre), square), rest) in x.iter().zip(&centre).zip(squares).zip(rests) {
            let centred = *x - *centre;
            *square += centred * centred;
            *rest += centred;
        }
    });
    let (squares, rests) = squares.split_at(channels);
    // The centre was rounded to the data's precision: `rests` removes what that leaves behind.
    let variance =
        squares.iter().zip(rests).map(|(square, rest)| ((square - rest * rest / rows) / rows).max(0.0)).collect();
    (mean, variance)
}

/// Σ g and Σ g·x̂ by channel, x̂ = (x − mean)·inverse_deviation.
pub(crate) fn normalised_sums<T: Element>(
    x: &[T],
    g: &[T],
    mean: &[f64],
    inverse_deviation: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let channels = mean.len();
    let centre: Vec<T> = mean.iter().map(|mean| T::from_f64(*mean)).collect();
    let mut sums = reduce(x, g, channels, 2, |x, g, sums| {
        let (plain, weighted) = sums.split_at_mut(channels);
        for ((((x, g), centre), plain), weighted) in x.iter().zip(g).zip(&centre).zip(plain).zip(weighted) {
            *plain += *g;
            *weighted += *g * (*x - *centre);
        }
    });
    let weighted = sums.split_off(channels);
    let weighted = weighted.into_iter().zip(inverse_deviation).map(|(sum, inverse)| sum * inverse).collect();
    (sums, weighted)
}

/// Writes `function(row, by-channel parameters…)` for every row of x.
pub(crate) fn map_rows<T: Element, F>(x: &[T], other: &[T], channels: usize, function: F) -> Vec<T>
where
    F: Fn(&[T], &mut [T]) + Sync,
{
    let block = rows_per_block(channels) * channels;
    let mut y = x.to_vec();
    y.par_chunks_mut(block).zip(other.par_chunks(block)).for_each(|(y, other)| {
        for (y, other) in y.chunks_exact_mut(channels).zip(other.chunks_exact(channels)) {
            function(other, y);
        }
    });
    y
}

/// x·scale + shift, by channel.
pub(crate) fn affine<T: Element>(x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    map_rows(x, x, scale.len(), |_, row| {
        row.iter_mut().zip(scale).zip(shift).for_each(|((x, scale), shift)| *x = *x * *scale + *shift);
    })
}

/// x·scale, by channel.
pub(crate) fn scale<T: Element>(x: &[T], scale: &[T]) -> Vec<T> {
    map_rows(x, x, scale.len(), |_, row| row.iter_mut().zip(scale).for_each(|(x, scale)| *x = *x * *scale))
}

/// x + shift, by channel.
pub(crate) fn shift<T: Element>(x: &[T], shift: &[T]) -> Vec<T> {
    map_rows(x, x, shift.len(), |_, row| row.iter_mut().zip(shift).for_each(|(x, shift)| *x += *shift))
}

/// The input gradient of training-mode batch norm, a·g + b·x + c by channel, from the sums of [`normalised_sums`].
///
/// With m rows, x̂ normalised and γ the scale: dx = γ/σ · (g − Σg/m − x̂·Σ(g·x̂)/m).
pub(crate) fn batch_norm_input_gradient<T: Element>(
    x: &[T],
    g: &[T],
    scale: &[f64],
    mean: &[f64],
    inverse_deviation: &[f64],
    sums: (&[f64], &[f64]),
) -> Vec<T> {
    let channels = mean.len();
    let rows = (x.len() / channels.max(1)) as f64;
    let by_channel = |function: &dyn Fn(usize) -> f64| -> Vec<T> {
        (0..channels).map(|channel| T::from_f64(function(channel))).collect()
    };
    let factor = by_channel(&|c| scale[c] * inverse_deviation[c]);
    let slope = by_channel(&|c| -scale[c] * inverse_deviation[c].powi(2) * sums.1[c] / rows);
    let constant = by_channel(&|c| -scale[c] * inverse_deviation[c] * sums.0[c] / rows);
    let centre = by_channel(&|c| mean[c]);
    map_rows(g, x, channels, |x, row| {
        for (c, (g, x)) in row.iter_mut().zip(x).enumerate() {
            *g = *g * factor[c] + (*x - centre[c]) * slope[c] + constant[c];
        }
    })
}

/// (x − centre)·factor + shift, by channel.
pub(crate) fn centred_affine<T: Element>(x: &[T], centre: &[f64], factor: &[f64], shift: &[T]) -> Vec<T> {
    let rounded = |values: &[f64]| -> Vec<T> { values.iter().map(|value| T::from_f64(*value)).collect() };
    let (centre, factor) = (rounded(centre), rounded(factor));
    map_rows(x, x, shift.len(), |_, row| {
        for (((x, centre), factor), shift) in row.iter_mut().zip(&centre).zip(&factor).zip(shift) {
            *x = (*x - *centre) * *factor + *shift;
        }
    })
}
