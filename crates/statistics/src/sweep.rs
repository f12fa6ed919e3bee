//! The size of a trend: the change of a metric over a sweep, with its interval over seeds.

use serde::{Deserialize, Serialize};

use crate::error::{check_level, check_values};
use crate::{Block, Error, Interval, Result, RunningMean};

const SLOPE: &str = "the change over a sweep";
const CONTRAST: &str = "an end-to-end contrast";

/// How the change of a metric is expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeScale {
    /// By the factor between the two ends, from logarithms of the metric; 1 is no change.
    Factor,
    /// By the difference between the two ends, in the unit of the metric (such as points of accuracy); 0 is no change.
    Difference,
}

impl ChangeScale {
    pub(crate) fn transform(self, statistic: &'static str, values: &[f64]) -> Result<Vec<f64>> {
        match self {
            Self::Factor => logarithms(statistic, values),
            Self::Difference => Ok(values.to_vec()),
        }
    }

    fn undo(self, change: f64) -> f64 {
        match self {
            Self::Factor => change.exp(),
            Self::Difference => change,
        }
    }
}

/// The change of a metric over a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepChange {
    /// The scale of `change`, `interval` and `per_seed`.
    pub scale: ChangeScale,
    /// The smallest swept value.
    pub from: f64,
    /// The largest swept value.
    pub to: f64,
    /// The change of the metric from `from` to `to`: the mean over seeds (for factors the geometric mean).
    pub change: f64,
    /// Student's t-interval of `change` over seeds.
    pub interval: Interval,
    /// The change within each seed.
    pub per_seed: Vec<f64>,
}

