//! Batch norm with batch statistics on NHWC data, seen as rows of `channels` values, with or without a fused ReLU.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::channel::{block_len, map_rows, reduce, repeated, totals, wide_row};
use super::elementwise::{positive_part, relu_mask};
use super::instruction_set::InstructionSet;
use super::scratch::Scratch;
use super::shared::Shared;
use super::uninitialised::WAKING;
use super::{Element, uninitialised};

/// The parameters of batch norm per channel: x̂ = (x − mean)·inverse_deviation, y = x̂·scale + shift.
pub(crate) struct Normalisation<'a, T> {
    pub(crate) mean: &'a [f64],
    pub(crate) inverse_deviation: &'a [f64],
    pub(crate) scale: &'a [T],
    pub(crate) shift: &'a [T],
}

/// The constants of the inner loops, repeated to wide rows.
struct Wide<T> {
    centre: Vec<T>,
    factor: Vec<T>,
    shift: Vec<T>,
}

impl<T: Element> Wide<T> {
    /// g·factor + (x − centre)·slope + constant in place of a wide row of g; with `FUSED_RELU`, g is masked by the ReLU first.
    #[inline(always)]
    fn gradient_row<const FUSED_RELU: bool>(&self, g: &mut [T], x: &[T], slope: &[T], constant: &[T]) {
        let lines = self.centre.iter().zip(&self.factor).zip(&self.shift).zip(slope).zip(constant);
        for ((g, x), ((((centre, factor), shift), slope), constant)) in g.iter_mut().zip(x).zip(lines) {
            let centred = *x - *centre;
            let masked = if FUSED_RELU { relu_mask(*g, centred * *factor + *shift) } else { *g };
            *g = masked * *factor + centred * *slope + *constant;
        }
    }
}

impl<T: Element> Normalisation<'_, T> {
    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// scale / σ of a channel.
    fn factor(&self, channel: usize) -> f64 {
        self.scale[channel].to_f64() * self.inverse_deviation[channel]
    }

    /// The gradients from Σ g and Σ g·(x − mean) per channel, concatenated.
    fn sums(&self, mut by_shift: Vec<f64>) -> CotangentSums {
        let weighted = by_shift.split_off(self.channels());
        let by_scale = weighted.into_iter().zip(self.inverse_deviation).map(|(sum, inverse)| sum * inverse).collect();
        CotangentSums { by_shift, by_scale }
    }

    /// Centre, factor and shift of each channel: y = (x − centre)·factor + shift.
    pub(super) fn by_channel(&self) -> [Vec<T>; 3] {
        let channels = 0..self.channels();
        [
            channels.clone().map(|c| T::from_f64(self.mean[c])).collect(),
            channels.map(|c| T::from_f64(self.factor(c))).collect(),
            self.shift.to_vec(),
        ]
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

/// The normalised batch; with `fused_relu`, its positive part.
pub(crate) fn normalise<T: Element>(x: &[T], by: &Normalisation<'_, T>, fused_relu: bool) -> Vec<T> {
    let wide = by.wide();
    let at = |x: T, ((centre, factor), shift): ((&T, &T), &T)| (x - *centre) * *factor + *shift;
    let constants = || wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
    if fused_relu {
        return map_rows(x, x, by.channels(), |y, _| {
            y.iter_mut().zip(constants()).for_each(|(y, constants)| *y = positive_part(at(*y, constants)));
        });
    }
    map_rows(x, x, by.channels(), |y, _| {
        y.iter_mut().zip(constants()).for_each(|(y, constants)| *y = at(*y, constants));
    })
}

/// The normalised batch plus `addend`; with `fused_relu`, the positive part of the sum.
pub(crate) fn normalise_plus<T: Element>(x: &[T], by: &Normalisation<'_, T>, addend: &[T], fused_relu: bool) -> Vec<T> {
    let wide = by.wide();
    let at = |x: T, ((centre, factor), shift): ((&T, &T), &T)| (x - *centre) * *factor + *shift;
    map_rows(x, addend, by.channels(), |y, addend| {
        let constants = wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
        let values = y.iter_mut().zip(addend).zip(constants);
        if fused_relu {
            values.for_each(|((y, addend), constants)| *y = positive_part(at(*y, constants) + *addend));
        } else {
            values.for_each(|((y, addend), constants)| *y = at(*y, constants) + *addend);
        }
    })
}

/// Sums of a cotangent per channel: the gradients by shift and scale.
pub(crate) struct CotangentSums {
    /// Σ g.
    pub(crate) by_shift: Vec<f64>,
    /// Σ g·x̂.
    pub(crate) by_scale: Vec<f64>,
}

/// Σ g and Σ g·x̂ per channel. With `fused_relu`, g is masked by the ReLU of the normalised value first.
pub(crate) fn cotangent_sums<T: Element>(
    x: &[T],
    g: &[T],
    by: &Normalisation<'_, T>,
    fused_relu: bool,
) -> CotangentSums {
    let (wide, channels) = (by.wide(), by.channels());
    let sums = if fused_relu {
        reduce(
            x,
            g,
            channels,
            2,
            #[inline(always)]
            |x, g, sums| add_masked_cotangents(&wide, x, g, sums),
        )
    } else {
        reduce(
            x,
            g,
            channels,
            2,
            #[inline(always)]
            |x, g, sums| add_cotangents(&wide, x, g, sums),
        )
    };
    by.sums(sums)
}

/// [`cotangent_sums`] of a cotangent that is not in memory as a whole.
pub(crate) fn cotangent_sums_of<T: Element>(
    x: &[T],
    g: &impl Cotangent<T>,
    by: &Normalisation<'_, T>,
) -> CotangentSums {
    let (wide, channels) = (by.wide(), by.channels());
    let (width, block) = (wide.centre.len(), block_len(channels));
    let partial = |(index, x): (usize, &[T])| {
        let mut sums = vec![T::default(); 2 * width];
        let mut cotangent = Scratch::<T>::new(x.len());
        let cotangent = cotangent.slice();
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                g.write(index * block, uninitialised::writable(cotangent));
                x.chunks(width).zip(cotangent.chunks(width)).for_each(|(x, g)| add_cotangents(&wide, x, g, &mut sums));
            },
        );
        sums
    };
    let partials: Vec<Vec<T>> = if x.len() <= WAKING {
        x.chunks(block).enumerate().map(partial).collect()
    } else {
        x.par_chunks(block).enumerate().map(partial).collect()
    };
    by.sums(totals(&partials, channels, 2))
}

