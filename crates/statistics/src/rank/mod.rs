//! Rank correlation with a bootstrap interval and a permutation test.

mod coefficient;

use std::fmt;

use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use coefficient::sign;
pub use coefficient::{RankStatistic, mean_ranks, pearson};

use crate::error::{check_lengths, check_values};
use crate::permutation::for_each_permutation;
use crate::{Error, Interval, IntervalSettings, Result, RunningMean, normal_quantile, percentile_interval};

const NAME: &str = "a rank correlation";
/// Up to this many pairs every permutation is tried (7! = 5040).
const EXACT_UP_TO: usize = 7;
/// Two coefficients that differ by less count as equal: their difference is rounding.
pub(crate) const ROUNDING: f64 = 1e-12;

// The names of the streams date from when this code belonged to `fewshot`; another name would change every resample.
const BOOTSTRAP: &str = "fewshot/rank-bootstrap";
const PERMUTATIONS: &str = "fewshot/rank-permutation";

/// A rank correlation with its interval and its test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankCorrelation {
    /// The coefficient that was computed.
    pub statistic: RankStatistic,
    /// Its value, −1 to 1.
    pub coefficient: f64,
    /// The number of pairs of values.
    pub samples: usize,
    /// The number of groups that were resampled: the number of pairs where no groups were given.
    pub groups: usize,
    /// Standard deviation of the coefficient over the resamples.
    pub standard_error: f64,
    /// Percentile bootstrap interval: groups are resampled with replacement.
    pub bootstrap: Interval,
    /// The number of resamples in which the coefficient is defined; the interval is over these.
    pub resamples: usize,
    /// Interval by Fisher's z. None for fewer than 5 pairs, for a coefficient of ±1, and where groups were given, as it
    /// assumes independent pairs.
    ///
    /// **Source** the variance of atanh(ρ) is (1 + ρ²/2)/(n − 3) by Bonett and Wright (2000), that of atanh(τ)
    /// 0.437/(n − 4) by Fieller, Hartley and Pearson (1957).
    pub fisher: Option<Interval>,
    /// Two-sided p-value: the share of permutations (the observed order is one of them) whose coefficient is at least as
    /// far from 0, or with groups from the mean over permutations.
    pub p_value: f64,
    /// The number of permutations that were tried.
    pub permutations: usize,
    /// Whether these are all permutations.
    pub exact: bool,
}

impl fmt::Display for RankCorrelation {
    /// The coefficient with its bootstrap interval and p-value: `Spearman's ρ 0.80 (0.35 to 0.96), p = 0.02`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statistic, coefficient, bootstrap, p_value, .. } = self;
        write!(f, "{statistic} {coefficient:.2} ({:.2} to {:.2}), p = {p_value:.2}", bootstrap.low, bootstrap.high)
    }
}

