//! The result of a measurement: the value with its error, and everything that was decided on the way.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::{BatchNormMode, InputUnits, Interval, Probe};

/// What the value is a statement about, so what its standard error and interval cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// GC(f, Q): the samples are independent draws from a distribution Q. The error has a data part even if every sample
    /// of the data at hand was measured exactly.
    Distribution,
    /// GC(f, D): the data set D itself, of this many samples. What was measured of it counts as drawn at random without
    /// replacement; measured exactly and whole, the error is 0. More or fewer samples than stated are an error.
    DataSet {
        /// The number of samples in D.
        size: usize,
    },
}

/// Which side of the Jacobian is worked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Rows, or Jᵀv: reverse mode, one backward pass each over one kept forward pass.
    Rows,
    /// Columns, or J u: forward mode, one pass each and no graph; the map must have a JVP.
    Columns,
}

/// How ‖J‖²_F of a sample was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// All rows or all columns.
    Exact {
        /// The side with fewer passes.
        by: Side,
    },
    /// Each entry of the Jacobian kept with probability `rate`, and divided by it.
    EntryMask {
        /// The probability.
        rate: f64,
    },
    /// Some of the outputs, drawn for each sample without replacement, times p/q.
    OutputSample {
        /// The number of outputs q.
        outputs: usize,
    },
    /// Squared norms of random projections.
    Projections {
        /// Jᵀv or J u.
        by: Side,
        /// The kind of random direction.
        probe: Probe,
    },
}

/// The standard error of a value, split by its cause.
///
/// **Definition** total² = data² + probe². `data` comes from the samples that were not measured (for a distribution:
/// from having n samples only), `probe` from estimating ‖J‖² of those that were.
///
/// **Conventions** all three are estimated from the draw that gave the value. With one probe a sample the two parts
/// cannot be told apart (a single vᵀAv says nothing of its own variance): they are `None`. The total remains right for
/// [`Population::Distribution`], and is an upper bound, marked `conservative`, for [`Population::DataSet`]; replicated
/// probes on some samples ([`GeometricComplexity::replicate`](crate::GeometricComplexity::replicate)) identify both.
/// `data` is clamped at 0 where the difference of the two estimated variances is negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StandardError {
    /// The part from the choice of samples.
    pub data: Option<f64>,
    /// The part from the random probes, masks or outputs.
    pub probe: Option<f64>,
    /// The whole; `None` if it takes more samples to tell.
    pub total: Option<f64>,
    /// Whether `total` is an upper bound only.
    pub conservative: bool,
}

/// What was spent: how often one sample went through the map.
///
/// **Conventions** a chunk of 64 samples through a forward pass counts 64. Checks on the first two samples are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Passes {
    /// Forward passes, those inside a JVP included.
    pub forward: u64,
    /// Backward passes to the inputs.
    pub backward: u64,
    /// Tangent passes of a JVP.
    pub tangent: u64,
}

impl Passes {
    /// All passes.
    pub fn total(&self) -> u64 {
        self.forward + self.backward + self.tangent
    }

    /// Counts these passes too.
    pub(crate) fn add(&mut self, more: Passes) {
        self.forward += more.forward;
        self.backward += more.backward;
        self.tangent += more.tangent;
    }
}

/// Why measuring stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// All samples were measured.
    DataExhausted,
    /// The relative standard error was reached.
    RelativeError,
    /// The next sample would have exceeded the number of passes.
    Passes,
    /// The time was over. Only in this case does the value depend on the clock.
    Time,
}

/// How the work was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChunkReport {
    /// Samples measured at a time, at most.
    pub samples: usize,
    /// Estimated bytes that one sample needs while it is measured.
    pub bytes_per_sample: usize,
}

/// Geometric complexity of the samples of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// Geometric complexity, with its error and how it was obtained.
///
/// **Definition** `value` = (1/n) Σ ‖∂f/∂x‖²_F over the n measured samples, or an unbiased estimate of it.
///
/// **Units** squared features per squared input, inputs in `units`.
///
/// **Source** Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083), Definition 1; Munn, Dherin and Gonzalvo, 2024
/// (arXiv 2405.15706), for feature maps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The geometric complexity.
    pub value: f64,
    /// Its standard error as a statement about `population`.
    pub standard_error: StandardError,
    /// Its confidence interval; `None` if the standard error could not be told.
    pub interval: Option<Interval>,
    /// What the error and the interval cover.
    pub population: Population,
    /// Samples measured.
    pub samples: usize,
    /// Random probes a sample (rows, columns, outputs or masks); of a plan, those after the pilot.
    pub probes: usize,
    /// Passes spent.
    pub passes: Passes,
    /// How ‖J‖² was obtained.
    pub method: Method,
    /// The seed of all draws.
    pub seed: u64,
    /// The units of the inputs.
    pub units: InputUnits,
    /// How the map normalised.
    pub batch_norm: BatchNormMode,
    /// Input coordinates of a sample, d.
    pub inputs: usize,
    /// Features of a sample, p.
    pub outputs: usize,
    /// Why measuring stopped.
    pub stopped: Stopped,
    /// How the work was cut.
    pub chunk: ChunkReport,
    /// The split between samples and probes, where the planner made it.
    pub plan: Option<Plan>,
    /// The largest ‖J‖_F among the samples if they were measured exactly: a Lipschitz constant as far as these show it.
    pub largest_norm: Option<f64>,
    /// The estimate of ‖J‖²_F of each sample, in order of arrival, if asked for.
    pub per_sample: Option<Vec<f64>>,
    /// The values by class, in order of label, if asked for.
    pub per_class: Option<Vec<ClassEstimate>>,
}

impl Estimate {
    /// The total standard error over the value; 0 if both are 0, `None` if the error could not be told.
    pub fn relative_error(&self) -> Option<f64> {
        relative(self.value, self.standard_error.total?)
    }
}

/// error/value, where an error of 0 is 0 whatever the value.
pub(crate) fn relative(value: f64, error: f64) -> Option<f64> {
    Some(if error == 0.0 { 0.0 } else { error / value })
}