/// Adds g and g·(x − centre) to the sums of a wide row.
#[inline(always)]
fn add_cotangents<T: Element>(wide: &Wide<T>, x: &[T], g: &[T], sums: &mut [T]) {
    let (plain, weighted) = sums.split_at_mut(wide.centre.len());
    for ((((x, g), centre), plain), weighted) in x.iter().zip(g).zip(&wide.centre).zip(plain).zip(weighted) {
        *plain += *g;
        *weighted += *g * (*x - *centre);
    }
}

/// The same for a cotangent that is masked by the ReLU of the normalised value first.
#[inline(always)]
fn add_masked_cotangents<T: Element>(wide: &Wide<T>, x: &[T], g: &[T], sums: &mut [T]) {
    let (plain, weighted) = sums.split_at_mut(wide.centre.len());
    let constants = wide.centre.iter().zip(&wide.factor).zip(&wide.shift);
    for ((((x, g), constants), plain), weighted) in x.iter().zip(g).zip(constants).zip(plain).zip(weighted) {
        let ((centre, factor), shift) = constants;
        let centred = *x - *centre;
        let g = relu_mask(*g, centred * *factor + *shift);
        *plain += g;
        *weighted += g * centred;
    }
}

/// A cotangent that is written block by block.
///
/// # Safety
/// [`Cotangent::write`] initialises every number that it is asked for.
pub(crate) unsafe trait Cotangent<T>: Sync {
    /// Writes the numbers of whole pixels, of which `start` is the first number.
    fn write(&self, start: usize, to: &mut [MaybeUninit<T>]);
}

/// A cotangent in memory.
pub(crate) struct Given<'a, T>(pub(crate) &'a [T]);

// SAFETY: copying initialises every number.
unsafe impl<T: Copy + Sync> Cotangent<T> for Given<'_, T> {
    #[inline(always)]
    fn write(&self, start: usize, to: &mut [MaybeUninit<T>]) {
        to.write_copy_of_slice(&self.0[start..start + to.len()]);
    }
}

