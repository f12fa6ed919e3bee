//! The error type.

use std::error::Error as StdError;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of an assessment, or of the registry of measures.
///
/// A measure that is undefined on these data (coinciding class means, a singular covariance) is no error: its value is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No measure has this key.
    #[error("unknown measure `{key}`{}; `Measure::all()` lists the {known} measures", did_you_mean(.nearest))]
    UnknownMeasure {
        /// The key that was given.
        key: String,
        /// The nearest keys, if any are similar.
        nearest: Vec<String>,
        /// Number of measures.
        known: usize,
    },
    /// A measure with this key exists.
    #[error("cannot register the measure `{key}`: a measure with this key exists; choose another key")]
    MeasureExists {
        /// The key.
        key: String,
    },
    /// A key has characters that files and command lines do not take.
    #[error(
        "cannot register the measure `{key}`: a key is lower-case letters, digits and underscores, and starts with a letter"
    )]
    MeasureKey {
        /// The key.
        key: String,
    },
    /// A part of the data has no images.
    #[error("{part}: there are no images to measure on")]
    Empty {
        /// The part.
        part: &'static str,
    },
    /// Some batches of a part have labels and others do not, or labels are needed and missing.
    #[error("{part}: {what} needs a label for every image, but batch {batch} has none; label all images")]
    Unlabelled {
        /// The part.
        part: &'static str,
        /// What needs the labels.
        what: &'static str,
        /// Position of the batch.
        batch: usize,
    },
    /// A batch has another number of labels than images.
    #[error("{part}: batch {batch} has {images} images but {labels} labels; give one label for every image")]
    LabelCount {
        /// The part.
        part: &'static str,
        /// Position of the batch.
        batch: usize,
        /// Images of the batch.
        images: usize,
        /// Labels of the batch.
        labels: usize,
    },
    /// A feature is not finite.
    #[error("{part}: a feature of batch {batch} is not finite{}; the network has diverged, or its inputs are wrong", at_layer(.layer))]
    NotFinite {
        /// The part.
        part: &'static str,
        /// Position of the batch.
        batch: usize,
        /// The first layer whose output is not finite, if the network names it.
        layer: Option<String>,
    },
    /// The features of a part would take more memory than allowed.
    #[error(
        "{part}: features of {images} images and more take over {limit} bytes; raise `Options::memory_limit`, or give fewer images"
    )]
    Memory {
        /// The part.
        part: &'static str,
        /// Images whose features were held.
        images: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// A setting contradicts another, or the data.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The caller ended the assessment.
    #[error("the assessment was cancelled while measuring {stage}")]
    Cancelled {
        /// The stage that was not finished.
        stage: String,
    },
    /// The source of the images failed.
    #[error("{part}: cannot read the images")]
    Source {
        /// The part.
        part: &'static str,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The forward pass of a part failed.
    #[error("{part}: the network failed")]
    Network {
        /// The part.
        part: &'static str,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Geometric complexity was not measured.
    #[error("{part}: geometric complexity")]
    Complexity {
        /// The part.
        part: &'static str,
        /// The reason.
        source: gc_core::Error,
    },
    /// Moments or measures of collapse failed on the input, not by being undefined.
    #[error("{part}: collapse")]
    Collapse {
        /// The part.
        part: &'static str,
        /// The reason.
        source: collapse::Error,
    },
    /// Few-shot episodes or transfer scores failed.
    #[error("{part}: {what}")]
    FewShot {
        /// The part.
        part: &'static str,
        /// Episodes or scores.
        what: &'static str,
        /// The reason.
        source: fewshot::Error,
    },
    /// One of several layers was not measured.
    #[error("layer `{layer}`")]
    Layer {
        /// Its name.
        layer: String,
        /// The reason.
        source: Box<Error>,
    },
    /// An operation on a tensor failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

fn did_you_mean(nearest: &[String]) -> String {
    let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(" or ")) }
}

fn at_layer(layer: &Option<String>) -> String {
    layer.as_ref().map_or_else(String::new, |layer| format!(", first after layer `{layer}`"))
}
