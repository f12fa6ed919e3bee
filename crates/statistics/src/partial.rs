//! Partial rank correlation within seeds, given covariates.

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{check_lengths, check_values};
use crate::rank::ROUNDING;
use crate::{Block, Error, PermutationSettings, Result, mean_ranks, pearson};

const NAME: &str = "a partial rank correlation";
const STREAM: &str = "statistics/partial-permutation";
/// A residual below this share of its variable is taken for zero: the variable depends on the others linearly.
const COLLINEAR: f64 = 1e-9;

/// The runs of one seed with their covariates.
///
/// ```
/// let block = statistics::Block { x: &[0.1, 0.2, 0.4], y: &[3.1, 2.5, 1.9] };
/// let with = statistics::CovariateBlock { block, covariates: &[&[1.0, 2.0, 4.0]] };
/// assert_eq!(with.covariates.len(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CovariateBlock<'a> {
    /// The two values of each run.
    pub block: Block<'a>,
    /// `covariates[covariate][run]`, such as the swept value and the training loss.
    pub covariates: &'a [&'a [f64]],
}

/// A partial rank correlation within seeds and its permutation test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartialCorrelation {
    /// The coefficient, −1 to 1.
    pub coefficient: f64,
    /// The contribution of each seed; `coefficient` is their mean.
    ///
    /// **Definition** S Σ_{runs of the seed} r_x r_y/(‖r_x‖ ‖r_y‖) for S seeds and the residuals r of all runs. Taken to
    /// [`Effect::over_seeds`](crate::Effect::over_seeds) they show whether the association has the same sign in every seed.
    #[serde(default)]
    pub per_block: Vec<f64>,
    /// The number of runs.
    pub samples: usize,
    /// The number of seeds.
    pub blocks: usize,
    /// Runs less seeds less covariates: the dimension of the residuals.
    pub degrees_of_freedom: usize,
    /// Two-sided p-value over drawn permutations of residuals within seeds; the observed order counts as one of them.
    pub p_value: f64,
    /// The number of permutations, the observed order included.
    pub permutations: usize,
}

