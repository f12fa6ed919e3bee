//! The evidence and the size of a trend: a metric over a swept value, with seeds as blocks.

use serde::{Deserialize, Serialize};

use super::{Effect, SeedValue};
use crate::sweep::{contrast, slope_over};
use crate::{Block, BlockedCorrelation, ChangeScale, Error, PermutationSettings, RankStatistic, Result};

const TREND: &str = "a trend";

/// One run of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// The seed.
    pub seed: u64,
    /// The swept value.
    pub x: f64,
    /// The metric.
    pub y: f64,
}

/// The evidence for a trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendEvidence {
    /// The mean within-seed rank correlation with its permutation test; its blocks are `seeds`.
    pub correlation: BlockedCorrelation,
    /// The seeds with at least two runs, in ascending order.
    pub seeds: Vec<u64>,
    /// The number of seeds that are left out because they have a single run.
    pub single_runs: usize,
    /// The smallest p-value that this test can have.
    pub smallest_p_value: f64,
}

/// The evidence for a trend: [`blocked_rank_correlation`](crate::blocked_rank_correlation) (Spearman) with seeds as blocks.
///
/// **Conventions** a seed with a single run cannot show a trend: it is left out and counted.
///
/// **Errors** [`Error::TooFewValues`] where no seed has two runs, and those of `blocked_rank_correlation`.
///
/// ```
/// use statistics::{PermutationSettings, SweepRun, trend_evidence};
/// let run = |seed, x, y| SweepRun { seed, x, y };
/// let runs = [run(0, 1.0, 5.0), run(0, 2.0, 4.0), run(1, 1.0, 6.0), run(1, 2.0, 5.5), run(2, 1.0, 7.0)];
/// let found = trend_evidence(&runs, &PermutationSettings::default())?;
/// assert_eq!((found.correlation.mean, found.seeds.as_slice(), found.single_runs), (-1.0, &[0, 1][..], 1));
/// // Two of the 2! · 2! orders have |mean ρ| = 1.
/// assert_eq!((found.correlation.p_value, found.smallest_p_value), (0.5, 0.5));
/// # statistics::Result::Ok(())
/// ```
pub fn trend_evidence(runs: &[SweepRun], settings: &PermutationSettings) -> Result<TrendEvidence> {
    let seeds = BySeed::of(runs);
    let (used, single): (Vec<&BySeed>, Vec<&BySeed>) = seeds.iter().partition(|seed| seed.x.len() > 1);
    if used.is_empty() {
        return Err(Error::TooFewValues { statistic: TREND, needed: 2, got: usize::from(!single.is_empty()) });
    }
    let blocks: Vec<Block<'_>> = used.iter().map(|seed| Block { x: &seed.x, y: &seed.y }).collect();
    let correlation = crate::blocked_rank_correlation(&blocks, RankStatistic::Spearman, settings)?;
    let sizes: Vec<usize> = blocks.iter().map(Block::len).collect();
    let smallest = smallest_trend_p_value(&sizes);
    let smallest_p_value = if correlation.exact { smallest } else { smallest.max(1.0 / correlation.permutations) };
    Ok(TrendEvidence {
        seeds: used.iter().map(|seed| seed.seed).collect(),
        single_runs: single.len(),
        smallest_p_value,
        correlation,
    })
}

/// The smallest p-value of an exact within-seed permutation test: 2/∏ m! over the numbers of runs m of the seeds.
///
/// **Conventions** at most 1. Ties make the smallest p-value larger.
///
/// ```
/// // Three values and three seeds: 2/6³. Holm's correction over 7 claims lifts it above 0.05.
/// let smallest = statistics::smallest_trend_p_value(&[3, 3, 3]);
/// assert!((smallest - 2.0 / 216.0).abs() < 1e-15 && 7.0 * smallest > 0.05);
/// ```
pub fn smallest_trend_p_value(runs_per_seed: &[usize]) -> f64 {
    let orders: f64 = runs_per_seed.iter().flat_map(|&runs| 2..=runs).map(|factor| factor as f64).product();
    (2.0 / orders).min(1.0)
}

