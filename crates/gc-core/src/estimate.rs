//! The result of a measurement: the value with its standard error, and how it was obtained.

use std::fmt;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::{BatchNormMode, Covariate, Derivatives, InputUnits, Interval, Probe};

/// The population that a value is a statement about, and that its standard error and interval refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// GC(f, Q): the samples are independent draws from a distribution Q. The standard error has a data part even if every
    /// available sample was measured exactly.
    Distribution,
    /// GC(f, D): the data set D itself, with this many samples. The measured samples count as drawn at random without
    /// replacement; if all are measured exactly, the standard error is 0. A stream with another number of samples is an
    /// error.
    DataSet {
        /// The number of samples in D.
        size: usize,
    },
}

/// The side of the Jacobian that is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Rows, or Jᵀv: reverse mode, one backward pass each over one stored forward pass.
    Rows,
    /// Columns, or J u: forward mode, one pass each without a graph. The map must have a JVP.
    Columns,
}

/// The estimator of ‖J‖²_F of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// All rows or all columns.
    Exact {
        /// The side that was computed.
        by: Side,
    },
    /// Each entry of the Jacobian with probability `rate`, divided by it.
    EntryMask {
        /// The probability.
        rate: f64,
    },
    /// q of the p rows, drawn without replacement for each sample, times p/q.
    OutputSample {
        /// The number of rows q.
        outputs: usize,
    },
    /// Squared norms of random projections.
    Projections {
        /// The side: Jᵀv or J u.
        by: Side,
        /// The distribution of the directions.
        probe: Probe,
    },
}

/// The standard error of a value, split by its cause.
///
/// **Definition** total² = data² + probe². `data` is the error from the samples that were not measured (for a
/// distribution: from having n samples only), `probe` that from estimating ‖J‖² of the measured ones.
///
/// **Conventions** all three are estimated from the same draw as the value. One probe per sample does not identify the two
/// parts (a single vᵀAv has no variance estimate), and both are `None`. The total is then still right for
/// [`Population::Distribution`], and an upper bound, marked `conservative`, for [`Population::DataSet`]. Replicated probes
/// on some samples ([`GeometricComplexity::replicate`](crate::GeometricComplexity::replicate)) identify both parts. `data`
/// is 0 where the difference of the two estimated variances is negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StandardError {
    /// The part from the choice of samples.
    pub data: Option<f64>,
    /// The part from random probes, masks or outputs.
    pub probe: Option<f64>,
    /// The total; `None` if there are too few samples for an estimate.
    pub total: Option<f64>,
    /// Whether `total` is only an upper bound.
    pub conservative: bool,
}

/// The cost of a measurement: passes of one sample through the map.
///
/// **Conventions** a forward pass of a chunk of 64 samples counts 64. The inspection of the first two samples and the
/// [check of derivatives](Derivatives) are not included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Passes {
    /// Forward passes, including those inside a JVP.
    pub forward: u64,
    /// Backward passes to the inputs.
    pub backward: u64,
    /// Tangent passes of a JVP.
    pub tangent: u64,
}

impl Passes {
    /// The sum of all passes.
    pub fn total(&self) -> u64 {
        self.forward + self.backward + self.tangent
    }

    /// Adds other passes.
    pub(crate) fn add(&mut self, more: Passes) {
        self.forward += more.forward;
        self.backward += more.backward;
        self.tangent += more.tangent;
    }
}

/// Weights that are variables below the features of a map that was measured as it is.
///
/// The value is the same as with constant weights, because only the gradient with respect to the inputs is used. But each
/// backward pass also computes and drops the gradient of every such weight, which takes time and memory for `entries`
/// numbers. Constant weights avoid the cost: [`FeatureMap::frozen`](crate::FeatureMap::frozen),
/// [`frozen_weights`](crate::frozen_weights).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrackedWeights {
    /// The number of variables.
    pub count: usize,
    /// The number of entries of all variables.
    pub entries: usize,
    /// Bytes of the gradients that each backward pass computes in addition.
    pub gradient_bytes: usize,
}