/// The change of a metric over a sweep, from the slope within each seed.
///
/// **Definition** stage one fits, within each seed s, the least-squares slope b_s of ln y (for
/// [`ChangeScale::Difference`] of y) over ln x. Stage two takes the b_s as independent values: their mean b̄ with Student's
/// t-interval, S − 1 degrees of freedom for S seeds. With L = ln(max x/min x) over all runs the change is exp(b̄ L) (for
/// a difference b̄ L), and the interval is mapped likewise.
///
/// **Conventions** blocks are seeds, `x` the swept value, `y` the metric. A value of x may be missing in a seed, whose slope
/// is then from its other runs and still extrapolated to the whole sweep.
///
/// **Errors** [`Error::TooFewValues`] for fewer than two seeds and for a seed of fewer than two runs, [`Error::NotPositive`]
/// for a swept value of 0 (use [`end_to_end_change`]) or a metric of 0 on the factor scale, [`Error::NoVariation`] where a
/// seed has a single swept value; [`Error::UnequalLengths`], [`Error::NonFiniteValue`], [`Error::InvalidSetting`].
///
/// **Source** summary statistics of repeated measures in two stages: Matthews, Altman, Campbell and Royston, Analysis of
/// serial measurements in medical research, BMJ 1990.
///
/// ```
/// use statistics::{Block, ChangeScale, sweep_change};
/// // y = c x^b with b = −0.5 and −0.3: over a sweep from 1 to 100, factors 100^b, geometric mean 100^−0.4.
/// let x = [1.0f64, 10.0, 100.0];
/// let metric = |c: f64, b: f64| x.map(|x| c * x.powf(b));
/// let (first, second) = (metric(2.0, -0.5), metric(5.0, -0.3));
/// let blocks = [Block { x: &x, y: &first }, Block { x: &x, y: &second }];
/// let found = sweep_change(&blocks, ChangeScale::Factor, 0.95)?;
/// assert!((found.change - 100f64.powf(-0.4)).abs() < 1e-14 && (found.per_seed[0] - 0.1).abs() < 1e-14);
/// // Slopes −0.5 and −0.3: standard error 0.1, t(1 degree of freedom, 97.5 %) = 12.7062.
/// assert!((found.interval.high / 100f64.powf(-0.4 + 12.706204736174694 * 0.1) - 1.0).abs() < 1e-10);
/// # statistics::Result::Ok(())
/// ```
pub fn sweep_change(blocks: &[Block<'_>], scale: ChangeScale, level: f64) -> Result<SweepChange> {
    check(SLOPE, blocks, level)?;
    let (from, to) = ends(blocks);
    let changes = blocks.iter().map(|block| slope_over(block, scale, (from, to))).collect::<Result<Vec<f64>>>()?;
    Ok(SweepChange::over_seeds(scale, (from, to), changes, level))
}

/// The change of a metric between the two ends of a sweep, for sweeps that contain a zero.
///
/// **Definition** within each seed d_s = ln y(largest x) − ln y(smallest x) (for [`ChangeScale::Difference`] without
/// logarithms); the mean of the d_s with Student's t-interval over seeds, mapped by the exponential on the factor scale.
///
/// **Conventions** as for [`sweep_change`]. The runs between the two ends are not used. Several runs of a seed at one end
/// are averaged (on the factor scale, their logarithms).
///
/// **Errors** [`Error::TooFewValues`] for fewer than two seeds and for a seed without a run at either end of the whole
/// sweep; otherwise as for [`sweep_change`], except that x may have any sign.
///
/// ```
/// use statistics::{Block, ChangeScale, end_to_end_change};
/// // Weight decay 0, 0.01, 0.1: accuracies change by +2 and +4 points from end to end.
/// let x = [0.0, 0.01, 0.1];
/// let blocks = [Block { x: &x, y: &[70.0, 73.0, 72.0] }, Block { x: &x, y: &[71.0, 70.0, 75.0] }];
/// let found = end_to_end_change(&blocks, ChangeScale::Difference, 0.95)?;
/// assert_eq!((found.change, found.per_seed.as_slice()), (3.0, &[2.0, 4.0][..]));
/// assert!((found.interval.half_width() - 12.706204736174694).abs() < 1e-10);
/// # statistics::Result::Ok(())
/// ```
pub fn end_to_end_change(blocks: &[Block<'_>], scale: ChangeScale, level: f64) -> Result<SweepChange> {
    check(CONTRAST, blocks, level)?;
    let (from, to) = ends(blocks);
    if from == to {
        return Err(Error::NoVariation { statistic: CONTRAST, which: "first", count: blocks.len() });
    }
    let changes = blocks.iter().map(|block| contrast(block, scale, (from, to))).collect::<Result<Vec<f64>>>()?;
    Ok(SweepChange::over_seeds(scale, (from, to), changes, level))
}

/// The slope of one seed over logarithms of x, times the logarithm of the range; before the scale is undone.
pub(crate) fn slope_over(block: &Block<'_>, scale: ChangeScale, (from, to): (f64, f64)) -> Result<f64> {
    let x = logarithms(SLOPE, block.x)?;
    let y = scale.transform(SLOPE, block.y)?;
    let slope = slope(&x, &y).ok_or(Error::NoVariation { statistic: SLOPE, which: "first", count: x.len() })?;
    Ok(slope * (to.ln() - from.ln()))
}

/// The contrast of one seed between the two ends; before the scale is undone.
pub(crate) fn contrast(block: &Block<'_>, scale: ChangeScale, (from, to): (f64, f64)) -> Result<f64> {
    let y = scale.transform(CONTRAST, block.y)?;
    let at = |end: f64| {
        let values: RunningMean = block.x.iter().zip(&y).filter(|(x, _)| **x == end).map(|(_, y)| *y).collect();
        match values.count() {
            0 => Err(Error::TooFewValues { statistic: CONTRAST, needed: 2, got: 1 }),
            _ => Ok(values.mean()),
        }
    };
    Ok(at(to)? - at(from)?)
}

impl SweepChange {
    /// From the change within each seed, before the scale is undone.
    fn over_seeds(scale: ChangeScale, (from, to): (f64, f64), changes: Vec<f64>, level: f64) -> Self {
        let running: RunningMean = changes.iter().copied().collect();
        let nothing = Interval::new(f64::NEG_INFINITY, f64::INFINITY, level);
        let interval = running.student_interval(level).unwrap_or(nothing);
        Self {
            scale,
            from,
            to,
            change: scale.undo(running.mean()),
            interval: interval.map(|end| scale.undo(end)),
            per_seed: changes.into_iter().map(|change| scale.undo(change)).collect(),
        }
    }
}

fn check(statistic: &'static str, blocks: &[Block<'_>], level: f64) -> Result<()> {
    check_level(level)?;
    if blocks.len() < 2 {
        return Err(Error::TooFewValues { statistic, needed: 2, got: blocks.len() });
    }
    blocks.iter().try_for_each(|block| block.check(statistic, 2))
}

/// The smallest and the largest x of all blocks.
fn ends(blocks: &[Block<'_>]) -> (f64, f64) {
    let all = blocks.iter().flat_map(|block| block.x);
    all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
}

fn logarithms(statistic: &'static str, values: &[f64]) -> Result<Vec<f64>> {
    check_values(statistic, values, 1)?;
    match values.iter().enumerate().find(|(_, value)| **value <= 0.0) {
        Some((index, &value)) => Err(Error::NotPositive { statistic, index, value }),
        None => Ok(values.iter().map(|value| value.ln()).collect()),
    }
}

/// The least-squares slope of y over x; none where x does not vary.
fn slope(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
    }
    (xx > 0.0).then(|| xy / xx)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 4] = [0.05, 0.1, 0.2, 0.4];
    const SEEDS: [[f64; 4]; 3] = [[1.30, 1.12, 0.98, 0.93], [1.41, 1.22, 1.08, 0.94], [1.25, 1.15, 1.01, 0.90]];

    fn blocks() -> Vec<Block<'static>> {
        SEEDS.iter().map(|y| Block { x: &X, y }).collect()
    }

    #[test]
    fn the_factor_is_that_of_scipys_slopes_and_t_interval() {
        // SciPy 1.17: slopes of scipy.stats.linregress(log(x), log(y)), then scipy.stats.ttest_1samp(slopes, 0)
        // .confidence_interval(0.95); all times log(8) and exponentiated.
        let found = sweep_change(&blocks(), ChangeScale::Factor, 0.95).unwrap();
        let expected = [0.6982385154645576, 0.6372587508642557, 0.7650534791667395];
        for (found, expected) in [found.change, found.interval.low, found.interval.high].into_iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!((found.from, found.to, found.interval.degrees_of_freedom), (0.05, 0.4, Some(2.0)));
        // The same slopes without the logarithm of y.
        let found = sweep_change(&blocks(), ChangeScale::Difference, 0.95).unwrap();
        let expected = [-0.39899999999999997, -0.5427369392059941, -0.25526306079400585];
        for (found, expected) in [found.change, found.interval.low, found.interval.high].into_iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn the_contrast_is_a_t_interval_of_log_ratios() {
        let found = end_to_end_change(&blocks(), ChangeScale::Factor, 0.9).unwrap();
        let ratios: RunningMean = SEEDS.iter().map(|y| (y[3] / y[0]).ln()).collect();
        let expected = ratios.student_interval(0.9).unwrap();
        assert!((found.change / ratios.mean().exp() - 1.0).abs() < 1e-14);
        assert!((found.interval.low / expected.low.exp() - 1.0).abs() < 1e-14);
        // Two runs at one end are averaged.
        let twice = Block { x: &[0.0, 1.0, 1.0], y: &[1.0, 2.0, 4.0] };
        let found = end_to_end_change(&[twice, twice], ChangeScale::Difference, 0.9).unwrap();
        assert_eq!((found.change, found.interval.half_width()), (2.0, 0.0));
    }

    #[test]
    fn the_interval_covers_the_mean_slope_over_seeds() {
        // Slopes are normal over seeds around −0.2 with deviation 0.1. 2000 repetitions: the standard error of a coverage
        // of 0.95 is 0.005; the tolerance is four of these.
        let covered = (0..2000)
            .filter(|&repetition| {
                let draws = streams::standard_normal(&mut streams::stream(2, "sweep/tests", repetition), 25);
                let metrics: Vec<Vec<f64>> = draws
                    .chunks(5)
                    .map(|seed| {
                        let slope = -0.2 + 0.1 * seed[0];
                        X.iter().zip(&seed[1..]).map(|(x, noise)| (slope * x.ln() + 0.05 * noise).exp()).collect()
                    })
                    .collect();
                let blocks: Vec<Block<'_>> = metrics.iter().map(|y| Block { x: &X, y }).collect();
                let found = sweep_change(&blocks, ChangeScale::Factor, 0.95).unwrap();
                found.interval.contains((-0.2 * 8f64.ln()).exp())
            })
            .count();
        assert!((1860..=1940).contains(&covered), "{covered}");
    }

    #[test]
    fn zeros_missing_ends_and_single_seeds_are_refused() {
        let zero = [Block { x: &[0.0, 1.0], y: &[1.0, 2.0] }; 2];
        assert!(matches!(sweep_change(&zero, ChangeScale::Factor, 0.95), Err(Error::NotPositive { index: 0, .. })));
        assert!(end_to_end_change(&zero, ChangeScale::Factor, 0.95).is_ok());
        let dead = [Block { x: &[1.0, 2.0], y: &[1.0, 0.0] }; 2];
        assert!(matches!(sweep_change(&dead, ChangeScale::Factor, 0.95), Err(Error::NotPositive { index: 1, .. })));
        assert!(sweep_change(&dead, ChangeScale::Difference, 0.95).is_ok());
        let one = sweep_change(&dead[..1], ChangeScale::Difference, 0.95);
        assert!(matches!(one, Err(Error::TooFewValues { needed: 2, got: 1, .. })));
        let missing = [Block { x: &[0.0, 1.0], y: &[1.0, 2.0] }, Block { x: &[0.0, 0.5], y: &[1.0, 2.0] }];
        let missing = end_to_end_change(&missing, ChangeScale::Factor, 0.95);
        assert!(matches!(missing, Err(Error::TooFewValues { .. })));
        let flat = [Block { x: &[1.0, 1.0], y: &[1.0, 2.0] }; 2];
        assert!(matches!(sweep_change(&flat, ChangeScale::Factor, 0.95), Err(Error::NoVariation { .. })));
        assert!(matches!(sweep_change(&zero, ChangeScale::Factor, 1.5), Err(Error::InvalidSetting { .. })));
    }
}
