//! Mean and variance of per-sample estimates, and the standard error of their mean.

use statistics::{RunningMoments, SkewnessCorrection};

use crate::regression::Residuals;
use crate::{Population, StandardError};

/// An unbiased estimate of ‖J‖²_F of one sample, with its variance.
///
/// It is the mean over independent replicates: single probes, or blocks of orthogonal probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SampleEstimate {
    /// The mean over replicates.
    pub(crate) value: f64,
    /// An unbiased estimate of the variance of one replicate; 0 if the value is exact, `None` without an estimate.
    pub(crate) replicate_variance: Option<f64>,
    /// The number of replicates.
    pub(crate) replicates: usize,
}

impl SampleEstimate {
    pub(crate) fn exact(value: f64) -> Self {
        Self { value, replicate_variance: Some(0.0), replicates: 1 }
    }

    /// The mean of independent replicates, with their variance if there are at least two.
    pub(crate) fn of_replicates(replicates: &[f64]) -> Self {
        let count = replicates.len() as f64;
        let mean = replicates.iter().sum::<f64>() / count;
        let squares: f64 = replicates.iter().map(|replicate| (replicate - mean).powi(2)).sum();
        let replicate_variance = (replicates.len() > 1).then(|| squares / (count - 1.0));
        Self { value: mean, replicate_variance, replicates: replicates.len() }
    }
}

/// Running moments of per-sample estimates, and sums of their variances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    values: RunningMoments,
    /// The number of estimates whose replicate variance is known, and sums over them.
    known: usize,
    replicate_variances: f64,
    estimate_variances: f64,
    degrees_of_freedom: f64,
    /// Σ 1/replicates over all estimates.
    inverse_replicates: f64,
}

/// The standard error of the mean with the degrees of freedom of its total.
pub(crate) struct ErrorOfMean {
    pub(crate) standard_error: StandardError,
    pub(crate) degrees_of_freedom: Option<f64>,
}

/// A variance with its degrees of freedom.
#[derive(Clone, Copy)]
struct Component {
    variance: f64,
    degrees_of_freedom: f64,
}

