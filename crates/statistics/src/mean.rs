//! The mean of independent values, with its error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bootstrap::bootstrap_means;
use crate::error::check_values;
use crate::interval::decimals;
use crate::{Interval, IntervalSettings, Result, RunningMean, expanded_percentile_interval, student_interval};

const NAME: &str = "a mean";

/// A mean of independent values (over episodes, models, seeds), with its error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanEstimate {
    /// The mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1) over √n.
    pub standard_error: f64,
    /// The number of values (n).
    pub samples: usize,
    /// Student's t-interval with n − 1 degrees of freedom.
    pub student: Interval,
    /// Bootstrap interval over the values, by expanded percentiles ([`expanded_percentile_interval`]).
    pub bootstrap: Interval,
}

impl fmt::Display for MeanEstimate {
    /// The mean ± half of the t-interval, with two significant digits of the latter: `0.8720 ± 0.0063`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = self.student.half_width();
        let decimals = decimals(half);
        write!(f, "{:.decimals$} ± {half:.decimals$}", self.mean)
    }
}

/// The mean of `values` with Student's t-interval and a bootstrap interval.
///
/// **Definition** mean ± t·s/√n, s with divisor n − 1, t the quantile of Student's t with n − 1 degrees of freedom.
///
/// **Errors** [`Error::TooFewValues`](crate::Error::TooFewValues) for fewer than two,
/// [`Error::NonFiniteValue`](crate::Error::NonFiniteValue), [`Error::InvalidSetting`](crate::Error::InvalidSetting).
///
/// ```
/// use statistics::{IntervalSettings, estimate_mean};
/// // s² = (1 + 0 + 1)/2 = 1, t(2 degrees of freedom, 97.5 %) = 4.302653.
/// let mean = estimate_mean(&[1.0, 2.0, 3.0], &IntervalSettings::default())?;
/// assert_eq!(mean.mean, 2.0);
/// assert!((mean.student.half_width() - 4.302653 / 3f64.sqrt()).abs() < 1e-6);
/// assert_eq!(mean.to_string(), "2.0 ± 2.5");
/// # statistics::Result::Ok(())
/// ```
pub fn estimate_mean(values: &[f64], settings: &IntervalSettings) -> Result<MeanEstimate> {
    check_values(NAME, values, 2)?;
    let resampled = bootstrap_means(&[values], settings)?;
    mean_with_resamples(values, resampled.into_iter().next().unwrap_or_default(), settings)
}

/// The mean of `values` with bootstrap means that were drawn before, such as those of [`bootstrap_means`] for several
/// columns at once.
///
/// **Errors** as for [`estimate_mean`].
///
/// ```
/// use statistics::{IntervalSettings, bootstrap_means, estimate_mean, mean_with_resamples};
/// let (values, settings) = ([0.2, 0.6, 0.5], IntervalSettings::default());
/// let [resampled] = bootstrap_means(&[&values], &settings)?.try_into().unwrap();
/// assert_eq!(mean_with_resamples(&values, resampled, &settings)?, estimate_mean(&values, &settings)?);
/// # statistics::Result::Ok(())
/// ```
pub fn mean_with_resamples(values: &[f64], resampled: Vec<f64>, settings: &IntervalSettings) -> Result<MeanEstimate> {
    settings.check()?;
    check_values(NAME, values, 2)?;
    let running: RunningMean = values.iter().copied().collect();
    let (mean, standard_error) = (running.mean(), running.standard_error().unwrap_or(0.0));
    let student = student_interval(mean, standard_error, (values.len() - 1) as f64, settings.level);
    let bootstrap = expanded_percentile_interval(resampled, values.len(), settings.level);
    Ok(MeanEstimate { mean, standard_error, samples: values.len(), student, bootstrap })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::Error;

    /// The share of 2000 repetitions whose interval covers the mean 0.6 of a binomial share of 15 queries over `episodes`.
    fn coverage(episodes: usize, pick: fn(&MeanEstimate) -> Interval) -> f64 {
        let settings = IntervalSettings { resamples: 400, ..IntervalSettings::default() };
        let covered = (0..2000)
            .filter(|&repetition| {
                let stream = &mut streams::stream(9, "interval/tests", repetition);
                let values: Vec<f64> = (0..episodes)
                    .map(|_| (0..15).filter(|_| stream.random::<f64>() < 0.6).count() as f64 / 15.0)
                    .collect();
                pick(&estimate_mean(&values, &settings).unwrap()).contains(0.6)
            })
            .count();
        covered as f64 / 2000.0
    }

    #[test]
    fn intervals_have_their_stated_coverage() {
        // The standard error of a coverage of 0.95 over 2000 repetitions is 0.005; four of them.
        for episodes in [8, 60] {
            let student = coverage(episodes, |estimate| estimate.student);
            assert!((student - 0.95).abs() < 0.02, "t, {episodes} episodes: {student}");
        }
        let bootstrap = coverage(60, |estimate| estimate.bootstrap);
        assert!((bootstrap - 0.95).abs() < 0.02, "bootstrap: {bootstrap}");
    }

    #[test]
    fn results_are_read_back_from_json() {
        let estimate = estimate_mean(&[0.1, 0.7, 0.4], &IntervalSettings::default()).unwrap();
        let text = serde_json::to_string(&estimate).unwrap();
        assert_eq!(serde_json::from_str::<MeanEstimate>(&text).unwrap(), estimate);
    }

    #[test]
    fn means_without_an_interval_are_refused_by_variant() {
        let settings = IntervalSettings::default();
        assert!(matches!(estimate_mean(&[1.0], &settings), Err(Error::TooFewValues { needed: 2, got: 1, .. })));
        assert!(matches!(estimate_mean(&[1.0, f64::NAN], &settings), Err(Error::NonFiniteValue { index: 1, .. })));
        for wrong in [
            IntervalSettings { level: 1.0, ..settings },
            IntervalSettings { resamples: 5, ..settings },
            IntervalSettings { resamples: usize::MAX, ..settings },
        ] {
            assert!(matches!(estimate_mean(&[1.0, 2.0], &wrong), Err(Error::InvalidSetting { .. })));
        }
    }
}
