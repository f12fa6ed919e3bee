//! Rank correlation with a bootstrap interval and a permutation test.

use std::fmt;

use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::interval::{check_values, quantile};
use crate::{Error, Interval, IntervalSettings, Result};

/// Up to this number of pairs the permutation test is exact (7! = 5040 permutations).
const EXACT_UP_TO: usize = 7;

/// A coefficient of rank correlation.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankStatistic {
    /// Spearman's ρ: Pearson's correlation of the ranks; ties get their mean rank.
    Spearman,
    /// Kendall's τ_b: (concordant − discordant)/√((pairs − ties in x)(pairs − ties in y)).
    Kendall,
}

/// A rank correlation with its standard error, intervals and p-value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankCorrelation {
    /// The coefficient used.
    pub statistic: RankStatistic,
    /// Value of the coefficient, −1 to 1.
    pub coefficient: f64,
    /// Number of pairs of values (n).
    pub samples: usize,
    /// Number of groups resampled; equal to `samples` without groups.
    pub groups: usize,
    /// Standard deviation of the coefficient over the resamples.
    pub standard_error: f64,
    /// Percentile bootstrap interval; groups are resampled with replacement.
    pub bootstrap: Interval,
    /// Number of resamples in which the coefficient is defined; the interval uses these.
    pub resamples: usize,
    /// Interval by Fisher's z. The variance is (1 + ρ²/2)/(n − 3) for ρ (Bonett and Wright 2000) and 0.437/(n − 4) for τ
    /// (Fieller, Hartley and Pearson 1957). None for fewer than 5 pairs, for a coefficient of ±1, and with groups,
    /// because it assumes independent pairs.
    pub fisher: Option<Interval>,
    /// Two-sided permutation p-value: the share of permutations (the observed order included) whose coefficient is at
    /// least as far from 0 as the observed one. With groups, distances are from the mean over permutations.
    pub p_value: f64,
    /// Number of permutations, the observed order included.
    pub permutations: usize,
    /// Whether all permutations were enumerated.
    pub exact: bool,
}