/// The rank correlation of `x` and `y` within seeds, given covariates.
///
/// **Definition** within each seed every variable is replaced by its ranks less their mean. Over all seeds together, x and y
/// are replaced by their residuals from the least-squares regression on the covariates; the coefficient is the correlation
/// of these residuals. For one seed it is Spearman's partial correlation, for one covariate
/// (ρ_xy − ρ_xz ρ_yz)/√((1 − ρ_xz²)(1 − ρ_yz²)).
///
/// The test permutes the residuals of y within seeds, adds its fitted values, and computes the coefficient of the result
/// (Freedman and Lane 1983). The p-value is the share of permutations whose coefficient is at least as far from 0.
///
/// **Conventions** covariates that depend on the others linearly count in the degrees of freedom but change nothing else.
/// The test is approximate, as residuals are not exactly exchangeable; it needs several degrees of freedom.
///
/// **Errors** [`Error::TooFewValues`] for fewer than two degrees of freedom or a seed of fewer than two runs,
/// [`Error::UnequalLengths`] where lists of runs or of covariates differ in length, [`Error::NonFiniteValue`],
/// [`Error::NoVariation`] where the covariates explain the ranks of x or y completely, [`Error::InvalidSetting`].
///
/// **Source** Kendall, Partial rank correlation, Biometrika 1942 (with Spearman's ρ in place of τ); Freedman and Lane, A
/// nonstochastic interpretation of reported significance levels, Journal of Business & Economic Statistics 1983.
///
/// ```
/// use statistics::{Block, CovariateBlock, PermutationSettings, partial_rank_correlation};
/// let (x, y, z) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0], [1.0, 3.0, 2.0, 5.0, 4.0]);
/// let runs = CovariateBlock { block: Block { x: &x, y: &y }, covariates: &[&z] };
/// let found = partial_rank_correlation(&[runs], &PermutationSettings::default())?;
/// // ρ_xy = 0.8, ρ_xz = 0.8, ρ_yz = 0.3: (0.8 − 0.24)/√(0.36 · 0.91).
/// assert!((found.coefficient - 0.56 / (0.36f64 * 0.91).sqrt()).abs() < 1e-14);
/// # statistics::Result::Ok(())
/// ```
pub fn partial_rank_correlation(
    blocks: &[CovariateBlock<'_>],
    settings: &PermutationSettings,
) -> Result<PartialCorrelation> {
    settings.check()?;
    let (samples, count) = checked(blocks)?;
    let basis = covariate_basis(blocks, count);
    let (x, y) =
        (column(blocks, &|block| centred_ranks(block.block.x)), column(blocks, &|block| centred_ranks(block.block.y)));
    let (residual_x, residual_y) = (residual(&x, &basis), residual(&y, &basis));
    for (which, values, rest) in [("first", &x, &residual_x), ("second", &y, &residual_y)] {
        if norm(rest) <= COLLINEAR * norm(values) {
            return Err(Error::NoVariation { statistic: NAME, which, count: samples });
        }
    }
    let undefined = Error::NoVariation { statistic: NAME, which: "second", count: samples };
    let coefficient = pearson(&residual_x, &residual_y).ok_or(undefined)?;
    let sizes: Vec<usize> = blocks.iter().map(|block| block.block.len()).collect();
    let per_block = contributions(&residual_x, &residual_y, &sizes);
    let test = ResidualPermutation { basis: &basis, sizes: &sizes, x: &residual_x, y: &y, residual_y: &residual_y };
    Ok(PartialCorrelation {
        coefficient,
        per_block,
        samples,
        blocks: blocks.len(),
        degrees_of_freedom: samples - blocks.len() - count,
        p_value: test.p_value(coefficient, settings),
        permutations: settings.draws + 1,
    })
}

/// Checks the lists, and returns the numbers of runs and of covariates.
fn checked(blocks: &[CovariateBlock<'_>]) -> Result<(usize, usize)> {
    let count = blocks.first().map_or(0, |block| block.covariates.len());
    for CovariateBlock { block, covariates } in blocks {
        block.check(NAME, 2)?;
        check_lengths(NAME, count, covariates.len())?;
        for covariate in *covariates {
            check_lengths(NAME, block.len(), covariate.len())?;
            check_values(NAME, covariate, 2)?;
        }
    }
    let samples: usize = blocks.iter().map(|block| block.block.len()).sum();
    let needed = blocks.len() + count + 2;
    if samples < needed {
        return Err(Error::TooFewValues { statistic: NAME, needed, got: samples });
    }
    Ok((samples, count))
}

/// A value of each run, seed by seed.
fn column(blocks: &[CovariateBlock<'_>], of: &dyn Fn(&CovariateBlock<'_>) -> Vec<f64>) -> Vec<f64> {
    blocks.iter().flat_map(of).collect()
}

/// An orthonormal basis of the within-seed ranks of the covariates.
fn covariate_basis(blocks: &[CovariateBlock<'_>], count: usize) -> Vec<Vec<f64>> {
    orthonormal((0..count).map(|index| column(blocks, &|block| centred_ranks(block.covariates[index]))))
}

/// The slope of `y` on `x` within each seed, given covariates.
///
/// **Definition** x and y (values, not ranks) less their mean within each seed are replaced by their residuals from the
/// least-squares regression on the within-seed ranks of the covariates, over all seeds together. The slope of a seed is
/// Σ r_x r_y/Σ r_x² over its runs. Take the slopes to [`Effect::over_seeds`](crate::Effect::over_seeds).
///
/// **Conventions** take logarithms first where factors are meant. Unlike a correlation, a slope is not bounded: slopes that
/// differ in sign from seed to seed are far from normal as correlations near ±1, and three of them would agree too often.
///
/// **Errors** as for [`partial_rank_correlation`]; [`Error::NoVariation`] where the covariates explain x completely in a
/// seed.
///
/// **Source** Frisch and Waugh, Partial time regressions as compared with individual trends, Econometrica 1933.
///
/// ```
/// use statistics::{Block, CovariateBlock, partial_slopes};
/// // y = 2x + 10·rank(z): given z, the slope is 2.
/// let (x, z) = ([1.0, 5.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0]);
/// let y = [12.0, 30.0, 34.0, 48.0];
/// let slopes = partial_slopes(&[CovariateBlock { block: Block { x: &x, y: &y }, covariates: &[&z] }])?;
/// assert!(slopes.len() == 1 && (slopes[0] - 2.0).abs() < 1e-12);
/// # statistics::Result::Ok(())
/// ```
pub fn partial_slopes(blocks: &[CovariateBlock<'_>]) -> Result<Vec<f64>> {
    let (samples, count) = checked(blocks)?;
    let basis = covariate_basis(blocks, count);
    let centred_x = column(blocks, &|block| centred(block.block.x));
    let (x, y) = (residual(&centred_x, &basis), residual(&column(blocks, &|block| centred(block.block.y)), &basis));
    let mut slopes = Vec::with_capacity(blocks.len());
    let mut start = 0;
    for block in blocks {
        let runs = start..start + block.block.len();
        start = runs.end;
        let (x, y) = (&x[runs.clone()], &y[runs]);
        if norm(x) <= COLLINEAR * norm(&centred_x) {
            return Err(Error::NoVariation { statistic: NAME, which: "first", count: samples });
        }
        slopes.push(x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / norm(x).powi(2));
    }
    Ok(slopes)
}

/// Values less their mean.
fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

/// The contribution of each seed to the correlation of residuals.
fn contributions(x: &[f64], y: &[f64], sizes: &[usize]) -> Vec<f64> {
    let scale = sizes.len() as f64 / (norm(x) * norm(y));
    let mut products = x.iter().zip(y).map(|(x, y)| x * y);
    sizes.iter().map(|&size| scale * products.by_ref().take(size).sum::<f64>()).collect()
}

/// The inputs of the permutation test of Freedman and Lane.
struct ResidualPermutation<'a> {
    basis: &'a [Vec<f64>],
    /// The number of runs of each seed, in the order of the columns.
    sizes: &'a [usize],
    /// Residuals of x.
    x: &'a [f64],
    /// Centred ranks of y.
    y: &'a [f64],
    /// Residuals of y.
    residual_y: &'a [f64],
}

impl ResidualPermutation<'_> {
    fn p_value(&self, observed: f64, settings: &PermutationSettings) -> f64 {
        let reach = observed.abs() - ROUNDING;
        let extreme = (0..settings.draws)
            .into_par_iter()
            .filter(|&draw| {
                let stream = &mut streams::stream(settings.seed, STREAM, draw as u64);
                let permuted = residual(&self.permuted(stream), self.basis);
                // Permuted residuals that do not vary have no coefficient; they count as extreme, which is conservative.
                pearson(self.x, &permuted).is_none_or(|coefficient| coefficient.abs() >= reach)
            })
            .count();
        (extreme + 1) as f64 / (settings.draws + 1) as f64
    }

    /// Fitted values of y plus residuals that are permuted within seeds.
    fn permuted(&self, stream: &mut streams::Stream) -> Vec<f64> {
        let mut residuals = self.residual_y.to_vec();
        let mut rest = residuals.as_mut_slice();
        for &size in self.sizes {
            let (seed, others) = rest.split_at_mut(size);
            seed.shuffle(stream);
            rest = others;
        }
        let fitted = self.y.iter().zip(self.residual_y).map(|(y, residual)| y - residual);
        fitted.zip(residuals).map(|(fitted, residual)| fitted + residual).collect()
    }
}

/// Ranks less their mean.
fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let middle = 0.5 * (values.len() + 1) as f64;
    mean_ranks(values).into_iter().map(|rank| rank - middle).collect()
}

/// An orthonormal basis of the space that the columns span (modified Gram–Schmidt, each column twice).
fn orthonormal(columns: impl Iterator<Item = Vec<f64>>) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for column in columns {
        let rest = residual(&residual(&column, &basis), &basis);
        let length = norm(&rest);
        if length > COLLINEAR * norm(&column) {
            basis.push(rest.into_iter().map(|value| value / length).collect());
        }
    }
    basis
}

