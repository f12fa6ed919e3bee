//! What can go wrong while measuring geometric complexity.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Where a value stopped being finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Quantity {
    /// The inputs of the map.
    Inputs,
    /// The features of the map.
    Features,
    /// A derivative of the features.
    Gradient,
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inputs => "inputs",
            Self::Features => "features",
            Self::Gradient => "gradient",
        })
    }
}

/// What can go wrong while measuring geometric complexity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A forward-mode derivative was asked of a map that has none.
    #[error("feature map: no forward mode (jvp) is implemented; measure by rows, or implement `FeatureMap::jvp`")]
    NoForwardMode,
    /// The features do not depend on the inputs through differentiable operations.
    #[error(
        "feature map: the features are not connected to the inputs by differentiable operations (was something detached, \
         or computed outside the graph?), so their Jacobian cannot be taken"
    )]
    NotDifferentiable,
    /// The features have another shape than `[n, p]`.
    #[error("feature map: expected features of shape [{samples}, p] with p at least 1, got {got:?}")]
    FeatureShape {
        /// The number of samples that went in.
        samples: usize,
        /// The shape that came out.
        got: Vec<usize>,
    },
    /// Measuring would also compute the gradient of every weight.
    #[error(
        "feature map: {count} weights are variables, so each pass would compute their gradients too; build the map on \
         detached weights (`frozen_weights`, `Parametric`), or implement `FeatureMap::frozen`"
    )]
    TrackedWeights {
        /// How many variables lie below the features, the input not counted.
        count: usize,
    },
    /// The derivative of a map is not that of its values.
    #[error(
        "derivative check: in {mode} mode the derivative differs from finite differences by {error:.2e} (relative, at most \
         {tolerance:.2e} allowed), so anything measured through it is wrong; some operation's {mode} rule is wrong, or the \
         inputs lie on a kink"
    )]
    WrongDerivative {
        /// `reverse` or `forward`.
        mode: &'static str,
        /// The largest relative error that was seen.
        error: f64,
        /// The largest that was allowed.
        tolerance: f64,
    },
    /// No feature changes with the inputs, so there is nothing to compare a derivative with.
    #[error(
        "derivative check: no feature of the {samples} samples changes along random directions; give inputs at which the \
         map is not constant"
    )]
    Flat {
        /// The number of samples that went in.
        samples: usize,
    },
    /// A penalty on a map without a single variable.
    #[error("penalty: no weight below the features is a variable, so there is nothing to train")]
    ConstantWeights,
    /// A sample's features depend on another sample of the same batch.
    #[error(
        "feature map: {evidence}, so there is no Jacobian per sample; usually batch norm is in training mode: switch it to \
         evaluation mode before measuring"
    )]
    MixesSamples {
        /// What the check saw.
        evidence: String,
    },
    /// A value is infinite or not a number.
    #[error("{quantity} of sample {sample} are not finite{}", layer.as_ref().map(|name| format!(" (first seen in {name})")).unwrap_or_default())]
    NonFinite {
        /// What is not finite.
        quantity: Quantity,
        /// The index of the sample in the order in which samples arrived, from 0.
        sample: usize,
        /// The first layer whose output is not finite, where the map can tell.
        layer: Option<String>,
    },
    /// The gradient of a parameter is infinite or not a number.
    #[error("slope: the gradient of {name} is not finite; the run has diverged, or its loss is not finite")]
    NonFiniteParameter {
        /// The name of the parameter.
        name: String,
    },
    /// There is nothing to measure on.
    #[error("measure: the data are empty; at least one sample is needed")]
    EmptyData,
    /// Fewer samples arrived than were to be drawn from.
    #[error("measure: the data were said to hold {expected} samples, but {got} arrived")]
    PopulationSize {
        /// The stated number of samples.
        expected: usize,
        /// The number that arrived.
        got: usize,
    },
    /// Inputs of a batch that cannot be measured.
    #[error("batch: expected inputs [n, …] like those before, {expected}, got {got:?}")]
    InputShape {
        /// What was expected.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// A batch with another number of labels than samples.
    #[error("batch: {labels} labels for {samples} samples")]
    LabelCount {
        /// Samples in the batch.
        samples: usize,
        /// Labels in the batch.
        labels: usize,
    },
    /// Some batches have labels and others do not, or values per class were asked without labels.
    #[error("batch: values per class need labels with every batch, and a batch without any came")]
    LabelsMissing,
    /// A setting that cannot be.
    #[error("{name}: expected {expected}, got {got}")]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The memory budget holds less than one sample.
    #[error(
        "chunk_bytes: one sample needs about {needed} bytes while it is measured, the budget is {budget}; raise it"
    )]
    MemoryBudget {
        /// Bytes that one sample needs.
        needed: usize,
        /// Bytes allowed.
        budget: usize,
    },
    /// The pass budget ends before one sample is measured.
    #[error("max_passes: one sample needs {needed} passes through the map, the budget is {budget}; raise it")]
    PassBudget {
        /// Passes that one sample needs.
        needed: u64,
        /// Passes allowed.
        budget: u64,
    },
    /// The source of batches failed.
    #[error("measure: the next batch could not be read: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// A setting that cannot be, with what was expected and what came.
    pub(crate) fn setting(name: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Setting { name, expected: expected.into(), got: got.to_string() }
    }
}