impl fmt::Display for RankStatistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RankStatistic::Spearman => "Spearman's ρ",
            RankStatistic::Kendall => "Kendall's τ",
        })
    }
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
/// **Conventions** ties get their mean rank. Up to 7 pairs the permutation test is exact. Beyond that it draws
/// `settings.resamples` permutations and counts the observed order as one more.
///
/// **Errors** [`Error::UnequalLengths`], [`Error::TooFewValues`] for fewer than 3 pairs, [`Error::NoVariation`] where all
/// values of a list are equal, [`Error::NonFiniteValue`], [`Error::InvalidSetting`].
///
/// **Source** Spearman 1904; Kendall, Rank correlation methods, 1948, equation 3.3.
///
/// ```
/// use fewshot::{IntervalSettings, RankStatistic, rank_correlation};
/// // Σd² = 0 + 1 + 1 + 0 = 2: ρ = 1 − 6·2/(4·15) = 0.8. Five of six pairs agree: τ = 4/6.
/// let (x, y) = ([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]);
/// let rho = rank_correlation(&x, &y, RankStatistic::Spearman, &IntervalSettings::default())?;
/// let tau = rank_correlation(&x, &y, RankStatistic::Kendall, &IntervalSettings::default())?;
/// assert!((rho.coefficient - 0.8).abs() < 1e-15 && (tau.coefficient - 4.0 / 6.0).abs() < 1e-15);
/// // 8 of the 24 orders have |ρ| ≥ 0.8.
/// assert!(rho.exact && (rho.p_value - 8.0 / 24.0).abs() < 1e-15);
/// assert!(rho.to_string().starts_with("Spearman's ρ 0.80 ("));
/// # fewshot::Result::Ok(())
/// ```
pub fn rank_correlation(
    x: &[f64],
    y: &[f64],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Result<RankCorrelation> {
    let groups: Vec<usize> = (0..x.len()).collect();
    correlate(x, y, &groups, statistic, settings, false)
}

/// The rank correlation of grouped runs, such as a sweep repeated with several seeds.
///
/// **Definition** the coefficient is over all pairs. The bootstrap resamples whole groups, because runs of one seed are
/// not independent. The permutation test shuffles `y` within each group and compares distances from the mean over
/// permutations. Differences between groups alone are therefore no evidence.
///
/// **Errors** as [`rank_correlation`], and [`Error::TooFewValues`] for fewer than two groups.
///
/// ```
/// use fewshot::{IntervalSettings, RankStatistic, rank_correlation_in_groups};
/// // Three seeds, four learning rates each: accuracy falls within every seed.
/// let rate = [0.1, 0.2, 0.4, 0.8].repeat(3);
/// let accuracy = [0.9, 0.8, 0.7, 0.6, 0.8, 0.7, 0.6, 0.5, 0.95, 0.85, 0.75, 0.65];
/// let seed: Vec<usize> = (0..12).map(|run| run / 4).collect();
/// let settings = IntervalSettings::default();
/// let found = rank_correlation_in_groups(&rate, &accuracy, &seed, RankStatistic::Spearman, &settings)?;
/// assert!(found.bootstrap.high < 0.0 && found.p_value < 0.01);
/// # fewshot::Result::Ok(())
/// ```
pub fn rank_correlation_in_groups(
    x: &[f64],
    y: &[f64],
    groups: &[usize],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Result<RankCorrelation> {
    correlate(x, y, groups, statistic, settings, true)
}

fn correlate(
    x: &[f64],
    y: &[f64],
    groups: &[usize],
    statistic: RankStatistic,
    settings: &IntervalSettings,
    grouped: bool,
) -> Result<RankCorrelation> {
    const NAME: &str = "a rank correlation";
    settings.check()?;
    for other in [y.len(), groups.len()] {
        if x.len() != other {
            return Err(Error::UnequalLengths { statistic: NAME, left: x.len(), right: other });
        }
    }
    check_values(NAME, x, 3)?;
    check_values(NAME, y, 3)?;
    for (which, values) in [("first", x), ("second", y)] {
        if values.iter().all(|value| *value == values[0]) {
            return Err(Error::NoVariation { statistic: NAME, which, count: values.len() });
        }
    }
    let members = group_members(groups);
    if members.len() < 2 {
        return Err(Error::TooFewValues { statistic: "a bootstrap over groups", needed: 2, got: members.len() });
    }
    let coefficient =
        statistic.of(x, y).ok_or(Error::NoVariation { statistic: NAME, which: "first", count: x.len() })?;
    let resampled = bootstrap(x, y, &members, statistic, settings);
    let exact = !grouped && x.len() <= EXACT_UP_TO;
    let (p_value, permutations) = if exact {
        exact_permutations(x, y, statistic, coefficient)
    } else {
        // Without groups, all pairs form one group.
        let within = if grouped { members.clone() } else { vec![(0..x.len()).collect()] };
        drawn_permutations(x, y, &within, statistic, coefficient, settings)
    };
    Ok(RankCorrelation {
        statistic,
        coefficient,
        samples: x.len(),
        groups: members.len(),
        standard_error: standard_deviation(&resampled),
        bootstrap: percentile_interval(&resampled, settings.level),
        resamples: resampled.len(),
        fisher: if grouped { None } else { fisher_interval(coefficient, x.len(), statistic, settings.level) },
        p_value,
        permutations,
        exact,
    })
}

impl RankStatistic {
    /// The coefficient; none where all values of a list are equal.
    fn of(self, x: &[f64], y: &[f64]) -> Option<f64> {
        match self {
            RankStatistic::Spearman => pearson(&mean_ranks(x), &mean_ranks(y)),
            RankStatistic::Kendall => kendall(x, y),
        }
    }
}

/// Ranks from 1; ties get their mean rank.
fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let equal = order[start..].iter().take_while(|&&at| values[at] == values[order[start]]).count();
        let rank = start as f64 + 0.5 * (equal + 1) as f64;
        order[start..start + equal].iter().for_each(|&at| ranks[at] = rank);
        start += equal;
    }
    ranks
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
    }
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mut agreement, mut untied_x, mut untied_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let (a, b) = (sign(x[i] - x[j]), sign(y[i] - y[j]));
            agreement += a * b;
            untied_x += a.abs();
            untied_y += b.abs();
        }
    }
    (untied_x > 0 && untied_y > 0).then(|| agreement as f64 / ((untied_x * untied_y) as f64).sqrt())
}