/// The gradient by the input from the sums of [`cotangent_sums`], plus `addend`, if given; with `summed`, also its sum per channel,
/// as by [`channel::sum`](super::channel::sum).
///
/// With m rows and scale γ: dx = γ/σ · (g − Σg/m − x̂·Σ(g·x̂)/m). `fused_relu` as in [`cotangent_sums`].
pub(crate) fn input_gradient<T: Element>(
    x: &[T],
    g: &impl Cotangent<T>,
    by: &Normalisation<'_, T>,
    sums: &CotangentSums,
    fused_relu: bool,
    addend: Option<&[T]>,
    summed: bool,
) -> (Vec<T>, Option<Vec<f64>>) {
    let (wide, channels) = (by.wide(), by.channels());
    let rows = (x.len() / channels.max(1)) as f64;
    let slope = repeated(channels, |c| T::from_f64(-by.factor(c) * by.inverse_deviation[c] * sums.by_scale[c] / rows));
    let constant = repeated(channels, |c| T::from_f64(-by.factor(c) * sums.by_shift[c] / rows));
    let (row, block, set) = (wide_row(channels), block_len(channels), InstructionSet::best());
    let mut partials = vec![T::default(); if summed { x.len().div_ceil(block.max(1)) * row } else { 0 }];
    let all = Shared::new(partials.as_mut_ptr());
    let write = |to: &mut [MaybeUninit<T>]| {
        uninitialised::for_each_block(to, block, |index, to| {
            let start = index * block;
            let x = &x[start..][..to.len()];
            let sums: &mut [T] = if summed {
                // SAFETY: there is one wide row of sums per block, and only the task of this block writes it.
                unsafe { std::slice::from_raw_parts_mut(all.get().add(index * row), row) }
            } else {
                &mut []
            };
            set.vectorised(
                #[inline(always)]
                || {
                    g.write(start, to);
                    // SAFETY: a cotangent writes every number that it is asked for.
                    let g = unsafe { to.assume_init_mut() };
                    for (g, x) in g.chunks_mut(row).zip(x.chunks(row)) {
                        if fused_relu {
                            wide.gradient_row::<true>(g, x, &slope, &constant);
                        } else {
                            wide.gradient_row::<false>(g, x, &slope, &constant);
                        }
                    }
                    if let Some(addend) = addend {
                        for (g, addend) in g.iter_mut().zip(&addend[start..]) {
                            *g += *addend;
                        }
                    }
                    if summed {
                        for g in g.chunks(row) {
                            for (sum, g) in sums.iter_mut().zip(g) {
                                *sum += *g;
                            }
                        }
                    }
                },
            );
        });
    };
    // SAFETY: the blocks cover the gradient.
    let gradient = unsafe { uninitialised::written(x.len(), write) };
    let sum = summed.then(|| {
        let mut total = vec![0.0; channels];
        for (index, value) in partials.iter().enumerate() {
            total[index % channels] += value.to_f64();
        }
        total
    });
    (gradient, sum)
}

/// The JVP J t of training-mode batch norm and the gradients of the tangent–cotangent term ⟨g, J t⟩, with g and t held fixed.
pub(crate) struct TangentCotangentTerm<T> {
    /// J t.
    pub(crate) tangent: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the input.
    pub(crate) by_input: Vec<T>,
    /// The gradient of ⟨g, J t⟩ by the scale γ.
    pub(crate) by_scale: Vec<f64>,
}

/// See [`TangentCotangentTerm`]. With `fused_relu`, the map includes the ReLU after the batch norm.
///
/// By channel, with x, g and t centred over the m rows, A = ⟨g, t⟩, B = ⟨x, t⟩, C = ⟨x, g⟩ and σ² the variance plus ε:
/// J t = γ/σ · (t − x·B/(mσ²)), ⟨g, J t⟩ = γ·(A/σ − BC/(mσ³)), and, as ∂σ/∂x = x/(mσ),
/// ∂⟨g, J t⟩/∂x = γ/(mσ³) · (x·(3BC/(mσ²) − A) − C·t − B·g). A fused ReLU masks g and J t by
/// the sign of the normalised value.
pub(crate) fn tangent_cotangent_term<T: Element>(
    x: &[T],
    g: &[T],
    t: &[T],
    by: &Normalisation<'_, T>,
    fused_relu: bool,
) -> TangentCotangentTerm<T> {
    let (channels, inverse) = (by.channels(), by.inverse_deviation);
    let rows = (x.len() / channels.max(1)) as f64;
    let sums = tangent_cotangent_sums(x, g, t, by, fused_relu);
    let [g_sum, t_sum, gt, xt, xg, x_sum] = [0, 1, 2, 3, 4, 5].map(|sum| &sums[sum * channels..(sum + 1) * channels]);
    // Sums of centred products, from sums of uncentred products.
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
    let (tangent, by_input) = lines.of(x, g, t, by, fused_relu);
    let by_scale = (0..channels).map(|c| gt(c) * inverse[c] - xt(c) * xg(c) * inverse[c].powi(3) / rows).collect();
    TangentCotangentTerm { tangent, by_input, by_scale }
}