/// The size of a trend, with the ends of the range that it is over.
///
/// **Definition** the values of x that have a run in every seed are *common*. Within each seed, the least-squares slope of
/// ln y (of y for [`ChangeScale::Difference`]) on ln x over its runs at common values, times ln(largest/smallest common value).
/// If the smallest is 0 (or below), the difference of ln y (of y) between the two ends. The mean over seeds with Student's
/// t-interval ([`Effect::over_seeds`]). On the factor scale the effect is the logarithm of the factor.
///
/// **Conventions** seeds with runs at fewer than two values are left out. Where all seeds have the same values this is
/// [`sweep_change`](crate::sweep_change) or [`end_to_end_change`](crate::end_to_end_change), except that one seed has a size
/// without an interval. Nothing is extrapolated to values that a seed lacks.
///
/// **Errors** [`Error::TooFewValues`] with fewer than two common values, [`Error::NotPositive`] for a metric of at most 0 on the
/// factor scale, [`Error::NonFiniteValue`].
///
/// ```
/// use statistics::{ChangeScale, SweepRun, trend_size};
/// // y = c x^b with b = −0.5 and −0.3 over 1 to 100: the logarithm of the factor is −0.4 ln 100.
/// let seeds = [(0, 2.0, -0.5), (1, 5.0, -0.3)];
/// let of = |(seed, c, b): (u64, f64, f64)| [1.0f64, 10.0, 100.0].map(|x| SweepRun { seed, x, y: c * x.powf(b) });
/// let runs: Vec<SweepRun> = seeds.into_iter().flat_map(of).collect();
/// let (effect, range) = trend_size(&runs, ChangeScale::Factor, 0.95)?;
/// assert!((effect.mean + 0.4 * 100f64.ln()).abs() < 1e-12 && range == (1.0, 100.0));
/// # statistics::Result::Ok(())
/// ```
pub fn trend_size(runs: &[SweepRun], scale: ChangeScale, level: f64) -> Result<(Effect, (f64, f64))> {
    let seeds: Vec<BySeed> = BySeed::of(runs).into_iter().filter(|seed| seed.values() > 1).collect();
    let mut values: Vec<f64> = seeds.iter().flat_map(|seed| seed.x.iter().copied()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    values.retain(|value| seeds.iter().all(|seed| seed.x.contains(value)));
    let [from, .., to] = values[..] else {
        return Err(Error::TooFewValues { statistic: "the size of a trend", needed: 2, got: values.len() });
    };
    let change = |seed: &BySeed| {
        let seed = seed.at(&values);
        let block = Block { x: &seed.x, y: &seed.y };
        let value =
            if from > 0.0 { slope_over(&block, scale, (from, to)) } else { contrast(&block, scale, (from, to)) };
        value.map(|value| SeedValue { seed: seed.seed, value })
    };
    let per_seed = seeds.iter().map(change).collect::<Result<Vec<SeedValue>>>()?;
    Ok((Effect::over_seeds(per_seed, level)?, (from, to)))
}

/// The runs of one seed.
struct BySeed {
    seed: u64,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl BySeed {
    /// The runs by seed, in ascending order of the seeds.
    fn of(runs: &[SweepRun]) -> Vec<Self> {
        let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let own = |seed: u64| {
            let own = runs.iter().filter(move |run| run.seed == seed);
            let (x, y) = own.map(|run| (run.x, run.y)).unzip();
            Self { seed, x, y }
        };
        seeds.into_iter().map(own).collect()
    }

    /// The number of different values of x.
    fn values(&self) -> usize {
        let mut values = self.x.clone();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        values.len()
    }

    /// The runs at these values.
    fn at(&self, values: &[f64]) -> Self {
        let kept = self.x.iter().zip(&self.y).filter(|(x, _)| values.contains(x));
        let (x, y) = kept.map(|(x, y)| (*x, *y)).unzip();
        Self { seed: self.seed, x, y }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(rows: &[(u64, f64, f64)]) -> Vec<SweepRun> {
        rows.iter().map(|&(seed, x, y)| SweepRun { seed, x, y }).collect()
    }

    #[test]
    fn nothing_is_extrapolated_to_a_value_that_a_seed_lacks() {
        let rows: Vec<(u64, f64, f64)> = [0, 1]
            .iter()
            .flat_map(|&seed| [0.01f64, 0.1, 1.0].map(|x| (seed, x, (2.0 + seed as f64) / x.sqrt())))
            .collect();
        let (all, range) = trend_size(&runs(&rows), ChangeScale::Factor, 0.95).unwrap();
        assert!((all.mean + 10f64.ln()).abs() < 1e-12 && range == (0.01, 1.0));
        let (fewer, range) = trend_size(&runs(&rows[1..]), ChangeScale::Factor, 0.95).unwrap();
        assert!((fewer.mean + 0.5 * 10f64.ln()).abs() < 1e-12 && range == (0.1, 1.0));
    }

    #[test]
    fn equal_values_give_the_change_over_the_sweep() {
        let x = [0.05, 0.1, 0.2, 0.4];
        let y = [[1.30, 1.12, 0.98, 0.93], [1.41, 1.22, 1.08, 0.94], [1.25, 1.15, 1.01, 0.90]];
        let rows: Vec<SweepRun> = y
            .iter()
            .enumerate()
            .flat_map(|(seed, y)| x.iter().zip(y).map(move |(&x, &y)| SweepRun { seed: seed as u64, x, y }))
            .collect();
        let blocks: Vec<Block<'_>> = y.iter().map(|y| Block { x: &x, y }).collect();
        for scale in [ChangeScale::Factor, ChangeScale::Difference] {
            let (found, _) = trend_size(&rows, scale, 0.95).unwrap();
            let expected = crate::sweep_change(&blocks, scale, 0.95).unwrap();
            let undo = |value: f64| if scale == ChangeScale::Factor { value.exp() } else { value };
            assert!((undo(found.mean) - expected.change).abs() < 1e-14);
            assert!((undo(found.interval.unwrap().high) - expected.interval.high).abs() < 1e-14);
        }
    }

    #[test]
    fn a_sweep_with_zero_compares_its_ends() {
        let rows =
            runs(&[(0, 0.0, 50.0), (0, 0.1, 90.0), (0, 1.0, 53.0), (1, 0.0, 50.0), (1, 1.0, 55.0), (2, 0.1, 70.0)]);
        let (found, range) = trend_size(&rows, ChangeScale::Difference, 0.95).unwrap();
        assert_eq!((found.mean, found.per_seed.len(), range), (4.0, 2, (0.0, 1.0)));
        let interval = found.interval.unwrap();
        assert!((interval.low - (4.0 - 12.706_204_736_174_7)).abs() < 1e-9);
    }

    #[test]
    fn single_runs_single_values_and_zeros_are_refused_or_left_out() {
        let settings = PermutationSettings::default();
        assert!(matches!(trend_evidence(&[], &settings), Err(Error::TooFewValues { got: 0, .. })));
        let single = runs(&[(0, 1.0, 2.0), (1, 1.0, 3.0)]);
        assert!(matches!(trend_evidence(&single, &settings), Err(Error::TooFewValues { got: 1, .. })));
        assert!(matches!(trend_size(&single, ChangeScale::Factor, 0.95), Err(Error::TooFewValues { got: 0, .. })));
        let zero = runs(&[(0, 1.0, 0.0), (0, 2.0, 3.0)]);
        assert!(matches!(trend_size(&zero, ChangeScale::Factor, 0.95), Err(Error::NotPositive { .. })));
        let (one, _) = trend_size(&zero, ChangeScale::Difference, 0.95).unwrap();
        assert_eq!((one.mean, one.interval), (3.0, None));
        assert_eq!(smallest_trend_p_value(&[1]), 1.0);
    }
}