/// The rank correlation of `x` and `y`.
///
/// **Conventions** equal values share their mean rank (ρ) or count as tied (τ). For up to 7 pairs the permutation test is
/// exact. For more it draws `settings.resamples` permutations and counts the observed order as one of them.
///
/// **Errors** [`Error::UnequalLengths`], [`Error::TooFewValues`] for fewer than 3, [`Error::NoVariation`] where all
/// values of a list are equal, [`Error::NonFiniteValue`], [`Error::InvalidSetting`].
///
/// **Source** Spearman 1904; Kendall, Rank correlation methods, 1948, equation 3.3.
///
/// ```
/// use statistics::{IntervalSettings, RankStatistic, rank_correlation};
/// let (x, y) = ([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]);
/// let rho = rank_correlation(&x, &y, RankStatistic::Spearman, &IntervalSettings::default())?;
/// // Σd² = 2: ρ = 1 − 6·2/(4·15) = 0.8, and 8 of the 24 orders have |ρ| ≥ 0.8.
/// assert!((rho.coefficient - 0.8).abs() < 1e-15);
/// assert!(rho.exact && (rho.p_value - 8.0 / 24.0).abs() < 1e-15);
/// assert!(rho.to_string().starts_with("Spearman's ρ 0.80 ("));
/// # statistics::Result::Ok(())
/// ```
pub fn rank_correlation(
    x: &[f64],
    y: &[f64],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Result<RankCorrelation> {
    let groups: Vec<usize> = (0..x.len()).collect();
    correlate(Pairs { x, y, groups: &groups, grouped: false }, statistic, settings)
}

/// The rank correlation of runs that come in groups, such as a sweep repeated with several seeds.
///
/// **Definition** the coefficient is over all pairs. The bootstrap resamples whole groups, since the runs of a seed are
/// not independent. The permutation test permutes `y` within each group and counts coefficients at least as far from the
/// mean over permutations, so that differences between groups alone are no evidence.
///
/// **Errors** as [`rank_correlation`], and [`Error::TooFewValues`] for fewer than two groups.
///
/// ```
/// use statistics::{IntervalSettings, RankStatistic, rank_correlation_in_groups};
/// // Three seeds, four learning rates each: accuracy falls within every seed.
/// let rate = [0.1, 0.2, 0.4, 0.8].repeat(3);
/// let accuracy = [0.9, 0.8, 0.7, 0.6, 0.8, 0.7, 0.6, 0.5, 0.95, 0.85, 0.75, 0.65];
/// let seed: Vec<usize> = (0..12).map(|run| run / 4).collect();
/// let settings = IntervalSettings::default();
/// let found = rank_correlation_in_groups(&rate, &accuracy, &seed, RankStatistic::Spearman, &settings)?;
/// assert!(found.bootstrap.high < 0.0 && found.p_value < 0.01);
/// # statistics::Result::Ok(())
/// ```
pub fn rank_correlation_in_groups(
    x: &[f64],
    y: &[f64],
    groups: &[usize],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Result<RankCorrelation> {
    correlate(Pairs { x, y, groups, grouped: true }, statistic, settings)
}

/// Pairs of values, each in a group.
#[derive(Clone, Copy)]
struct Pairs<'a> {
    x: &'a [f64],
    y: &'a [f64],
    groups: &'a [usize],
    /// Whether the caller gave the groups; otherwise each pair is its own.
    grouped: bool,
}

impl Pairs<'_> {
    fn check(&self) -> Result<()> {
        check_lengths(NAME, self.x.len(), self.y.len())?;
        check_lengths(NAME, self.x.len(), self.groups.len())?;
        check_values(NAME, self.x, 3)?;
        check_values(NAME, self.y, 3)?;
        for (which, values) in [("first", self.x), ("second", self.y)] {
            if values.iter().all(|value| *value == values[0]) {
                return Err(Error::NoVariation { statistic: NAME, which, count: values.len() });
            }
        }
        Ok(())
    }
}

fn correlate(pairs: Pairs<'_>, statistic: RankStatistic, settings: &IntervalSettings) -> Result<RankCorrelation> {
    settings.check()?;
    pairs.check()?;
    let Pairs { x, y, groups, grouped } = pairs;
    let members = group_members(groups);
    if members.len() < 2 {
        return Err(Error::TooFewValues { statistic: "a bootstrap over groups", needed: 2, got: members.len() });
    }
    let coefficient =
        statistic.coefficient(x, y).ok_or(Error::NoVariation { statistic: NAME, which: "first", count: x.len() })?;
    let resampled = bootstrap(pairs, &members, statistic, settings);
    let exact = !grouped && x.len() <= EXACT_UP_TO;
    let (p_value, permutations) = if exact {
        exact_permutations(x, y, statistic, coefficient)
    } else {
        // Without given groups all pairs are permuted together.
        let within = if grouped { members.clone() } else { vec![(0..x.len()).collect()] };
        drawn_permutations(pairs, &within, statistic, coefficient, settings)
    };
    let spread: RunningMean = resampled.iter().copied().collect();
    Ok(RankCorrelation {
        statistic,
        coefficient,
        samples: x.len(),
        groups: members.len(),
        standard_error: spread.standard_deviation().unwrap_or(0.0),
        resamples: resampled.len(),
        bootstrap: percentile_interval(resampled, settings.level),
        fisher: if grouped { None } else { fisher_interval(coefficient, x.len(), statistic, settings.level) },
        p_value,
        permutations,
        exact,
    })
}