/// The coefficients of the JVP and of the gradient by the input, which are linear in x, g and t: per channel, in wide rows.
struct Lines<T> {
    slope: Vec<T>,
    constant: Vec<T>,
    along_x: Vec<T>,
    along_t: Vec<T>,
    along_g: Vec<T>,
    summand: Vec<T>,
}

impl<T: Element> Lines<T> {
    fn of(&self, x: &[T], g: &[T], t: &[T], by: &Normalisation<'_, T>, fused_relu: bool) -> (Vec<T>, Vec<T>) {
        let (wide, row) = (by.wide(), wide_row(by.channels()));
        let (block, set) = (block_len(by.channels()), InstructionSet::best());
        let mut by_input = Vec::new();
        let write = |tangent: &mut [MaybeUninit<T>]| {
            let tangent = Shared::new(tangent.as_mut_ptr().cast::<T>());
            by_input = uninitialised::changed_copy(g, block, |index, g| {
                let (x, t) = (&x[index * block..][..g.len()], &t[index * block..][..g.len()]);
                let to = tangent.get().wrapping_add(index * block).cast::<MaybeUninit<T>>();
                // SAFETY: the block lies within the tangent, and only the task of this block writes it.
                let to = unsafe { std::slice::from_raw_parts_mut(to, g.len()) };
                set.vectorised(
                    #[inline(always)]
                    || {
                        let rows = g.chunks_mut(row).zip(to.chunks_mut(row)).zip(x.chunks(row).zip(t.chunks(row)));
                        for ((g, to), (x, t)) in rows {
                            if fused_relu {
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
        let tangent = unsafe { uninitialised::written(g.len(), write) };
        (tangent, by_input)
    }

    /// Computes one wide row; `g` becomes the gradient by the input.
    #[inline(always)]
    fn row<const FUSED_RELU: bool>(
        &self,
        wide: &Wide<T>,
        g: &mut [T],
        tangent: &mut [MaybeUninit<T>],
        x: &[T],
        t: &[T],
    ) {
        let line = wide.centre.iter().zip(&wide.factor).zip(&wide.shift).zip(&self.slope).zip(&self.constant);
        let plane = self.along_x.iter().zip(&self.along_t).zip(&self.along_g).zip(&self.summand);
        let values = g.iter_mut().zip(tangent).zip(x.iter().zip(t));
        for (((g, tangent), (x, t)), (line, plane)) in values.zip(line.zip(plane)) {
            let ((((centre, factor), shift), slope), constant) = line;
            let (((along_x, along_t), along_g), summand) = plane;
            let centred = *x - *centre;
            let value = centred * *factor + *shift;
            let cotangent = if FUSED_RELU { relu_mask(*g, value) } else { *g };
            let along = *t * *factor + centred * *slope + *constant;
            tangent.write(if FUSED_RELU { relu_mask(along, value) } else { along });
            *g = centred * *along_x + *t * *along_t + cotangent * *along_g + *summand;
        }
    }
}

/// Σ g, Σ t, Σ g·t, Σ x·t, Σ x·g and Σ x per channel, concatenated, with the mean subtracted from x. With `fused_relu`, g is
/// masked by the ReLU of the normalised value first.
fn tangent_cotangent_sums<T: Element>(
    x: &[T],
    g: &[T],
    t: &[T],
    by: &Normalisation<'_, T>,
    fused_relu: bool,
) -> Vec<f64> {
    const SUMS: usize = 6;
    let channels = by.channels();
    let (row, block, wide) = (wide_row(channels), block_len(channels), by.wide());
    let partial = |((x, g), t): ((&[T], &[T]), &[T])| {
        let mut accumulators = vec![T::default(); SUMS * row];
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for ((x, g), t) in x.chunks(row).zip(g.chunks(row)).zip(t.chunks(row)) {
                    if fused_relu {
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

/// Adds one wide row to [`tangent_cotangent_sums`].
#[inline(always)]
fn add_row<T: Element, const FUSED_RELU: bool>(wide: &Wide<T>, x: &[T], g: &[T], t: &[T], sums: &mut [T]) {
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
        let g = if FUSED_RELU { relu_mask(*g, x * *factor + *shift) } else { *g };
        *g_sum += g;
        *t_sum += *t;
        *gt += g * *t;
        *xt += x * *t;
        *xg += x * g;
        *x_sum += x;
    }
}
