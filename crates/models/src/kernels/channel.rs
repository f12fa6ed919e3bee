//! Reductions and products along the channels of NHWC data, seen as rows of `channels` values.
//!
//! Rows are reduced in blocks of a fixed size, within a block in the data's own precision and across blocks in f64 and
//! in order, so the result depends neither on the number of threads nor, beyond rounding, on the number of rows.

use rayon::prelude::*;

use super::Element;
use super::fresh::{self, WAKING};
use super::instruction_set::InstructionSet;

/// Values that one task reduces or writes.
const BLOCK: usize = 1 << 13;
/// Values in one pass of an inner loop: rows of few channels are taken several at a time, so that vectors stay full.
const WIDE: usize = 64;

/// Values of as many whole rows as make up about `WIDE` values.
fn wide_row(channels: usize) -> usize {
    channels * (WIDE / channels.max(1)).max(1)
}

/// Values of a block: whole wide rows.
fn block_len(channels: usize) -> usize {
    let wide = wide_row(channels);
    wide * (BLOCK / wide.max(1)).clamp(1, 256)
}

/// One value a channel, repeated to the length of a wide row.
fn repeated<T: Element>(channels: usize, values: impl Fn(usize) -> T) -> Vec<T> {
    (0..wide_row(channels)).map(|index| values(index % channels)).collect()
}

/// Σ over rows of `term`, which adds one wide row's contribution to its `sums` wide accumulators.
fn reduce<T: Element, F>(x: &[T], other: &[T], channels: usize, sums: usize, term: F) -> Vec<f64>
where
    F: Fn(&[T], &[T], &mut [T]) + Sync,
{
    let (wide, block) = (wide_row(channels), block_len(channels));
    let partial = |(x, other): (&[T], &[T])| {
        let mut accumulators = vec![T::default(); sums * wide];
        InstructionSet::best().vectorised(|| {
            for (x, other) in x.chunks(wide).zip(other.chunks(wide)) {
                term(x, other, &mut accumulators);
            }
        });
        accumulators
    };
    let partials: Vec<Vec<T>> = if x.len() <= WAKING {
        x.chunks(block).zip(other.chunks(block)).map(partial).collect()
    } else {
        x.par_chunks(block).zip(other.par_chunks(block)).map(partial).collect()
    };
    totals(&partials, channels, sums)
}

