//! Confidence intervals.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{normal_cdf, quantile_of_sorted, student_t_quantile};

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The confidence level: the share of repetitions that should cover the true value, such as 0.95.
    pub level: f64,
    /// Degrees of freedom of Student's t; none for an interval of another kind.
    ///
    /// JSON has no infinity: infinitely many degrees of freedom are written as null and read as none.
    #[serde(default, alias = "freedom", skip_serializing_if = "Option::is_none")]
    pub degrees_of_freedom: Option<f64>,
}

impl Interval {
    /// An interval without degrees of freedom.
    ///
    /// ```
    /// assert_eq!(statistics::Interval::new(0.2, 0.4, 0.95).degrees_of_freedom, None);
    /// ```
    pub fn new(low: f64, high: f64, level: f64) -> Self {
        Self { low, high, level, degrees_of_freedom: None }
    }

    /// Whether `value` lies within, ends included.
    ///
    /// ```
    /// let interval = statistics::Interval::new(0.2, 0.4, 0.95);
    /// assert!(interval.contains(0.4) && !interval.contains(0.5));
    /// assert_eq!(interval.to_string(), "0.20 to 0.40");
    /// ```
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Half of the width, the ± of a table.
    ///
    /// ```
    /// assert_eq!(statistics::Interval::new(1.0, 2.0, 0.95).half_width(), 0.5);
    /// ```
    pub fn half_width(&self) -> f64 {
        0.5 * (self.high - self.low)
    }

    /// Whether the whole interval lies within `low` to `high`, ends included.
    ///
    /// With a confidence level 1 − 2α this is the equivalence test of level α ([`equivalence_test`](crate::equivalence_test)).
    ///
    /// ```
    /// let interval = statistics::Interval::new(0.97, 1.02, 0.9);
    /// assert!(interval.lies_within(0.95, 1.05) && !interval.lies_within(0.98, 1.05));
    /// ```
    pub fn lies_within(&self, low: f64, high: f64) -> bool {
        low <= self.low && self.high <= high
    }

    /// The interval with both ends mapped by an increasing function.
    ///
    /// ```
    /// let factor = statistics::Interval::new(0.0, 1.0, 0.95).map(f64::exp);
    /// assert_eq!((factor.low, factor.high), (1.0, std::f64::consts::E));
    /// ```
    pub fn map(self, increasing: impl Fn(f64) -> f64) -> Self {
        Self { low: increasing(self.low), high: increasing(self.high), ..self }
    }
}

impl fmt::Display for Interval {
    /// The ends, with two significant digits of half of the width: `0.853 to 0.881`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = decimals(self.half_width());
        write!(f, "{:.decimals$} to {:.decimals$}", self.low, self.high)
    }
}

/// The number of decimals that shows two significant digits of `error`; 0 to 12.
pub(crate) fn decimals(error: f64) -> usize {
    if !(error > 0.0 && error.is_finite()) {
        return 4;
    }
    (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize
}

/// Student's t-interval: value ± t · standard error.
///
/// **Definition** t is the quantile (1 + `level`)/2 of Student's t with `degrees_of_freedom` degrees of freedom. For the
/// mean of n independent values these are n − 1.
///
/// **Conventions** the ends are NaN for a level outside (0, 1) or degrees of freedom that are not positive.
///
/// ```
/// // t = 2.262157162798205 for 9 degrees of freedom (scipy.stats.t.ppf(0.975, 9)).
/// let interval = statistics::student_interval(10.0, 1.0, 9.0, 0.95);
/// assert!((interval.high - 12.262157162798205).abs() < 1e-12);
/// ```
pub fn student_interval(value: f64, standard_error: f64, degrees_of_freedom: f64, level: f64) -> Interval {
    let half = student_t_quantile(0.5 + 0.5 * level, degrees_of_freedom) * standard_error;
    Interval { low: value - half, high: value + half, level, degrees_of_freedom: Some(degrees_of_freedom) }
}

/// The percentile bootstrap interval: the quantiles (1 ∓ `level`)/2 of the resampled statistics.
///
/// **Source** Efron and Tibshirani, An introduction to the bootstrap, 1993, section 13.3.
///
/// ```
/// let resampled: Vec<f64> = (0..=100).map(f64::from).collect();
/// let interval = statistics::percentile_interval(resampled, 0.9);
/// assert!((interval.low - 5.0).abs() < 1e-12 && (interval.high - 95.0).abs() < 1e-12);
/// ```
pub fn percentile_interval(mut resampled: Vec<f64>, level: f64) -> Interval {
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Interval::new(quantile_of_sorted(&resampled, tail), quantile_of_sorted(&resampled, 1.0 - tail), level)
}

/// The bootstrap interval of a mean of `samples` values by expanded percentiles.
///
/// **Definition** the quantiles Φ(∓√(n/(n − 1)) t) of the resampled means, with t the quantile (1 + `level`)/2 of Student's
/// t with n − 1 degrees of freedom. Plain percentiles are too narrow in small samples; these have the t-interval's width.
///
/// **Source** Hesterberg, What teachers should know about the bootstrap, The American Statistician 2015, section 5.3.
///
/// ```
/// // For 1000 values the expansion is small: Φ(−1.9633) = 0.0248.
/// let resampled: Vec<f64> = (0..=1000).map(f64::from).collect();
/// let interval = statistics::expanded_percentile_interval(resampled, 1000, 0.95);
/// assert!((interval.low - 24.8).abs() < 0.1 && (interval.high - 975.2).abs() < 0.1);
/// ```
pub fn expanded_percentile_interval(mut resampled: Vec<f64>, samples: usize, level: f64) -> Interval {
    resampled.sort_unstable_by(f64::total_cmp);
    let n = samples as f64;
    let reach = (n / (n - 1.0)).sqrt() * student_t_quantile(0.5 + 0.5 * level, n - 1.0);
    let tail = normal_cdf(-reach);
    Interval::new(quantile_of_sorted(&resampled, tail), quantile_of_sorted(&resampled, 1.0 - tail), level)
}

/// The correction of a t-interval for skewed values.
///
/// **Definition** with T = (estimate − mean)/standard error, the transformed g(T) = T + A T² + A²T³/3 + B is closer to
/// Student's t than T is. The interval holds the values μ for which g((value − μ)/error) lies within ± t. For independent
/// values of skewness γ: A = γ/(3√n), B = γ/(6√n). For a share f of a finite population, drawn without replacement:
/// A = γ(2 − f)/(6√(n(1 − f))), B = γ√(1 − f)/(2√n) − A. The default (A = B = 0) is the plain t-interval.
///
/// **Source** Hall, On the removal of skewness by transformation, JRSS B 54, 1992; the second pair follows from the same
/// expansion of Student's statistic with the moments of sampling without replacement.
///
/// ```
/// use statistics::SkewnessCorrection;
/// // Values that are skewed to the right: the interval reaches further up than down.
/// let interval = SkewnessCorrection::of_mean(2.0, 51, 0.0).interval(10.0, 1.0, 50.0, 0.95);
/// assert!(interval.high - 10.0 > 10.0 - interval.low);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SkewnessCorrection {
    /// A.
    square: f64,
    /// B.
    shift: f64,
}