fn sign(value: f64) -> i64 {
    i64::from(value > 0.0) - i64::from(value < 0.0)
}

fn group_members(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut members: std::collections::BTreeMap<usize, Vec<usize>> = Default::default();
    groups.iter().enumerate().for_each(|(at, &group)| members.entry(group).or_default().push(at));
    members.into_values().collect()
}

fn bootstrap(
    x: &[f64],
    y: &[f64],
    members: &[Vec<usize>],
    statistic: RankStatistic,
    settings: &IntervalSettings,
) -> Vec<f64> {
    (0..settings.resamples)
        .into_par_iter()
        .filter_map(|resample| {
            let stream = &mut streams::stream(settings.seed, "fewshot/rank-bootstrap", resample as u64);
            let drawn: Vec<usize> =
                (0..members.len()).flat_map(|_| &members[stream.random_range(0..members.len())]).copied().collect();
            let pick = |values: &[f64]| drawn.iter().map(|&at| values[at]).collect::<Vec<_>>();
            statistic.of(&pick(x), &pick(y))
        })
        .collect()
}

/// Tolerance for coefficients that differ by rounding only.
const ROUNDING: f64 = 1e-12;

fn exact_permutations(x: &[f64], y: &[f64], statistic: RankStatistic, observed: f64) -> (f64, usize) {
    let (mut extreme, mut total) = (0usize, 0usize);
    for_each_permutation(&mut y.to_vec(), y.len(), &mut |permuted| {
        total += 1;
        extreme += usize::from(statistic.of(x, permuted).is_some_and(|value| value.abs() >= observed.abs() - ROUNDING));
    });
    (extreme as f64 / total as f64, total)
}

/// Calls `visit` with every permutation (Heap's algorithm).
fn for_each_permutation(values: &mut [f64], length: usize, visit: &mut impl FnMut(&[f64])) {
    if length <= 1 {
        return visit(values);
    }
    for i in 0..length {
        for_each_permutation(values, length - 1, visit);
        if i + 1 < length {
            values.swap(if length.is_multiple_of(2) { i } else { 0 }, length - 1);
        }
    }
}

fn drawn_permutations(
    x: &[f64],
    y: &[f64],
    within: &[Vec<usize>],
    statistic: RankStatistic,
    observed: f64,
    settings: &IntervalSettings,
) -> (f64, usize) {
    let permuted: Vec<f64> = (0..settings.resamples)
        .into_par_iter()
        .map(|permutation| {
            let stream = &mut streams::stream(settings.seed, "fewshot/rank-permutation", permutation as u64);
            let mut permuted = y.to_vec();
            for group in within {
                let mut shuffled = group.clone();
                shuffled.shuffle(stream);
                group.iter().zip(shuffled).for_each(|(&to, from)| permuted[to] = y[from]);
            }
            // Both lists vary, so every permutation has a coefficient.
            statistic.of(x, &permuted).unwrap_or(observed)
        })
        .collect();
    let permutations = permuted.len() + 1;
    // With several groups the coefficients are centred on the correlation between the groups, not on 0.
    let centre = match within {
        [_] => 0.0,
        _ => (permuted.iter().sum::<f64>() + observed) / permutations as f64,
    };
    let reach = (observed - centre).abs() - ROUNDING;
    let extreme = 1 + permuted.iter().filter(|value| (*value - centre).abs() >= reach).count();
    (extreme as f64 / permutations as f64, permutations)
}

fn percentile_interval(values: &[f64], level: f64) -> Interval {
    let mut ascending = values.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Interval { low: quantile(&ascending, tail), high: quantile(&ascending, 1.0 - tail), level }
}

fn standard_deviation(values: &[f64]) -> f64 {
    let mut running = crate::interval::RunningMean::default();
    values.iter().for_each(|&value| running.push(value));
    running.standard_deviation().unwrap_or(0.0)
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
    let half = Normal::standard().inverse_cdf(0.5 + 0.5 * level) * variance.sqrt();
    let z = coefficient.atanh();
    Some(Interval { low: (z - half).tanh(), high: (z + half).tanh(), level })
}

#[cfg(test)]
mod tests;