/// The sums of blocks added up in f64 and in order, `sums` times one value a channel.
fn totals<T: Element>(partials: &[Vec<T>], channels: usize, sums: usize) -> Vec<f64> {
    let mut total = vec![0.0; sums * channels];
    for accumulators in partials {
        for (sum, accumulators) in accumulators.chunks(wide_row(channels)).enumerate() {
            for (index, value) in accumulators.iter().enumerate() {
                total[sum * channels + index % channels] += value.to_f64();
            }
        }
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
    let centre = repeated(channels, |channel| T::from_f64(mean[channel]));
    let squares = reduce(x, x, channels, 2, |x, _, sums| {
        let (squares, rests) = sums.split_at_mut(centre.len());
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
    let centre = repeated(channels, |channel| T::from_f64(mean[channel]));
    let mut sums = reduce(x, g, channels, 2, |x, g, sums| {
        let (plain, weighted) = sums.split_at_mut(centre.len());
        for ((((x, g), centre), plain), weighted) in x.iter().zip(g).zip(&centre).zip(plain).zip(weighted) {
            *plain += *g;
            *weighted += *g * (*x - *centre);
        }
    });
    let weighted = sums.split_off(channels);
    let weighted = weighted.into_iter().zip(inverse_deviation).map(|(sum, inverse)| sum * inverse).collect();
    (sums, weighted)
}

/// A copy of x, changed wide row by wide row; `function` also gets the row of `other`.
fn map_rows<T: Element, F>(x: &[T], other: &[T], channels: usize, function: F) -> Vec<T>
where
    F: Fn(&mut [T], &[T]) + Send + Sync,
{
    let (wide, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    fresh::changed(x, block, |index, y| {
        let other = &other[index * block..][..y.len()];
        set.vectorised(|| y.chunks_mut(wide).zip(other.chunks(wide)).for_each(|(y, other)| function(y, other)));
    })
}

/// x·scale + shift, by channel.
pub(crate) fn affine<T: Element>(x: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    let channels = scale.len();
    let (scale, shift) = (repeated(channels, |c| scale[c]), repeated(channels, |c| shift[c]));
    map_rows(x, x, channels, |y, _| {
        y.iter_mut().zip(&scale).zip(&shift).for_each(|((y, scale), shift)| *y = *y * *scale + *shift);
    })
}

/// x·scale, by channel.
pub(crate) fn scale<T: Element>(x: &[T], scale: &[T]) -> Vec<T> {
    let wide = repeated(scale.len(), |c| scale[c]);
    map_rows(x, x, scale.len(), |y, _| y.iter_mut().zip(&wide).for_each(|(y, scale)| *y = *y * *scale))
}

/// x + shift, by channel.
pub(crate) fn shift<T: Element>(x: &[T], shift: &[T]) -> Vec<T> {
    let wide = repeated(shift.len(), |c| shift[c]);
    map_rows(x, x, shift.len(), |y, _| y.iter_mut().zip(&wide).for_each(|(y, shift)| *y += *shift))
}

/// (x − centre)·factor + shift, by channel.
pub(crate) fn centred_affine<T: Element>(x: &[T], centre: &[f64], factor: &[f64], shift: &[T]) -> Vec<T> {
    let channels = shift.len();
    let centre = repeated(channels, |c| T::from_f64(centre[c]));
    let factor = repeated(channels, |c| T::from_f64(factor[c]));
    let shift = repeated(channels, |c| shift[c]);
    map_rows(x, x, channels, |y, _| {
        for (((y, centre), factor), shift) in y.iter_mut().zip(&centre).zip(&factor).zip(&shift) {
            *y = (*y - *centre) * *factor + *shift;
        }
    })
}

/// The input gradient of training-mode batch norm, by channel, from the sums of [`normalised_sums`].
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
    let by_channel = |function: &dyn Fn(usize) -> f64| repeated(channels, |c| T::from_f64(function(c)));
    let factor = by_channel(&|c| scale[c] * inverse_deviation[c]);
    let slope = by_channel(&|c| -scale[c] * inverse_deviation[c].powi(2) * sums.1[c] / rows);
    let constant = by_channel(&|c| -scale[c] * inverse_deviation[c] * sums.0[c] / rows);
    let centre = by_channel(&|c| mean[c]);
    map_rows(g, x, channels, |g, x| {
        let parameters = factor.iter().zip(&slope).zip(&constant).zip(&centre);
        for ((g, x), (((factor, slope), constant), centre)) in g.iter_mut().zip(x).zip(parameters) {
            *g = *g * *factor + (*x - *centre) * *slope + *constant;
        }
    })
}

/// What training-mode batch norm does to a tangent t, and how ⟨g, J t⟩ changes with its input and its scale.
pub(crate) struct BatchNormPairing<T> {
    /// J t.
    pub(crate) tangent: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the input, g and t held fixed.
    pub(crate) by_input: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the scale γ.
    pub(crate) by_scale: Vec<f64>,
}

/// See [`BatchNormPairing`].
///
/// By channel, with x, g and t centred over the m rows, A = ⟨g, t⟩, B = ⟨x, t⟩, C = ⟨x, g⟩ and σ² the variance plus ε:
/// J t = γ/σ · (t − x·B/(mσ²)), ⟨g, J t⟩ = γ·(A/σ − BC/(mσ³)), and, as ∂σ/∂x = x/(mσ),
/// ∂⟨g, J t⟩/∂x = γ/(mσ³) · (x·(3BC/(mσ²) − A) − C·t − B·g).
pub(crate) fn batch_norm_pairing<T: Element>(
    x: &[T],
    g: &[T],
    t: &[T],
    scale: &[f64],
    mean: &[f64],
    inverse_deviation: &[f64],
) -> BatchNormPairing<T> {
    let channels = mean.len();
    let rows = (x.len() / channels.max(1)) as f64;
    let sums = pairing_sums(x, g, t, mean);
    let [g_sum, t_sum, gt, xt, xg, x_sum] = [0, 1, 2, 3, 4, 5].map(|sum| &sums[sum * channels..(sum + 1) * channels]);
    // Sums of products of what is centred, from those of what is not.
    let gt = |c: usize| gt[c] - g_sum[c] * t_sum[c] / rows;
    let xt = |c: usize| xt[c] - x_sum[c] * t_sum[c] / rows;
    let xg = |c: usize| xg[c] - x_sum[c] * g_sum[c] / rows;
    let factor = |c: usize| scale[c] * inverse_deviation[c];
    let slope = |c: usize| -scale[c] * inverse_deviation[c].powi(3) * xt(c) / rows;
    let cube = |c: usize| scale[c] * inverse_deviation[c].powi(3) / rows;
    let along_x = |c: usize| cube(c) * (3.0 * xt(c) * xg(c) * inverse_deviation[c].powi(2) / rows - gt(c));
    let (along_t, along_g) = (|c: usize| -cube(c) * xg(c), |c: usize| -cube(c) * xt(c));
    let centre = |c: usize| mean[c];
    let shift = |c: usize| -factor(c) * t_sum[c] / rows;
    let tangent = combined(x, [&centre, &slope, &shift], &[(t, &factor)], channels);
    let shift = |c: usize| -(along_t(c) * t_sum[c] + along_g(c) * g_sum[c]) / rows;
    let by_input = combined(x, [&centre, &along_x, &shift], &[(t, &along_t), (g, &along_g)], channels);
    let by_scale = (0..channels)
        .map(|c| gt(c) * inverse_deviation[c] - xt(c) * xg(c) * inverse_deviation[c].powi(3) / rows)
        .collect();
    BatchNormPairing { tangent, by_input, by_scale }
}

/// Σ g, Σ t, Σ g·t, Σ x·t, Σ x·g and Σ x by channel, one after the other, with x less its mean: in one pass.
fn pairing_sums<T: Element>(x: &[T], g: &[T], t: &[T], mean: &[f64]) -> Vec<f64> {
    const SUMS: usize = 6;
    let channels = mean.len();
    let (wide, block) = (wide_row(channels), block_len(channels));
    let centre = repeated(channels, |c| T::from_f64(mean[c]));
    let partial = |((x, g), t): ((&[T], &[T]), &[T])| {
        let mut accumulators = vec![T::default(); SUMS * wide];
        InstructionSet::best().vectorised(|| {
            let (g_sum, rest) = accumulators.split_at_mut(wide);
            let (t_sum, rest) = rest.split_at_mut(wide);
            let (gt, rest) = rest.split_at_mut(wide);
            let (xt, rest) = rest.split_at_mut(wide);
            let (xg, x_sum) = rest.split_at_mut(wide);
            for ((x, g), t) in x.chunks(wide).zip(g.chunks(wide)).zip(t.chunks(wide)) {
                let sums = g_sum.iter_mut().zip(&mut *t_sum).zip(&mut *gt).zip(&mut *xt).zip(&mut *xg).zip(&mut *x_sum);
                let values = x.iter().zip(g).zip(t).zip(&centre);
                for ((((x, g), t), centre), (((((g_sum, t_sum), gt), xt), xg), x_sum)) in values.zip(sums) {
                    let x = *x - *centre;
                    *g_sum += *g;
                    *t_sum += *t;
                    *gt += *g * *t;
                    *xt += x * *t;
                    *xg += x * *g;
                    *x_sum += x;
                }
            }
        });
        accumulators
    };
    let partials: Vec<Vec<T>> = if x.len() <= WAKING {
        x.chunks(block).zip(g.chunks(block)).zip(t.chunks(block)).map(partial).collect()
    } else {
        x.par_chunks(block).zip(g.par_chunks(block)).zip(t.par_chunks(block)).map(partial).collect()
    };
    totals(&partials, channels, SUMS)
}

/// A number for each channel.
type ByChannel<'a> = &'a dyn Fn(usize) -> f64;

/// (x − centre)·factor + shift plus each of the others times its own factor, by channel.
fn combined<T: Element>(
    x: &[T],
    [centre, factor, shift]: [ByChannel<'_>; 3],
    others: &[(&[T], ByChannel<'_>)],
    channels: usize,
) -> Vec<T> {
    let (wide, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    let by_channel = |function: ByChannel<'_>| -> Vec<T> {
        let values: Vec<T> = (0..channels).map(|c| T::from_f64(function(c))).collect();
        repeated(channels, |c| values[c])
    };
    let (centre, factor, shift) = (by_channel(centre), by_channel(factor), by_channel(shift));
    let others: Vec<(&[T], Vec<T>)> = others.iter().map(|(other, factor)| (*other, by_channel(*factor))).collect();
    fresh::changed(x, block, |index, y| {
        set.vectorised(|| {
            for row in y.chunks_mut(wide) {
                for (((y, centre), factor), shift) in row.iter_mut().zip(&centre).zip(&factor).zip(&shift) {
                    *y = (*y - *centre) * *factor + *shift;
                }
            }
            for (other, factor) in &others {
                let other = &other[index * block..][..y.len()];
                for (row, other) in y.chunks_mut(wide).zip(other.chunks(wide)) {
                    row.iter_mut().zip(other).zip(factor).for_each(|((y, other), factor)| *y += *other * *factor);
                }
            }
        });
    })
}