/// |A| below which g is taken for T + B: the rounding of (1 + 3A·…)^⅓ − 1 would exceed the terms that are left out.
const NO_SKEWNESS: f64 = 1e-8;

impl SkewnessCorrection {
    /// The correction for the mean of `samples` values of skewness `gamma`, of which `share` of a finite population was
    /// drawn without replacement (0: independent values).
    pub fn of_mean(gamma: f64, samples: usize, share: f64) -> Self {
        let root = (samples as f64).sqrt();
        let unseen = (1.0 - share).sqrt();
        let square = gamma * (2.0 - share) / (6.0 * unseen * root);
        Self { square, shift: gamma * unseen / (2.0 * root) - square }
    }

    /// The corrected interval.
    pub fn interval(self, value: f64, standard_error: f64, degrees_of_freedom: f64, level: f64) -> Interval {
        let reach = student_t_quantile(0.5 + level / 2.0, degrees_of_freedom);
        let end = |quantile| value - standard_error * self.inverse(quantile);
        Interval { low: end(reach), high: end(-reach), level, degrees_of_freedom: Some(degrees_of_freedom) }
    }

    /// The T with g(T) = `quantile`.
    fn inverse(self, quantile: f64) -> f64 {
        if self.square.abs() < NO_SKEWNESS {
            return quantile - self.shift;
        }
        let scaled = 3.0 * self.square * (quantile - self.shift);
        ((1.0 + scaled).cbrt() - 1.0) / self.square
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_skewness_the_interval_is_students() {
        let plain = student_interval(10.0, 1.0, 9.0, 0.95);
        assert_eq!(SkewnessCorrection::default().interval(10.0, 1.0, 9.0, 0.95), plain);
        let normal = student_interval(10.0, 1.0, f64::INFINITY, 0.95);
        assert!((normal.high - 11.959963984540054).abs() < 1e-12);
    }

    #[test]
    fn the_inverse_inverts_the_cubic() {
        for gamma in [-2.0, -1e-9, 0.0, 1e-7, 0.5, 3.0] {
            for share in [0.0, 0.4, 0.9] {
                let skewness = SkewnessCorrection::of_mean(gamma, 40, share);
                for t in [-2.0, -0.3, 0.0, 1.0, 2.5] {
                    let (a, b) = (skewness.square, skewness.shift);
                    let transformed = t + a * t * t + a * a * t * t * t / 3.0 + b;
                    assert!((skewness.inverse(transformed) - t).abs() < 1e-7, "{gamma} {share} {t}");
                }
            }
        }
    }

    #[test]
    fn independent_values_have_halls_coefficients() {
        let skewness = SkewnessCorrection::of_mean(2.0, 51, 0.0);
        assert!((skewness.square - 2.0 / (3.0 * 51f64.sqrt())).abs() < 1e-15);
        assert!((skewness.shift - 2.0 / (6.0 * 51f64.sqrt())).abs() < 1e-15);
    }

    #[test]
    fn decimals_show_two_digits_of_the_error() {
        for (error, expected) in [(0.0063, 4), (0.063, 3), (0.63, 2), (6.3, 1), (63.0, 0), (630.0, 0), (0.0, 4)] {
            assert_eq!(decimals(error), expected, "{error}");
        }
    }

    #[test]
    fn json_has_degrees_of_freedom_only_where_there_are_some() {
        let text = serde_json::to_string(&Interval::new(0.25, 0.5, 0.95)).unwrap();
        assert_eq!(text, r#"{"low":0.25,"high":0.5,"level":0.95}"#);
        let student = Interval { degrees_of_freedom: Some(4.0), ..Interval::new(0.25, 0.5, 0.95) };
        let text = serde_json::to_string(&student).unwrap();
        assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), student);
        let old = r#"{"low":0.25,"high":0.5,"level":0.95,"freedom":4.0}"#;
        assert_eq!(serde_json::from_str::<Interval>(old).unwrap(), student);
    }
}
