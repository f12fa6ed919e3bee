//! The size of a trend: the change of a metric over a sweep, with an interval over seeds.

use serde::Serialize;

use crate::report::chart::plain;
use crate::report::table::signed;
use crate::study::experiment::Rules;
use crate::study::metric::Scale;

/// The size of a trend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Size {
    /// Mean over seeds: a factor, or a difference in percentage points.
    pub(crate) change: f64,
    /// Student's t-interval over seeds; none for one seed.
    pub(crate) interval: Option<(f64, f64)>,
    /// The unit of the change.
    pub(crate) unit: SizeUnit,
    /// The smallest and the largest of the values that have a run in every seed; the change is from one to the other.
    pub(crate) range: (f64, f64),
    /// Whether these are the smallest and the largest value of the sweep.
    pub(crate) whole_sweep: bool,
    /// Number of seeds.
    pub(crate) seeds: usize,
}

/// The unit of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SizeUnit {
    /// The metric is multiplied by this factor over the sweep.
    Factor,
    /// This is added to the metric over the sweep, in percentage points.
    Points,
}

impl SizeUnit {
    /// The word in CSV.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Factor => "factor",
            Self::Points => "points",
        }
    }
}

/// One run of a sweep.
#[derive(Debug, Clone, Copy)]
pub(super) struct SweepPoint {
    pub(super) seed: u64,
    /// The swept value.
    pub(super) x: f64,
    /// The metric.
    pub(super) y: f64,
}

/// The size of the trend over these runs.
///
/// **Definition** the change from the smallest to the largest of the values x that have a run in every seed. Within each
/// seed it is the least-squares slope of log y (of y, for an accuracy) on log x, times the log of the ratio of these two
/// values. If the smallest is 0, it is the difference of log y (of y) between the two. Then the mean over seeds with
/// Student's t-interval; for log y, the exponentials of these. Seeds with runs at fewer than two values are left out.
///
/// None without two such values, and if a value of y has no logarithm.
pub(super) fn size(points: &[SweepPoint], values: &[f64], scale: Scale, level: f64) -> Option<Size> {
    let unit = if scale == Scale::Percent { SizeUnit::Points } else { SizeUnit::Factor };
    let transformed = |y: f64| if unit == SizeUnit::Points { 100.0 * y } else { y.ln() };
    let mut seeds: Vec<u64> = points.iter().map(|point| point.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let has = |seed: u64, x: f64| points.iter().any(|point| point.seed == seed && point.x == x);
    seeds.retain(|seed| values.iter().filter(|x| has(*seed, **x)).count() >= 2);
    let common: Vec<f64> = values.iter().copied().filter(|x| seeds.iter().all(|seed| has(*seed, *x))).collect();
    let (low, high) = (*common.first()?, *common.last()?);
    if low == high {
        return None;
    }
    let change = |seed: &u64| -> Option<f64> {
        let own = points.iter().filter(|point| point.seed == *seed);
        let own: Vec<(f64, f64)> = own.map(|point| (point.x, transformed(point.y))).collect();
        if low > 0.0 {
            return slope(&own).map(|slope| slope * (high / low).ln());
        }
        let at = |x: f64| own.iter().find(|point| point.0 == x).map(|point| point.1);
        Some(at(high)? - at(low)?)
    };
    let changes: Vec<f64> = seeds.iter().filter_map(change).collect();
    if changes.is_empty() || changes.iter().any(|change| !change.is_finite()) {
        return None;
    }
    let (mean, interval) = with_interval(&changes, level);
    let back = |value: f64| if unit == SizeUnit::Points { value } else { value.exp() };
    let interval = interval.map(|(low, high)| (back(low), back(high)));
    let whole_sweep = values.first() == Some(&low) && values.last() == Some(&high);
    Some(Size { change: back(mean), interval, unit, range: (low, high), whole_sweep, seeds: changes.len() })
}

/// Least-squares slope of y on log x; none without two different x.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (mean_x, mean_y) =
        (points.iter().map(|(x, _)| x.ln()).sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
    let square: f64 = points.iter().map(|(x, _)| (x.ln() - mean_x).powi(2)).sum();
    let product: f64 = points.iter().map(|(x, y)| (x.ln() - mean_x) * (y - mean_y)).sum();
    (square > 0.0).then(|| product / square)
}

/// The mean, and Student's t-interval of it if there are two values.
fn with_interval(values: &[f64], level: f64) -> (f64, Option<(f64, f64)>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, None);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let interval = statistics::student_interval(mean, (variance / count).sqrt(), count - 1.0, level);
    (mean, Some((interval.low, interval.high)))
}

impl Size {
    /// Whether the whole interval is within the margin in which the rules call a change negligible.
    pub(super) fn is_negligible(&self, rules: &Rules) -> bool {
        let (low, high) = match self.unit {
            SizeUnit::Factor => (1.0 / rules.negligible_factor, rules.negligible_factor),
            SizeUnit::Points => (-rules.negligible_points, rules.negligible_points),
        };
        self.interval.is_some_and(|interval| low <= interval.0 && interval.1 <= high)
    }

