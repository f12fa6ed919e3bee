//! The errors of this crate.

use candle_core::DType;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The quantity in which a value that is not finite was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// The errors of measuring and penalising geometric complexity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The map has no JVP, and the operation needs one.
    #[error("feature map: no forward mode (JVP) is implemented; measure by rows, or implement `FeatureMap::jvp`")]
    NoForwardMode,
    /// The features do not depend on the inputs through differentiable operations.
    #[error(
        "feature map: the features are not connected to the inputs by differentiable operations, so they have no \
         Jacobian; look for a `detach`, or for values that were computed outside the graph"
    )]
    NotDifferentiable,
    /// The features have another shape than `[n, p]`.
    #[error("feature map: expected features of shape [{samples}, p] with p at least 1, got {got:?}")]
    FeatureShape {
        /// Samples in the input.
        samples: usize,
        /// The shape of the features.
        got: Vec<usize>,
    },
    /// The number of features of a sample depends on the size of the batch.
    #[error(
        "feature map: a sample has {alone} features in a batch of one and {together} in a larger batch; the number of \
         features must not depend on the batch size (look for a `reshape` or `flatten` that includes dimension 0)"
    )]
    FeatureCount {
        /// Features of a sample by itself.
        alone: usize,
        /// Features of a sample in a larger batch.
        together: usize,
    },
    /// The features are integers.
    #[error(
        "feature map: expected features of a floating-point dtype, got {got:?}, which has no derivative; return the values \
         before they are rounded or compared (logits instead of predicted classes)"
    )]
    FeatureDType {
        /// The dtype of the features.
        got: DType,
    },
    /// Two forward passes on the same inputs gave different features.
    #[error(
        "feature map: two passes on the same inputs differ by {difference:.2e} (relative), so the map draws random numbers \
         or changes its state; switch dropout off, and layers to evaluation mode, before measuring"
    )]
    NotDeterministic {
        /// The norm of the difference over the norm of the features.
        difference: f64,
    },
    /// A derivative disagrees with finite differences of the features.
    #[error(
        "derivatives: in {mode} mode {disagreeing} of {compared} directional derivatives disagree with finite differences \
         of the features (median relative error {median:.2e}, allowed {tolerance:.2e}), so a geometric complexity computed \
         with them would be wrong. A known cause is candle's `max_pool2d`, whose gradient is wrong by a constant: use \
         `ops::nchw::max_pool2d`, and `ops::nchw::relu` for ReLU. `trust_derivatives` switches this check off"
    )]
    WrongDerivative {
        /// `reverse` or `forward`.
        mode: &'static str,
        /// Pairs of a sample and a direction that were compared.
        compared: usize,
        /// Compared pairs that disagree.
        disagreeing: usize,
        /// The median relative error of the compared pairs.
        median: f64,
        /// The relative error that was allowed.
        tolerance: f64,
    },
    /// No finite difference was accurate enough, or no feature changes with the inputs.
    #[error(
        "derivatives: nothing to compare on {samples} samples, because no feature changes along random directions, or its \
         changes are too irregular; give inputs at which the map is neither constant nor discontinuous"
    )]
    NothingToCompare {
        /// Samples in the input.
        samples: usize,
    },
    /// The penalty of a map without a single variable.
    #[error("penalty: the features depend on no variable, so there are no weights to train; build the map on `Var`s")]
    ConstantWeights,
    /// The features of a sample depend on another sample of the same batch.
    #[error(
        "feature map: {evidence}, so there is no Jacobian per sample; usually batch norm is in training mode: switch it to \
         evaluation mode before measuring"
    )]
    MixesSamples {
        /// The dependence that was found.
        evidence: String,
    },
    /// A value is infinite or NaN.
    #[error("{quantity} of sample {sample} are not finite{}", layer.as_ref().map(|name| format!(" (first seen in {name})")).unwrap_or_default())]
    NonFinite {
        /// The quantity that is not finite.
        quantity: Quantity,
        /// The index of the sample in the order of the stream, from 0.
        sample: usize,
        /// The first layer whose output is not finite, if the map reports it.
        layer: Option<String>,
    },
    /// The gradient of a parameter is infinite or NaN.
    #[error("slope: the gradient of {name} is not finite; the run has diverged, or its loss is not finite")]
    NonFiniteParameter {
        /// The name of the parameter.
        name: String,
    },
    /// There are no samples.
    #[error("measure: the data are empty; at least one sample is needed")]
    EmptyData,
    /// The stream has another number of samples than stated.
    #[error("measure: expected {expected} samples in the stream, as stated, got {got}")]
    PopulationSize {
        /// The stated number of samples.
        expected: usize,
        /// The number of samples in the stream.
        got: usize,
    },
    /// A batch has inputs of a wrong shape or dtype.
    #[error("batch: expected inputs [n, …] like those before, {expected}, got {got:?}")]
    InputShape {
        /// The expected shape and dtype.
        expected: String,
        /// The shape of the batch.
        got: Vec<usize>,
    },
    /// A batch has another number of labels than samples.
    #[error("batch: expected one label per sample, got {labels} labels for {samples} samples")]
    LabelCount {
        /// Samples in the batch.
        samples: usize,
        /// Labels in the batch.
        labels: usize,
    },
    /// Values per class need labels, and a batch has none.
    #[error(
        "batch: values per class need labels with every batch, and a batch has none; give pairs of inputs and labels"
    )]
    LabelsMissing,
    /// A setting is out of its range.
    #[error("{name}: expected {expected}, got {got}")]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// Its range.
        expected: String,
        /// Its value.
        got: String,
    },
    /// The memory budget is too small for one sample.
    #[error(
        "chunk_bytes: one sample needs about {needed} bytes while it is measured, the budget is {budget}; raise it"
    )]
    MemoryBudget {
        /// Bytes that one sample needs.
        needed: usize,
        /// Bytes allowed.
        budget: usize,
    },
    /// The pass budget is too small for one sample.
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
    /// A setting that is out of its range.
    pub(crate) fn setting(name: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Setting { name, expected: expected.into(), got: got.to_string() }
    }
}
