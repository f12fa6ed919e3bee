//! Means with their standard errors and confidence intervals.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::interval_settings::IntervalSettings;
use crate::{Error, Result};

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The nominal coverage, such as 0.95.
    pub level: f64,
}

impl Interval {
    /// Whether `value` lies in the interval, ends included.
    ///
    /// ```
    /// let interval = fewshot::Interval { low: 0.2, high: 0.4, level: 0.95 };
    /// assert!(interval.contains(0.4) && !interval.contains(0.5));
    /// assert_eq!(interval.to_string(), "0.20 to 0.40");
    /// ```
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Half of the width: the ± of a table.
    pub fn half_width(&self) -> f64 {
        0.5 * (self.high - self.low)
    }
}

impl fmt::Display for Interval {
    /// The ends, with two significant digits of half of the width: `0.853 to 0.881`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = decimals(self.half_width());
        write!(f, "{:.decimals$} to {:.decimals$}", self.low, self.high)
    }
}

/// A mean over independent samples (episodes or models) with its standard error and two confidence intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanEstimate {
    /// The mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1) over √n.
    pub standard_error: f64,
    /// Number of samples (n).
    pub samples: usize,
    /// Student's t-interval with n − 1 degrees of freedom.
    pub student: Interval,
    /// Bootstrap interval with expanded percentiles; samples are resampled with replacement.
    ///
    /// **Definition** the interval between the Φ(−r) and Φ(r) quantiles of the resampled means, r = √(n/(n−1)) t. In
    /// small samples it is as wide as the t-interval.
    ///
    /// **Source** Hesterberg, What teachers should know about the bootstrap, The American Statistician 2015, section
    /// 5.3.
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

/// Number of decimals that shows two significant digits of `error`; 0 to 12.
pub(crate) fn decimals(error: f64) -> usize {
    if !(error > 0.0 && error.is_finite()) {
        return 4;
    }
    (1.0 - error.log10().floor()).clamp(0.0, 12.0) as usize
}

/// The mean of `values` with Student's t-interval and a bootstrap interval.
///
/// **Definition** mean ± t·s/√n, where s is the standard deviation with divisor n − 1 and t the quantile of Student's
/// distribution with n − 1 degrees of freedom.
///
/// **Errors** [`Error::TooFewValues`] for fewer than two values, [`Error::NonFiniteValue`], [`Error::InvalidSetting`].
///
/// ```
/// use fewshot::{IntervalSettings, estimate_mean};
/// // s² = (1 + 0 + 1)/2 = 1, t(2 degrees, 97.5 %) = 4.302653.
/// let mean = estimate_mean(&[1.0, 2.0, 3.0], &IntervalSettings::default())?;
/// assert_eq!(mean.mean, 2.0);
/// assert!((mean.student.half_width() - 4.302653 / 3f64.sqrt()).abs() < 1e-6);
/// assert_eq!(mean.to_string(), "2.0 ± 2.5");
/// # fewshot::Result::Ok(())
/// ```
pub fn estimate_mean(values: &[f64], settings: &IntervalSettings) -> Result<MeanEstimate> {
    check_values("a mean", values, 2)?;
    settings.check()?;
    let resampled = crate::bootstrap::resampled_means(&[values], settings);
    mean_with(values, resampled.into_iter().next().unwrap_or_default(), settings)
}

/// [`estimate_mean`] with given bootstrap means.
pub(crate) fn mean_with(values: &[f64], resampled: Vec<f64>, settings: &IntervalSettings) -> Result<MeanEstimate> {
    check_values("a mean", values, 2)?;
    let mut running = RunningMean::default();
    values.iter().for_each(|&value| running.push(value));
    let (mean, standard_error) = (running.mean, running.standard_error().unwrap_or(0.0));
    let student = student_interval(mean, standard_error, values.len(), settings.level);
    let bootstrap = expanded_percentiles(resampled, values.len(), settings.level);
    Ok(MeanEstimate { mean, standard_error, samples: values.len(), student, bootstrap })
}

pub(crate) fn check_values(statistic: &'static str, values: &[f64], needed: usize) -> Result<()> {
    if values.len() < needed {
        return Err(Error::TooFewValues { statistic, needed, got: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFiniteValue { statistic, index, value: values[index] }),
        None => Ok(()),
    }
}

/// mean ± t · standard error.
pub(crate) fn student_interval(mean: f64, standard_error: f64, samples: usize, level: f64) -> Interval {
    let half = student_quantile(0.5 + 0.5 * level, (samples - 1) as f64) * standard_error;
    Interval { low: mean - half, high: mean + half, level }
}

/// The expanded percentile interval of `resampled`; see [`MeanEstimate::bootstrap`].
pub(crate) fn expanded_percentiles(mut resampled: Vec<f64>, samples: usize, level: f64) -> Interval {
    resampled.sort_unstable_by(f64::total_cmp);
    let n = samples as f64;
    let reach = (n / (n - 1.0)).sqrt() * student_quantile(0.5 + 0.5 * level, n - 1.0);
    let tail = Normal::standard().cdf(-reach);
    Interval { low: quantile(&resampled, tail), high: quantile(&resampled, 1.0 - tail), level }
}

/// The quantile of ascending values with linear interpolation (type 7 of Hyndman and Fan).
pub(crate) fn quantile(ascending: &[f64], share: f64) -> f64 {
    let position = share * (ascending.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(ascending.len() - 1);
    ascending[below] + (position - below as f64) * (ascending[above] - ascending[below])
}

/// The quantile of Student's distribution, by bisection of its distribution function.
///
/// The distribution function of `statrs` is exact to rounding; its inverse is tested to three digits only.
pub(crate) fn student_quantile(share: f64, degrees: f64) -> f64 {
    let Ok(student) = StudentsT::new(0.0, 1.0, degrees) else { return f64::NAN };
    if share < 0.5 {
        return -student_quantile(1.0 - share, degrees);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while student.cdf(high) < share && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if student.cdf(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Running mean and variance (Welford's algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunningMean {
    pub(crate) count: usize,
    pub(crate) mean: f64,
    squares: f64,
}

impl RunningMean {
    pub(crate) fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Sample standard deviation (divisor n − 1); none for fewer than two values.
    pub(crate) fn standard_deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }

    pub(crate) fn standard_error(&self) -> Option<f64> {
        self.standard_deviation().map(|deviation| deviation / (self.count as f64).sqrt())
    }

    pub(crate) fn student(&self, level: f64) -> Option<Interval> {
        self.standard_error().map(|error| student_interval(self.mean, error, self.count, level))
    }
}

#[cfg(test)]
mod tests;