impl TrackedWeights {
    pub(crate) fn include(&mut self, weight: &Tensor) {
        self.count += 1;
        self.entries += weight.elem_count();
        self.gradient_bytes += weight.elem_count() * weight.dtype().size_in_bytes();
    }
}

/// The reason for which a measurement stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// All samples were measured.
    DataExhausted,
    /// The relative standard error was reached.
    RelativeError,
    /// The next sample would have exceeded the number of passes.
    Passes,
    /// The time limit was reached. Only in this case does the value depend on the clock.
    Time,
}

/// The division of the samples into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChunkReport {
    /// The largest number of samples that are measured at a time.
    pub samples: usize,
    /// Estimated bytes that one sample needs while it is measured.
    pub bytes_per_sample: usize,
}

/// Geometric complexity of the samples of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassEstimate {
    /// The class.
    pub label: u32,
    /// The mean of ‖J‖²_F over the measured samples of the class.
    pub value: f64,
    /// Its standard error as a statement about the distribution of the class.
    pub standard_error: StandardError,
    /// Measured samples of the class.
    pub samples: usize,
}

/// The regression on covariates of the inputs that gave the value; see
/// [`GeometricComplexity::regress_on_inputs`](crate::GeometricComplexity::regress_on_inputs).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Regression {
    /// The covariates, known for all samples of the data set.
    pub covariates: Vec<Covariate>,
    /// The share of the variance of the measured estimates, including that of probes, that the covariates predict for samples
    /// outside the fit; at or below 0 they predict nothing.
    pub explained: f64,
    /// The plain mean of the measured estimates, which the regression adjusts.
    pub plain_mean: f64,
}

/// Geometric complexity with its standard error, and how it was obtained.
///
/// **Definition** `value` = (1/n) Σ ‖∂f/∂x‖²_F over the n measured samples, or an unbiased estimate of it. With a
/// [regression](Estimate::regression) it is an unbiased estimate of the mean over the data set.
///
/// **Units** squared features per squared input, inputs in `units`.
///
/// **Source** Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083), Definition 1; Munn, Dherin and Gonzalvo, 2024
/// (arXiv 2405.15706), for feature maps.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use gc_core::{Estimate, GeometricComplexity};
///
/// let x = Tensor::arange(0f64, 400., &Device::Cpu)?.sin()?.reshape((200, 2))?;
/// let estimate = GeometricComplexity::exact().measure_inputs(&|x: &Tensor| x.tanh(), &x)?;
/// // The value is rounded to the digits of its standard error.
/// assert_eq!(estimate.to_string(), "0.98 ± 0.02");
/// let json = serde_json::to_string(&estimate).unwrap();
/// assert_eq!(serde_json::from_str::<Estimate>(&json).unwrap(), estimate);
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The geometric complexity.
    pub value: f64,
    /// Its standard error as a statement about `population`.
    pub standard_error: StandardError,
    /// Its confidence interval, corrected for skewness and at least 0; `None` without a standard error. The degrees of freedom
    /// are those of Welch and Satterthwaite where two variances add up.
    pub interval: Option<Interval>,
    /// The population that the standard error and the interval refer to.
    pub population: Population,
    /// The number of measured samples.
    pub samples: usize,
    /// Probes per sample (rows, columns, outputs or masks); of a plan, those of the samples after the last one.
    pub probes: usize,
    /// Passes spent.
    pub passes: Passes,
    /// The estimator of ‖J‖².
    pub method: Method,
    /// The seed of all draws.
    pub seed: u64,
    /// The units of the inputs.
    pub units: InputUnits,
    /// The statistics that batch norm used.
    pub batch_norm: BatchNormMode,
    /// Input coordinates of a sample, d.
    pub inputs: usize,
    /// Features of a sample, p.
    pub outputs: usize,
    /// Why the measurement stopped.
    pub stopped: Stopped,
    /// The division into chunks.
    pub chunk: ChunkReport,
    /// The split between samples and probes of a planned measurement.
    pub plan: Option<Plan>,
    /// The largest ‖J‖_F among samples that were measured exactly: an estimate of the Lipschitz constant from below.
    pub largest_norm: Option<f64>,
    /// The estimate of ‖J‖²_F of each sample in the order of the stream, if requested.
    pub per_sample: Option<Vec<f64>>,
    /// The values per class in the order of their labels, if requested.
    pub per_class: Option<Vec<ClassEstimate>>,
    /// How the derivatives of the map were checked, and the cost of the check.
    #[serde(default)]
    pub derivatives: Derivatives,
    /// Weights that are variables, and the cost of measuring with them; `None` if all weights were constants.
    #[serde(default)]
    pub tracked_weights: Option<TrackedWeights>,
    /// The regression on covariates of the inputs, if one was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,
}

