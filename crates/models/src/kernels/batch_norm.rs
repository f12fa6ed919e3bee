//! Batch norm with the statistics of the batch, on NHWC data seen as rows of `channels` values: alone, or with a ReLU
//! behind it in the same pass over the memory.

use rayon::prelude::*;

use super::channel::{block_len, map_rows, reduce, repeated, totals, wide_row};
use super::elementwise::{gate, positive_part};
use super::fresh::WAKING;
use super::instruction_set::InstructionSet;
use super::{Element, fresh};

/// What normalises a batch: x̂ = (x − mean)·inverse_deviation, then x̂·scale + shift, by channel.
pub(crate) struct Normalisation<'a, T> {
    pub(crate) mean: &'a [f64],
    pub(crate) inverse_deviation: &'a [f64],
    pub(crate) scale: &'a [T],
    pub(crate) shift: &'a [T],
}

/// The same with the constants of the inner loops, repeated to wide rows.
struct Wide<T> {
    centre: Vec<T>,
    factor: Vec<T>,
    shift: Vec<T>,
}

impl<T: Element> Normalisation<'_, T> {
    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// scale/σ of a channel.
    fn factor(&self, channel: usize) -> f64 {
        self.scale[channel].to_f64() * self.inverse_deviation[channel]
    }

    fn wide(&self) -> Wide<T> {
        let channels = self.channels();
        Wide {
            centre: repeated(channels, |c| T::from_f64(self.mean[c])),
            factor: repeated(channels, |c| T::from_f64(self.factor(c))),
            shift: repeated(channels, |c| self.shift[c]),
        }
    }
}

/// The normalised batch; with `rectify`, its positive part.
pub(crate) fn normalise<T: Element>(x: &[T], by: &Normalisation<'_, T>, rectify: bool) -> Vec<T> {
    let wide = by.wide();
    let at = |x: T, ((centre, factor), shift): ((&T, &T), &T)| (x - *centre) * *factor + *shift;
    let constants = || wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
    if rectify {
        return map_rows(x, x, by.channels(), |y, _| {
            y.iter_mut().zip(constants()).for_each(|(y, constants)| *y = positive_part(at(*y, constants)));
        });
    }
    map_rows(x, x, by.channels(), |y, _| {
        y.iter_mut().zip(constants()).for_each(|(y, constants)| *y = at(*y, constants));
    })
}

/// Σ g and Σ g·x̂ by channel; with `gated`, of those g whose normalised value is positive, which a ReLU lets through.
pub(crate) fn normalised_sums<T: Element>(
    x: &[T],
    g: &[T],
    by: &Normalisation<'_, T>,
    gated: bool,
) -> (Vec<f64>, Vec<f64>) {
    let (wide, channels) = (by.wide(), by.channels());
    let width = wide.centre.len();
    let mut sums = if gated {
        reduce(x, g, channels, 2, |x, g, sums| {
            let (plain, weighted) = sums.split_at_mut(width);
            let constants = wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
            for ((((x, g), constants), plain), weighted) in x.iter().zip(g).zip(constants).zip(plain).zip(weighted) {
                let ((centre, factor), shift) = constants;
                let centred = *x - *centre;
                let g = gate(*g, centred * *factor + *shift);
                *plain += g;
                *weighted += g * centred;
            }
        })
    } else {
        reduce(x, g, channels, 2, |x, g, sums| {
            let (plain, weighted) = sums.split_at_mut(width);
            for ((((x, g), centre), plain), weighted) in x.iter().zip(g).zip(&wide.centre).zip(plain).zip(weighted) {
                *plain += *g;
                *weighted += *g * (*x - *centre);
            }
        })
    };
    let weighted = sums.split_off(channels);
    let weighted = weighted.into_iter().zip(by.inverse_deviation).map(|(sum, inverse)| sum * inverse).collect();
    (sums, weighted)
}

/// The gradient by the input, by channel, from the sums of [`normalised_sums`].
///
/// With m rows, x̂ normalised and γ the scale: dx = γ/σ · (g − Σg/m − x̂·Σ(g·x̂)/m); `gated` as there.
pub(crate) fn input_gradient<T: Element>(
    x: &[T],
    g: &[T],
    by: &Normalisation<'_, T>,
    (plain, weighted): (&[f64], &[f64]),
    gated: bool,
) -> Vec<T> {
    let (wide, channels) = (by.wide(), by.channels());
    let rows = (x.len() / channels.max(1)) as f64;
    let slope = repeated(channels, |c| T::from_f64(-by.factor(c) * by.inverse_deviation[c] * weighted[c] / rows));
    let constant = repeated(channels, |c| T::from_f64(-by.factor(c) * plain[c] / rows));
    let line = wide.centre.iter().zip(&wide.factor).zip(&slope).zip(&constant);
    if gated {
        return map_rows(g, x, channels, |g, x| {
            for ((g, x), ((((centre, factor), slope), constant), shift)) in
                g.iter_mut().zip(x).zip(line.clone().zip(&wide.shift))
            {
                let centred = *x - *centre;
                *g = gate(*g, centred * *factor + *shift) * *factor + centred * *slope + *constant;
            }
        });
    }
    map_rows(g, x, channels, |g, x| {
        for ((g, x), (((centre, factor), slope), constant)) in g.iter_mut().zip(x).zip(line.clone()) {
            *g = *g * *factor + (*x - *centre) * *slope + *constant;
        }
    })
}

/// What training-mode batch norm does to a tangent t, and how ⟨g, J t⟩ changes with its input and its scale.
pub(crate) struct Pairing<T> {
    /// J t.
    pub(crate) tangent: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the input, g and t held fixed.
    pub(crate) by_input: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the scale γ.
    pub(crate) by_scale: Vec<f64>,
}

/// See [`Pairing`].
///
/// By channel, with x, g and t centred over the m rows, A = ⟨g, t⟩, B = ⟨x, t⟩, C = ⟨x, g⟩ and σ² the variance plus ε:
/// J t = γ/σ · (t − x·B/(mσ²)), ⟨g, J t⟩ = γ·(A/σ − BC/(mσ³)), and, as ∂σ/∂x = x/(mσ),
/// ∂⟨g, J t⟩/∂x = γ/(mσ³) · (x·(3BC/(mσ²) − A) − C·t − B·g).
pub(crate) fn pairing<T: Element>(
    x: &[T],
    g: &[T],
    t: &[T],
    scale: &[f64],
    mean: &[f64],
    inverse_deviation: &[f64],
) -> Pairing<T> {
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
    Pairing { tangent, by_input, by_scale }
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