/// The positions of each group's members, groups in ascending order.
pub(crate) fn group_members(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut members: std::collections::BTreeMap<usize, Vec<usize>> = Default::default();
    groups.iter().enumerate().for_each(|(at, &group)| members.entry(group).or_default().push(at));
    members.into_values().collect()
}

fn bootstrap(
    pairs: Pairs<'_>,
    members: &[Vec<usize>],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Vec<f64> {
    (0..settings.resamples)
        .into_par_iter()
        .filter_map(|resample| {
            let stream = &mut streams::stream(settings.seed, BOOTSTRAP, resample as u64);
            let drawn: Vec<usize> =
                (0..members.len()).flat_map(|_| &members[stream.random_range(0..members.len())]).copied().collect();
            let pick = |values: &[f64]| drawn.iter().map(|&at| values[at]).collect::<Vec<_>>();
            statistic.coefficient(&pick(pairs.x), &pick(pairs.y))
        })
        .collect()
}

/// The two-sided p-value over all permutations, and their number.
fn exact_permutations(x: &[f64], y: &[f64], statistic: RankStatistic, observed: f64) -> (f64, usize) {
    let (mut extreme, mut total) = (0usize, 0usize);
    for_each_permutation(&mut y.to_vec(), y.len(), &mut |permuted| {
        total += 1;
        let coefficient = statistic.coefficient(x, permuted);
        extreme += usize::from(coefficient.is_some_and(|value| value.abs() >= observed.abs() - ROUNDING));
    });
    (extreme as f64 / total as f64, total)
}

/// The two-sided p-value over drawn permutations within groups, and their number with the observed order.
fn drawn_permutations(
    pairs: Pairs<'_>,
    within: &[Vec<usize>],
    statistic: RankStatistic,
    observed: f64,
    settings: &IntervalSettings,
) -> (f64, usize) {
    let permuted: Vec<f64> = (0..settings.resamples)
        .into_par_iter()
        .map(|permutation| {
            let stream = &mut streams::stream(settings.seed, PERMUTATIONS, permutation as u64);
            let mut permuted = pairs.y.to_vec();
            for group in within {
                let mut shuffled = group.clone();
                shuffled.shuffle(stream);
                group.iter().zip(shuffled).for_each(|(&to, from)| permuted[to] = pairs.y[from]);
            }
            // A permutation of lists that vary has a coefficient.
            statistic.coefficient(pairs.x, &permuted).unwrap_or(observed)
        })
        .collect();
    let permutations = permuted.len() + 1;
    // Within several groups the coefficient is not symmetric around 0, but around the value that the groups alone cause.
    let centre = match within {
        [_] => 0.0,
        _ => (permuted.iter().sum::<f64>() + observed) / permutations as f64,
    };
    let reach = (observed - centre).abs() - ROUNDING;
    let extreme = 1 + permuted.iter().filter(|value| (*value - centre).abs() >= reach).count();
    (extreme as f64 / permutations as f64, permutations)
}

fn fisher_interval(coefficient: f64, samples: usize, statistic: RankStatistic, level: f64) -> Option<Interval> {
    if samples < 5 || coefficient.abs() >= 1.0 {
        return None;
    }
    let n = samples as f64;
    let variance = match statistic {
        RankStatistic::Spearman => (1.0 + 0.5 * coefficient * coefficient) / (n - 3.0),
        RankStatistic::Kendall => 0.437 / (n - 4.0),
    };
    let half = normal_quantile(0.5 + 0.5 * level) * variance.sqrt();
    let z = coefficient.atanh();
    Some(Interval::new((z - half).tanh(), (z + half).tanh(), level))
}

#[cfg(test)]
mod tests;