impl Estimate {
    /// The total standard error over the value; 0 if the error is 0, `None` without a standard error.
    pub fn relative_error(&self) -> Option<f64> {
        relative(self.value, self.standard_error.total?)
    }
}

/// The value and its standard error, both rounded to the first digit of the error (the first two if it begins with 1).
/// Without an error the value has six digits.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.standard_error.total {
            Some(error) if error > 0.0 && error.is_finite() => {
                f.write_str(&with_error(self.value, error))?;
                f.write_str(if self.standard_error.conservative { " (upper bound of the error)" } else { "" })
            }
            _ => f.write_str(&significant(self.value, 6)),
        }
    }
}

/// error/value, where an error of 0 is 0 whatever the value.
pub(crate) fn relative(value: f64, error: f64) -> Option<f64> {
    Some(if error == 0.0 { 0.0 } else { error / value })
}

/// The decimal exponent of the first digit.
fn exponent(number: f64) -> i32 {
    number.abs().log10().floor() as i32
}

fn with_error(value: f64, error: f64) -> String {
    let two_digits = error / 10f64.powi(exponent(error)) < 1.95;
    let last = exponent(error) - i32::from(two_digits);
    // Rounding can carry the error to its next power of ten: 0.97 becomes 1.0.
    let error = rounded(error, last);
    let scale = exponent(value.abs().max(error));
    if (-4..=6).contains(&scale) {
        let decimals = (-last).max(0) as usize;
        return format!("{:.decimals$} ± {error:.decimals$}", rounded(value, last));
    }
    let decimals = (scale - last).max(0) as usize;
    let unit = 10f64.powi(scale);
    format!("({:.decimals$} ± {:.decimals$})e{scale}", value / unit, error / unit)
}

/// The multiple of 10^`last` that is nearest to the number.
fn rounded(number: f64, last: i32) -> f64 {
    if last <= 0 { number } else { (number / 10f64.powi(last)).round() * 10f64.powi(last) }
}

fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let scale = exponent(value);
    if (-4..=6).contains(&scale) {
        let decimals = (digits - 1 - scale).max(0) as usize;
        return format!("{value:.decimals$}");
    }
    let decimals = (digits - 1) as usize;
    format!("{:.decimals$}e{scale}", value / 10f64.powi(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_rounded_to_the_digits_of_its_error() {
        for (value, error, text) in [
            (17.2345, 0.6123, "17.2 ± 0.6"),
            (699.3, 12.4, "699 ± 12"),
            (0.5, 0.03, "0.50 ± 0.03"),
            (12_345.0, 321.0, "12300 ± 300"),
            (9.96, 0.18, "9.96 ± 0.18"),
            (5.0, 0.196, "5.0 ± 0.2"),
            (0.2, 3.0, "0 ± 3"),
            (1.234e-7, 3.2e-9, "(1.23 ± 0.03)e-7"),
            (4.56e12, 2e10, "(4.56 ± 0.02)e12"),
        ] {
            assert_eq!(with_error(value, error), text);
        }
        assert_eq!(significant(699.123_456, 6), "699.123");
        assert_eq!(significant(1.5e-9, 6), "1.50000e-9");
        assert_eq!(significant(0.0, 6), "0");
    }
}