/// The part of `values` that is orthogonal to an orthonormal basis.
fn residual(values: &[f64], basis: &[Vec<f64>]) -> Vec<f64> {
    let mut rest = values.to_vec();
    for direction in basis {
        let along: f64 = rest.iter().zip(direction).map(|(a, b)| a * b).sum();
        rest.iter_mut().zip(direction).for_each(|(rest, direction)| *rest -= along * direction);
    }
    rest
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: PermutationSettings = PermutationSettings { exact_up_to: 0, draws: 2000, seed: 0 };

    fn of(blocks: &[CovariateBlock<'_>]) -> Result<PartialCorrelation> {
        partial_rank_correlation(blocks, &SETTINGS)
    }

    #[test]
    fn two_covariates_in_two_seeds_are_a_regression_of_ranks() {
        // NumPy 2: ranks by scipy.stats.rankdata within each seed, centred; residuals by numpy.linalg.lstsq on both
        // covariates over both seeds; scipy.stats.pearsonr of the residuals.
        let (x1, y1) = ([0.3, 1.2, 0.7, 2.5, 1.9, 0.1], [1.1, 0.2, 1.9, 2.4, 2.2, 0.9]);
        let (a1, b1) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.5, 0.1, 0.7, 0.3, 0.9, 0.2]);
        let (x2, y2) = ([2.0, 1.0, 4.0, 3.0, 6.0], [1.5, 2.5, 2.5, 4.5, 5.5]);
        let (a2, b2) = ([3.0, 1.0, 2.0, 5.0, 4.0], [0.4, 0.3, 0.9, 0.8, 0.1]);
        let first = CovariateBlock { block: Block { x: &x1, y: &y1 }, covariates: &[&a1, &b1] };
        let second = CovariateBlock { block: Block { x: &x2, y: &y2 }, covariates: &[&a2, &b2] };
        let found = of(&[first, second]).unwrap();
        assert!((found.coefficient - 0.6420438881391065).abs() < 1e-12, "{}", found.coefficient);
        assert_eq!((found.samples, found.blocks, found.degrees_of_freedom), (11, 2, 7));
        let mean = found.per_block.iter().sum::<f64>() / 2.0;
        assert!(found.per_block.len() == 2 && (mean - found.coefficient).abs() < 1e-12, "{:?}", found.per_block);
        // A third covariate that repeats the first changes nothing.
        let again = |block: &CovariateBlock<'_>| block.covariates[0].to_vec();
        let (a1_again, a2_again) = (again(&first), again(&second));
        let first = CovariateBlock { covariates: &[&a1, &b1, &a1_again], ..first };
        let second = CovariateBlock { covariates: &[&a2, &b2, &a2_again], ..second };
        let repeated = of(&[first, second]).unwrap();
        assert!((repeated.coefficient - found.coefficient).abs() < 1e-12);
    }

    #[test]
    fn without_covariates_one_seed_gives_spearmans_coefficient() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]);
        let found = of(&[CovariateBlock { block: Block { x: &x, y: &y }, covariates: &[] }]).unwrap();
        assert!((found.coefficient - 0.8).abs() < 1e-14);
        // 16 of 120 orders; 2000 draws have a standard error of 0.0076.
        assert!((found.p_value - 16.0 / 120.0).abs() < 0.03, "{}", found.p_value);
    }

    #[test]
    fn an_association_by_the_covariate_alone_is_no_evidence() {
        // x and y follow z with independent noise: p ≤ 0.05 in 5 % of 400 repetitions, standard error 0.011. Without the
        // covariate nearly all are rejected.
        let (mut partial, mut plain) = (0, 0);
        for repetition in 0..400 {
            let draws = streams::standard_normal(&mut streams::stream(1, "partial/tests", repetition), 40);
            let z: Vec<f64> = (0..20).map(f64::from).collect();
            let follow = |noise: &[f64]| z.iter().zip(noise).map(|(z, noise)| z + 4.0 * noise).collect::<Vec<f64>>();
            let (x, y) = (follow(&draws[..20]), follow(&draws[20..]));
            let settings = PermutationSettings { draws: 200, ..SETTINGS };
            let seeds = |with: bool| -> f64 {
                let (halves, mut blocks) = ([0..10, 10..20], Vec::new());
                let z: Vec<Vec<&[f64]>> = halves.iter().map(|half| vec![&z[half.clone()]]).collect();
                for (half, z) in halves.iter().zip(&z) {
                    let block = Block { x: &x[half.clone()], y: &y[half.clone()] };
                    blocks.push(CovariateBlock { block, covariates: if with { z } else { &[] } });
                }
                partial_rank_correlation(&blocks, &settings).unwrap().p_value
            };
            partial += usize::from(seeds(true) <= 0.05);
            plain += usize::from(seeds(false) <= 0.05);
        }
        assert!((5..=40).contains(&partial) && plain > 2 * partial + 40, "{partial} {plain}");
    }

    #[test]
    fn complete_explanation_and_small_samples_are_refused() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let y = [2.0, 1.0, 4.0, 3.0, 5.0];
        let by_x: [&[f64]; 1] = [&x];
        let by_y: [&[f64]; 1] = [&y];
        let short: [&[f64]; 1] = [&[1.0]];
        let with = |covariates| CovariateBlock { block: Block { x: &x, y: &y }, covariates };
        assert!(matches!(of(&[with(&by_x)]), Err(Error::NoVariation { which: "first", .. })));
        assert!(matches!(partial_slopes(&[with(&by_x)]), Err(Error::NoVariation { which: "first", .. })));
        assert!(matches!(partial_slopes(&[with(&short)]), Err(Error::UnequalLengths { .. })));
        assert!(matches!(of(&[with(&by_y)]), Err(Error::NoVariation { which: "second", .. })));
        let three: [&[f64]; 3] = [&[1.0, 3.0, 2.0, 5.0, 4.0], &[5.0, 1.0, 2.0, 3.0, 4.0], &[2.0, 5.0, 1.0, 3.0, 4.0]];
        assert!(matches!(of(&[with(&three)]), Err(Error::TooFewValues { needed: 6, got: 5, .. })));
        assert!(matches!(of(&[with(&short)]), Err(Error::UnequalLengths { left: 5, right: 1, .. })));
        assert!(matches!(of(&[]), Err(Error::TooFewValues { got: 0, .. })));
    }
}
