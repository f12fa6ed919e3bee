//! Errors of the mean of a bounded variable whose observations are all equal.
//!
//! The sample variance is then zero, and so would be the standard error and the width of Student's and the bootstrap
//! interval. An accuracy of 100 % in 20 episodes is no proof of 100 % in all episodes, so exact bounds are used.

use crate::{Interval, MeanEstimate};

/// A standard error up to this value is rounding: accuracies are ratios of small integers.
const ROUNDING: f64 = 1e-12;

/// The standard error of observations that vary; none where they are all equal.
pub(super) fn of_varying(standard_error: f64) -> Option<f64> {
    (standard_error > ROUNDING).then_some(standard_error)
}

/// The possible values of a variable, from `low` to `high`.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    low: f64,
    high: f64,
}

/// Bounds of an accuracy.
pub(super) const ACCURACY: Bounds = Bounds { low: 0.0, high: 1.0 };
/// Bounds of the difference of two accuracies.
pub(super) const DIFFERENCE: Bounds = Bounds { low: -1.0, high: 1.0 };

impl Bounds {
    /// Standard error of the mean where all of `samples` observations equal `value`.
    ///
    /// Let q be the probability of another value. With a uniform prior on q, its posterior is Beta(1, n + 1), with the
    /// standard deviation √((n + 1)/((n + 2)²(n + 3))) ≈ 1/n. Another value is at most as far away as the farther bound.
    pub(super) fn standard_error_of_constant(self, value: f64, samples: usize) -> f64 {
        let n = samples as f64;
        let distance = (value - self.low).max(self.high - value);
        distance * ((n + 1.0) / ((n + 2.0).powi(2) * (n + 3.0))).sqrt()
    }

    /// Interval of the mean where all of `samples` observations equal `value`.
    ///
    /// No other value occurs with probability (1 − q)ⁿ, so q ≤ u = 1 − (α/2)^(1/n) at the level 1 − α, and the mean lies
    /// between value − u (value − low) and value + u (high − value). At a bound this is the exact binomial interval of
    /// Clopper and Pearson (1934) for 0 or n successes in n trials.
    pub(super) fn interval_of_constant(self, value: f64, samples: usize, level: f64) -> Interval {
        let largest_share = 1.0 - (0.5 * (1.0 - level)).powf(1.0 / samples as f64);
        let low = value - largest_share * (value - self.low);
        let high = value + largest_share * (self.high - value);
        Interval::new(low, high, level)
    }

    /// The estimate; with the errors of a constant where its observations are all equal.
    pub(super) fn widen_constant(self, estimate: MeanEstimate) -> MeanEstimate {
        if of_varying(estimate.standard_error).is_some() {
            return estimate;
        }
        let (mean, samples) = (estimate.mean, estimate.samples);
        let interval = self.interval_of_constant(mean, samples, estimate.student.level);
        let standard_error = self.standard_error_of_constant(mean, samples);
        MeanEstimate { standard_error, student: interval, bootstrap: interval, ..estimate }
    }

    /// `interval` within the bounds.
    pub(super) fn clip(self, interval: Interval) -> Interval {
        interval.map(|end| end.clamp(self.low, self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_bound_the_interval_is_that_of_clopper_and_pearson() {
        // scipy.stats.binomtest(10, 10).proportion_ci(0.95, "exact") is 0.6915028921812392 to 1.
        let all = ACCURACY.interval_of_constant(1.0, 10, 0.95);
        assert!((all.low - 0.6915028921812392).abs() < 1e-14 && all.high == 1.0);
        let none = ACCURACY.interval_of_constant(0.0, 10, 0.95);
        assert!(none.low == 0.0 && (none.high - 0.3084971078187608).abs() < 1e-14);
    }

    #[test]
    fn between_the_bounds_the_interval_has_both_sides() {
        // u = 1 − 0.025 for one sample, so the ends are c ∓ 0.975 times the distances to the bounds.
        let found = DIFFERENCE.interval_of_constant(0.5, 1, 0.95);
        assert!((found.low - (0.5 - 0.975 * 1.5)).abs() < 1e-14 && (found.high - (0.5 + 0.975 * 0.5)).abs() < 1e-14);
        // √(3/(16 · 5)) times the distance 1.5 for two samples.
        let error = DIFFERENCE.standard_error_of_constant(0.5, 2);
        assert!((error - 1.5 * (3.0f64 / 80.0).sqrt()).abs() < 1e-15);
    }
}
