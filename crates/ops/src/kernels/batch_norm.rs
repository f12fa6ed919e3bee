//! Batch norm with the statistics of the batch, on NHWC data seen as rows of `channels` values: alone, or with a ReLU
//! behind it in the same pass over the memory.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::channel::{block_len, map_rows, reduce, repeated, totals, wide_row};
use super::elementwise::{gate, positive_part};
use super::fresh::WAKING;
use super::instruction_set::InstructionSet;
use super::shared::Shared;
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

/// The gradient by the input, by channel, from the sums of [`normalised_sums`], plus `addend`, if there is one.
///
/// With m rows, x̂ normalised and γ the scale: dx = γ/σ · (g − Σg/m − x̂·Σ(g·x̂)/m); `gated` as there.
pub(crate) fn input_gradient<T: Element>(
    x: &[T],
    g: &[T],
    by: &Normalisation<'_, T>,
    (plain, weighted): (&[f64], &[f64]),
    gated: bool,
    addend: Option<&[T]>,
) -> Vec<T> {
    let (wide, channels) = (by.wide(), by.channels());
    let rows = (x.len() / channels.max(1)) as f64;
    let slope = repeated(channels, |c| T::from_f64(-by.factor(c) * by.inverse_deviation[c] * weighted[c] / rows));
    let constant = repeated(channels, |c| T::from_f64(-by.factor(c) * plain[c] / rows));
    let line = wide.centre.iter().zip(&wide.factor).zip(&slope).zip(&constant);
    let of_row = |g: &mut [T], x: &[T]| {
        if gated {
            for ((g, x), ((((centre, factor), slope), constant), shift)) in
                g.iter_mut().zip(x).zip(line.clone().zip(&wide.shift))
            {
                let centred = *x - *centre;
                *g = gate(*g, centred * *factor + *shift) * *factor + centred * *slope + *constant;
            }
        } else {
            for ((g, x), (((centre, factor), slope), constant)) in g.iter_mut().zip(x).zip(line.clone()) {
                *g = *g * *factor + (*x - *centre) * *slope + *constant;
            }
        }
    };
    let (row, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    fresh::changed(g, block, |index, g| {
        let x = &x[index * block..][..g.len()];
        set.vectorised(
            #[inline(always)]
            || {
                g.chunks_mut(row).zip(x.chunks(row)).for_each(|(g, x)| of_row(g, x));
                if let Some(addend) = addend {
                    g.iter_mut().zip(&addend[index * block..]).for_each(|(g, addend)| *g += *addend);
                }
            },
        );
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

/// See [`Pairing`]; with `gated`, a ReLU behind belongs to the map.
///
/// By channel, with x, g and t centred over the m rows, A = ⟨g, t⟩, B = ⟨x, t⟩, C = ⟨x, g⟩ and σ² the variance plus ε:
/// J t = γ/σ · (t − x·B/(mσ²)), ⟨g, J t⟩ = γ·(A/σ − BC/(mσ³)), and, as ∂σ/∂x = x/(mσ),
/// ∂⟨g, J t⟩/∂x = γ/(mσ³) · (x·(3BC/(mσ²) − A) − C·t − B·g). A ReLU lets g and J t through where the normalised value is positive.
pub(crate) fn pairing<T: Element>(x: &[T], g: &[T], t: &[T], by: &Normalisation<'_, T>, gated: bool) -> Pairing<T> {
    let (channels, inverse) = (by.channels(), by.inverse_deviation);
    let rows = (x.len() / channels.max(1)) as f64;
    let sums = pairing_sums(x, g, t, by, gated);
    let [g_sum, t_sum, gt, xt, xg, x_sum] = [0, 1, 2, 3, 4, 5].map(|sum| &sums[sum * channels..(sum + 1) * channels]);
    // Sums of products of what is centred, from those of what is not.
    let gt = |c: usize| gt[c] - g_sum[c] * t_sum[c] / rows;
    let xt = |c: usize| xt[c] - x_sum[c] * t_sum[c] / rows;
    let xg = |c: usize| xg[c] - x_sum[c] * g_sum[c] / rows;
    let cube = |c: usize| by.factor(c) * inverse[c].powi(2) / rows;
    let along_x = |c: usize| cube(c) * (3.0 * xt(c) * xg(c) * inverse[c].powi(2) / rows - gt(c));
    let (along_t, along_g) = (|c: usize| -cube(c) * xg(c), |c: usize| -cube(c) * xt(c));
    let wide = |value: &dyn Fn(usize) -> f64| {
        let values: Vec<T> = (0..channels).map(|c| T::from_f64(value(c))).collect();
        repeated(channels, |c| values[c])
    };
    let lines = Lines {
        slope: wide(&|c| -cube(c) * xt(c)),
        constant: wide(&|c| -by.factor(c) * t_sum[c] / rows),
        along_x: wide(&along_x),
        along_t: wide(&along_t),
        along_g: wide(&along_g),
        summand: wide(&|c| -(along_t(c) * t_sum[c] + along_g(c) * g_sum[c]) / rows),
    };
    let (tangent, by_input) = lines.of(x, g, t, by, gated);
    let by_scale = (0..channels).map(|c| gt(c) * inverse[c] - xt(c) * xg(c) * inverse[c].powi(3) / rows).collect();
    Pairing { tangent, by_input, by_scale }
}

/// The tangent and the gradient by the input, which are linear in x, g and t: constants by channel, in wide rows.
struct Lines<T> {
    slope: Vec<T>,
    constant: Vec<T>,
    along_x: Vec<T>,
    along_t: Vec<T>,
    along_g: Vec<T>,
    summand: Vec<T>,
}

impl<T: Element> Lines<T> {
    fn of(&self, x: &[T], g: &[T], t: &[T], by: &Normalisation<'_, T>, gated: bool) -> (Vec<T>, Vec<T>) {
        let (wide, row) = (by.wide(), wide_row(by.channels()));
        let (block, set) = (block_len(by.channels()), InstructionSet::best());
        let mut by_input = Vec::new();
        let write = |tangent: &mut [MaybeUninit<T>]| {
            let tangent = Shared::new(tangent.as_mut_ptr().cast::<T>());
            by_input = fresh::changed(g, block, |index, g| {
                let (x, t) = (&x[index * block..][..g.len()], &t[index * block..][..g.len()]);
                let to = tangent.get().wrapping_add(index * block).cast::<MaybeUninit<T>>();
                // SAFETY: each block of the tangent is written by the task that writes the same block of the other.
                let to = unsafe { std::slice::from_raw_parts_mut(to, g.len()) };
                set.vectorised(
                    #[inline(always)]
                    || {
                        let rows = g.chunks_mut(row).zip(to.chunks_mut(row)).zip(x.chunks(row).zip(t.chunks(row)));
                        for ((g, to), (x, t)) in rows {
                            if gated {
                                self.row::<true>(&wide, g, to, x, t);
                            } else {
                                self.row::<false>(&wide, g, to, x, t);
                            }
                        }
                    },
                );
            });
        };
        // SAFETY: the blocks cover the tangent.
        let tangent = unsafe { fresh::written(g.len(), write) };
        (tangent, by_input)
    }

    /// One wide row: `g` becomes the gradient by the input.
    #[inline(always)]
    fn row<const GATED: bool>(&self, wide: &Wide<T>, g: &mut [T], tangent: &mut [MaybeUninit<T>], x: &[T], t: &[T]) {
        let line = wide.centre.iter().zip(&wide.factor).zip(&wide.shift).zip(&self.slope).zip(&self.constant);
        let plane = self.along_x.iter().zip(&self.along_t).zip(&self.along_g).zip(&self.summand);
        let values = g.iter_mut().zip(tangent).zip(x.iter().zip(t));
        for (((g, tangent), (x, t)), (line, plane)) in values.zip(line.zip(plane)) {
            let ((((centre, factor), shift), slope), constant) = line;
            let (((along_x, along_t), along_g), summand) = plane;
            let centred = *x - *centre;
            let value = centred * *factor + *shift;
            let cotangent = if GATED { gate(*g, value) } else { *g };
            let along = *t * *factor + centred * *slope + *constant;
            tangent.write(if GATED { gate(along, value) } else { along });
            *g = centred * *along_x + *t * *along_t + cotangent * *along_g + *summand;
        }
    }
}

/// Σ g, Σ t, Σ g·t, Σ x·t, Σ x·g and Σ x by channel, one after the other, with x less its mean: in one pass. With `gated`,
/// of those g whose normalised value is positive.
fn pairing_sums<T: Element>(x: &[T], g: &[T], t: &[T], by: &Normalisation<'_, T>, gated: bool) -> Vec<f64> {
    const SUMS: usize = 6;
    let channels = by.channels();
    let (row, block, wide) = (wide_row(channels), block_len(channels), by.wide());
    let partial = |((x, g), t): ((&[T], &[T]), &[T])| {
        let mut accumulators = vec![T::default(); SUMS * row];
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for ((x, g), t) in x.chunks(row).zip(g.chunks(row)).zip(t.chunks(row)) {
                    if gated {
                        add_row::<T, true>(&wide, x, g, t, &mut accumulators);
                    } else {
                        add_row::<T, false>(&wide, x, g, t, &mut accumulators);
                    }
                }
            },
        );
        accumulators
    };
    let partials: Vec<Vec<T>> = if x.len() <= WAKING {
        x.chunks(block).zip(g.chunks(block)).zip(t.chunks(block)).map(partial).collect()
    } else {
        x.par_chunks(block).zip(g.par_chunks(block)).zip(t.par_chunks(block)).map(partial).collect()
    };
    totals(&partials, channels, SUMS)
}

/// One wide row's contribution to [`pairing_sums`].
#[inline(always)]
fn add_row<T: Element, const GATED: bool>(wide: &Wide<T>, x: &[T], g: &[T], t: &[T], sums: &mut [T]) {
    let (g_sum, rest) = sums.split_at_mut(wide.centre.len());
    let (t_sum, rest) = rest.split_at_mut(wide.centre.len());
    let (gt, rest) = rest.split_at_mut(wide.centre.len());
    let (xt, rest) = rest.split_at_mut(wide.centre.len());
    let (xg, x_sum) = rest.split_at_mut(wide.centre.len());
    let sums = g_sum.iter_mut().zip(t_sum).zip(gt).zip(xt).zip(xg).zip(x_sum);
    let constants = wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
    let values = x.iter().zip(g).zip(t).zip(constants);
    for ((((x, g), t), ((centre, factor), shift)), (((((g_sum, t_sum), gt), xt), xg), x_sum)) in values.zip(sums) {
        let x = *x - *centre;
        let g = if GATED { gate(*g, x * *factor + *shift) } else { *g };
        *g_sum += g;
        *t_sum += *t;
        *gt += g * *t;
        *xt += x * *t;
        *xg += x * g;
        *x_sum += x;
    }
}