    /// The size in words, such as `×0.72 over the sweep, [0.66, 0.79]`.
    pub(crate) fn words(&self) -> String {
        let number = |value: f64| match self.unit {
            SizeUnit::Factor => crate::report::table::three_digits(value),
            SizeUnit::Points => format!("{value:+.1}").replace('-', "−"),
        };
        let interval = self
            .interval
            .map_or_else(|| ", one seed".to_owned(), |(low, high)| format!(", [{}, {}]", number(low), number(high)));
        let range = if self.whole_sweep {
            "over the sweep".to_owned()
        } else {
            format!("from {} to {}", plain(self.range.0), plain(self.range.1))
        };
        match self.unit {
            SizeUnit::Factor => format!("×{} {range}{interval}", number(self.change)),
            SizeUnit::Points => format!("{} points {range}{interval}", number(self.change)),
        }
    }
}

/// A correlation in words, such as `ρ −0.53, [−0.75, −0.20]`.
pub(super) fn correlation_words(rho: f64, interval: Option<(f64, f64)>) -> String {
    let interval = interval.map_or_else(String::new, |(low, high)| format!(", [{}, {}]", signed(low), signed(high)));
    format!("ρ {}{interval}", signed(rho))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rows: &[(u64, f64, f64)]) -> Vec<SweepPoint> {
        rows.iter().map(|&(seed, x, y)| SweepPoint { seed, x, y }).collect()
    }

    #[test]
    fn a_power_law_has_its_factor_over_the_sweep() {
        // y = x^(−1/2) times a factor per seed: over 0.01 to 1 the factor is 10^(−1) exactly, in both seeds.
        let values = [0.01f64, 0.1, 1.0];
        let rows: Vec<(u64, f64, f64)> =
            [0, 1].iter().flat_map(|&seed| values.map(|x| (seed, x, (2.0 + seed as f64) / x.sqrt()))).collect();
        let found = size(&points(&rows), &values, Scale::Logarithmic, 0.95).unwrap();
        assert!((found.change - 0.1).abs() < 1e-12);
        let (low, high) = found.interval.unwrap();
        assert!((low - 0.1).abs() < 1e-9 && (high - 0.1).abs() < 1e-9);
        assert_eq!((found.unit, found.seeds), (SizeUnit::Factor, 2));
        // Where a seed lacks the smallest value, nothing is extrapolated to it: from 0.1 to 1 the factor is 10^(−1/2).
        let fewer = size(&points(&rows[1..]), &values, Scale::Logarithmic, 0.95).unwrap();
        assert!((fewer.change - 0.1f64.sqrt()).abs() < 1e-12);
        assert!(fewer.words().starts_with("×0.316 from 0.1 to 1, ["), "{}", fewer.words());
    }

    #[test]
    fn a_sweep_with_zero_compares_its_ends_and_accuracies_have_points() {
        let rows = [(0, 0.0, 0.50), (0, 0.1, 0.9), (0, 1.0, 0.53), (1, 0.0, 0.50), (1, 1.0, 0.55), (2, 0.1, 0.7)];
        let found = size(&points(&rows), &[0.0, 0.1, 1.0], Scale::Percent, 0.95).unwrap();
        // Seed 2 has one value alone. Mean of 3 and 5 points; s = √2, t(1, 97.5 %) = 12.7062.
        assert!((found.change - 4.0).abs() < 1e-9, "{found:?}");
        assert_eq!((found.unit, found.seeds), (SizeUnit::Points, 2));
        let (low, high) = found.interval.unwrap();
        assert!((low - (4.0 - 12.706_204_736)).abs() < 1e-6 && (high - (4.0 + 12.706_204_736)).abs() < 1e-6);
        assert_eq!(found.words(), "+4.0 points over the sweep, [−8.7, +16.7]");
    }

    #[test]
    fn sizes_that_are_not_defined_are_none() {
        assert_eq!(size(&[], &[0.1, 1.0], Scale::Logarithmic, 0.95), None);
        assert_eq!(size(&points(&[(0, 0.1, 2.0), (1, 0.1, 3.0)]), &[0.1, 1.0], Scale::Logarithmic, 0.95), None);
        assert_eq!(size(&points(&[(0, 0.1, 0.0), (0, 1.0, 3.0)]), &[0.1, 1.0], Scale::Logarithmic, 0.95), None);
        let one = size(&points(&[(0, 0.1, 2.0), (0, 1.0, 4.0)]), &[0.1, 1.0], Scale::Logarithmic, 0.95).unwrap();
        assert_eq!((one.interval, one.words()), (None, "×2.00 over the sweep, one seed".to_owned()));
    }
}