impl Moments {
    pub(crate) fn push(&mut self, estimate: SampleEstimate) {
        self.values.push(estimate.value);
        let replicates = estimate.replicates as f64;
        self.inverse_replicates += 1.0 / replicates;
        if let Some(variance) = estimate.replicate_variance {
            self.known += 1;
            self.replicate_variances += variance;
            self.estimate_variances += variance / replicates;
            self.degrees_of_freedom += (replicates - 1.0).max(1.0);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.values.count()
    }

    pub(crate) fn mean(&self) -> f64 {
        self.values.mean()
    }

    /// s², the variance of the estimates with divisor n − 1. It contains the variance between samples and that of probes.
    pub(crate) fn variance(&self) -> Option<f64> {
        self.values.variance()
    }

    /// The mean over samples of the variance of one replicate; `None` if no sample has two replicates.
    pub(crate) fn replicate_variance(&self) -> Option<f64> {
        (self.known > 0).then(|| self.replicate_variances / self.known as f64)
    }

    /// The number of replicates of each estimate, where all have the same; else their harmonic mean.
    pub(crate) fn replicates(&self) -> f64 {
        self.count() as f64 / self.inverse_replicates
    }

    /// ω̄, the mean over samples of the probe variance of an estimate. If only some samples have at least two replicates, their
    /// replicate variance is used for all samples, divided by the number of replicates of each.
    pub(crate) fn estimate_variance(&self) -> Option<f64> {
        let count = self.count();
        if self.known == count {
            (count > 0).then(|| self.estimate_variances / count as f64)
        } else {
            Some(self.replicate_variance()? * self.inverse_replicates / count as f64)
        }
    }

    /// The skewness correction of the mean as a statement about `population`. There is none for fewer than ten samples, or if
    /// the whole data set was measured, where the only error is that of the probes.
    ///
    /// Estimates with probe error are treated as if a share f(s² − ω̄)/s² had been drawn without replacement, which gives
    /// their mean its variance: f without probe error, 0 if samples do not differ.
    pub(crate) fn skewness_of_mean(&self, population: Population) -> SkewnessCorrection {
        let count = self.count();
        let Some((variance, gamma)) = self.variance().zip(self.values.skewness()).filter(|_| count >= 10) else {
            return SkewnessCorrection::default();
        };
        match (population, self.estimate_variance()) {
            (Population::Distribution, _) => SkewnessCorrection::of_mean(gamma, count, 0.0),
            (Population::DataSet { size }, Some(omega)) if count < size => {
                let between = (1.0 - omega / variance).clamp(0.0, 1.0);
                SkewnessCorrection::of_mean(gamma, count, between * count as f64 / size as f64)
            }
            (Population::DataSet { .. }, _) => SkewnessCorrection::default(),
        }
    }

    /// The standard error of the mean as a statement about `population`, and its degrees of freedom.
    ///
    /// Estimates are ĝ = g + probe error, so E s² = S² + ω̄ with S² the variance of g between samples.
    /// - Distribution: samples and probes are new draws, Var = (S² + ω̄)/n, estimated by s²/n for any probes.
    /// - Data set of N: Var = (1 − n/N) S²/n + ω̄/n, estimated by (1 − n/N) s²/n + ω̄/N (two-stage sampling, Cochran 1977,
    ///   §11.4). If ω̄ is unknown, s²/n is an upper bound.
    pub(crate) fn standard_error(&self, population: Population) -> ErrorOfMean {
        let degrees_of_freedom = self.count() as f64 - 1.0;
        self.standard_error_around(
            population,
            self.variance().map(|variance| Residuals { variance, degrees_of_freedom }),
        )
    }

    /// The same where the estimates vary by `residuals` around their prediction: those of the regression estimator.
    pub(crate) fn standard_error_around(&self, population: Population, residuals: Option<Residuals>) -> ErrorOfMean {
        let n = self.count() as f64;
        let spread = residuals
            .map(|Residuals { variance, degrees_of_freedom }| Component { variance: variance / n, degrees_of_freedom });
        let omega = self.estimate_variance();
        let probe = omega.map(|omega| omega / n);
        let (total, conservative) = match (population, omega) {
            (Population::Distribution, _) => (spread, false),
            (Population::DataSet { .. }, None) => (spread, true),
            (Population::DataSet { size }, Some(omega)) => {
                let unseen = 1.0 - n / size as f64;
                let probes = Component { variance: omega / size as f64, degrees_of_freedom: self.degrees_of_freedom };
                (two_stage(unseen, spread, probes), false)
            }
        };
        let data = total.zip(probe).map(|(total, probe)| (total.variance - probe).max(0.0).sqrt());
        let standard_error = StandardError {
            data: data.filter(|_| !conservative),
            probe: probe.map(f64::sqrt),
            total: total.map(|total| total.variance.sqrt()),
            conservative,
        };
        ErrorOfMean { standard_error, degrees_of_freedom: total.map(|total| total.degrees_of_freedom) }
    }
}

/// (1 − n/N) s²/n + ω̄/N, with the degrees of freedom of Welch and Satterthwaite.
fn two_stage(unseen: f64, spread: Option<Component>, probes: Component) -> Option<Component> {
    if unseen <= 0.0 {
        return Some(probes);
    }
    let spread = spread?;
    let between = unseen * spread.variance;
    let variance = between + probes.variance;
    let weights = between.powi(2) / spread.degrees_of_freedom + probes.variance.powi(2) / probes.degrees_of_freedom;
    let degrees_of_freedom = if weights > 0.0 { variance.powi(2) / weights } else { spread.degrees_of_freedom };
    Some(Component { variance, degrees_of_freedom })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(estimates: &[SampleEstimate]) -> Moments {
        let mut moments = Moments::default();
        estimates.iter().for_each(|estimate| moments.push(*estimate));
        moments
    }

    /// Estimates 1, 2, 3, 6 (mean 3, s² = 14/3), each the mean of two replicates of variance 2, so ω̄ = 1.
    fn worked() -> Moments {
        moments(&[1.0, 2.0, 3.0, 6.0].map(|value| SampleEstimate {
            value,
            replicate_variance: Some(2.0),
            replicates: 2,
        }))
    }

    #[test]
    fn skewness_is_corrected_unless_the_whole_data_set_is_measured() {
        let values = (0..12).map(|i| SampleEstimate::exact(f64::from(i * i % 13) + 0.1 * f64::from(i)));
        let running = moments(&values.collect::<Vec<_>>());
        assert_ne!(running.skewness_of_mean(Population::Distribution), SkewnessCorrection::default());
        assert_ne!(running.skewness_of_mean(Population::DataSet { size: 13 }), SkewnessCorrection::default());
        assert_eq!(running.skewness_of_mean(Population::DataSet { size: 12 }), SkewnessCorrection::default());
    }

    #[test]
    fn the_error_for_a_distribution_is_that_computed_by_hand() {
        let ErrorOfMean { standard_error: error, degrees_of_freedom } =
            worked().standard_error(Population::Distribution);
        let s2 = 14.0 / 3.0;
        assert!((error.total.unwrap().powi(2) - s2 / 4.0).abs() < 1e-15);
        assert!((error.probe.unwrap().powi(2) - 0.25).abs() < 1e-15);
        assert!((error.data.unwrap().powi(2) - (s2 / 4.0 - 0.25)).abs() < 1e-15);
        assert_eq!(degrees_of_freedom, Some(3.0));
        assert!(!error.conservative);
    }

    #[test]
    fn the_error_for_a_data_set_is_that_computed_by_hand() {
        // N = 10: (1 − 0.4)·(14/3)/4 + 1/10 = 0.7 + 0.1.
        let error = worked().standard_error(Population::DataSet { size: 10 }).standard_error;
        assert!((error.total.unwrap().powi(2) - 0.8).abs() < 1e-15);
        // All ten measured leaves ω̄/N alone.
        let error = worked().standard_error(Population::DataSet { size: 4 }).standard_error;
        assert!((error.total.unwrap().powi(2) - 0.25).abs() < 1e-15);
        assert_eq!(error.data, Some(0.0));
    }

    #[test]
    fn a_single_probe_per_sample_gives_the_total_error_only() {
        let single = moments(&[1.0, 2.0, 3.0, 6.0].map(|value| SampleEstimate {
            value,
            replicate_variance: None,
            replicates: 1,
        }));
        let error = single.standard_error(Population::Distribution).standard_error;
        assert_eq!((error.data, error.probe, error.conservative), (None, None, false));
        assert!((error.total.unwrap().powi(2) - 14.0 / 12.0).abs() < 1e-15);
        let error = single.standard_error(Population::DataSet { size: 4 }).standard_error;
        assert!(error.conservative);
        assert!((error.total.unwrap().powi(2) - 14.0 / 12.0).abs() < 1e-15);
    }

    #[test]
    fn replicates_on_some_samples_give_the_probe_error_of_all() {
        // One sample with two replicates of variance 4, three with one replicate: ω̄ = 4·(1/2 + 1 + 1 + 1)/4 = 3.5.
        let mut estimates = vec![SampleEstimate { value: 1.0, replicate_variance: Some(4.0), replicates: 2 }];
        estimates.extend([2.0, 3.0, 6.0].map(|value| SampleEstimate {
            value,
            replicate_variance: None,
            replicates: 1,
        }));
        assert!((moments(&estimates).estimate_variance().unwrap() - 3.5).abs() < 1e-15);
    }

    #[test]
    fn a_single_sample_has_an_error_only_if_it_is_the_whole_data_set() {
        let single = moments(&[SampleEstimate::exact(5.0)]);
        assert_eq!(single.standard_error(Population::Distribution).standard_error.total, None);
        assert_eq!(single.standard_error(Population::DataSet { size: 1 }).standard_error.total, Some(0.0));
    }

    #[test]
    fn replicates_give_mean_and_unbiased_variance() {
        let estimate = SampleEstimate::of_replicates(&[1.0, 2.0, 6.0]);
        assert_eq!((estimate.value, estimate.replicate_variance, estimate.replicates), (3.0, Some(7.0), 3));
        assert_eq!(SampleEstimate::of_replicates(&[4.0]).replicate_variance, None);
    }
}
