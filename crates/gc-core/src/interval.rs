//! Confidence intervals for the mean of skewed values.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// A confidence interval.
///
/// **Definition** the values μ for which g((value − μ)/error) lies within ± t, with t the quantile of Student's
/// distribution with `degrees_of_freedom` degrees of freedom (Welch–Satterthwaite where two variances add up). Squared norms are
/// skewed, so that a plain t-interval (g the identity) has too little coverage. g(T) = T + A T² + A²T³/3 + B removes the
/// skewness γ of the values to first order, with A = γ/(3√n), B = γ/(6√n) for independent samples, and
/// A = γ(2 − f)/(6√(n(1 − f))), B = γ√(1 − f)/(2√n) − A for a share f drawn without replacement. The correction is left out
/// for fewer than ten samples, and if the whole data set was measured, where the only error is that of the probes. The
/// lower end is at least 0.
///
/// **Source** Hall, 1992, *On the removal of skewness by transformation* (JRSS B 54); the second pair follows from the same
/// expansion of Student's statistic with the moments of sampling without replacement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The nominal coverage probability.
    pub level: f64,
    /// Degrees of freedom of Student's distribution.
    #[serde(alias = "freedom")]
    pub degrees_of_freedom: f64,
}

/// The coefficients A and B that remove skewness.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Skewness {
    pub(crate) square: f64,
    pub(crate) shift: f64,
}

impl Skewness {
    /// For values of skewness γ, with `share` of the population drawn without replacement (0: independent draws).
    pub(crate) fn of_mean(gamma: f64, samples: usize, share: f64) -> Self {
        let root = (samples as f64).sqrt();
        let unseen = (1.0 - share).sqrt();
        let square = gamma * (2.0 - share) / (6.0 * unseen * root);
        Self { square, shift: gamma * unseen / (2.0 * root) - square }
    }

    /// The T with g(T) = `quantile`.
    fn inverse(self, quantile: f64) -> f64 {
        let scaled = 3.0 * self.square * (quantile - self.shift);
        if self.square.abs() < 1e-8 { quantile - self.shift } else { ((1.0 + scaled).cbrt() - 1.0) / self.square }
    }
}

impl Interval {
    pub(crate) fn new(value: f64, error: f64, degrees_of_freedom: f64, level: f64, skewness: Skewness) -> Self {
        let reach = quantile(degrees_of_freedom, level);
        let end = |quantile| (value - error * skewness.inverse(quantile)).max(0.0);
        Self { low: end(reach), high: end(-reach), level, degrees_of_freedom }
    }
}

/// The two-sided quantile of Student's distribution.
///
/// Beyond 1,000 degrees of freedom by Fisher's expansion z + (z³ + z)/(4ν) + (5z⁵ + 16z³ + 3z)/(96ν²), whose next term is
/// below 1e-8 there (the iteration for the exact one loses digits as ν grows).
fn quantile(degrees_of_freedom: f64, level: f64) -> f64 {
    let probability = 0.5 + level / 2.0;
    if degrees_of_freedom <= 1e3 {
        let student = StudentsT::new(0.0, 1.0, degrees_of_freedom.max(1.0));
        return student.map_or(f64::NAN, |student| student.inverse_cdf(probability));
    }
    let z = Normal::standard().inverse_cdf(probability);
    let (first, second) = ((z.powi(3) + z) / 4.0, (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0);
    z + first / degrees_of_freedom + second / (degrees_of_freedom * degrees_of_freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_skewness_the_interval_is_that_of_student() {
        // t quantiles from tables: 2.2621572 for 9 degrees of freedom, 1.9599640 for the normal distribution.
        let interval = Interval::new(10.0, 1.0, 9.0, 0.95, Skewness::default());
        assert!((interval.high - 12.2621572).abs() < 1e-6 && (interval.low - 7.7378428).abs() < 1e-6);
        let wide = Interval::new(10.0, 1.0, f64::INFINITY, 0.95, Skewness::default());
        assert!((wide.high - 11.9599640).abs() < 1e-6);
        // 1.9839715 for 100; the two formulas meet at 1,000 (1.9623391).
        assert!((quantile(100.0, 0.95) - 1.9839715).abs() < 1e-6);
        assert!((quantile(1000.0, 0.95) - 1.9623391).abs() < 1e-7 && (quantile(1000.1, 0.95) - 1.9623388).abs() < 1e-7);
        assert_eq!(Interval::new(1.0, 1.0, 9.0, 0.95, Skewness::default()).low, 0.0);
    }

    #[test]
    fn the_inverse_inverts_the_cubic() {
        for gamma in [-2.0, -1e-9, 0.0, 1e-7, 0.5, 3.0] {
            for share in [0.0, 0.4, 0.9] {
                let skewness = Skewness::of_mean(gamma, 40, share);
                for t in [-2.0, -0.3, 0.0, 1.0, 2.5] {
                    let (a, b) = (skewness.square, skewness.shift);
                    let transformed = t + a * t * t + a * a * t * t * t / 3.0 + b;
                    assert!((skewness.inverse(transformed) - t).abs() < 1e-7, "{gamma} {share} {t}");
                }
            }
        }
    }

    #[test]
    fn right_skewed_values_have_a_longer_upper_side() {
        let interval = Interval::new(10.0, 1.0, 50.0, 0.95, Skewness::of_mean(2.0, 51, 0.0));
        assert!(interval.high - 10.0 > 10.0 - interval.low);
        // Hall's coefficients, for independent draws.
        let skewness = Skewness::of_mean(2.0, 51, 0.0);
        assert!((skewness.square - 2.0 / (3.0 * 51f64.sqrt())).abs() < 1e-15);
        assert!((skewness.shift - 2.0 / (6.0 * 51f64.sqrt())).abs() < 1e-15);
    }
}
