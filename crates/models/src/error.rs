//! What can go wrong while building, running, training, saving or loading a network.

use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while building, running, training, saving or loading a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two tensors do not fit together, or one does not fit the operation.
    #[error("{op}: shapes {left:?} and {right:?} do not fit: {rule}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Shape of the first tensor.
        left: Vec<usize>,
        /// Shape of the second tensor, or what was expected.
        right: Vec<usize>,
        /// The rule that they break.
        rule: String,
    },
    /// A number of the wrong kind.
    #[error("{op}: expected {expected}, got {got}; convert with `to_dtype` first")]
    DType {
        /// The operation.
        op: &'static str,
        /// What the operation works on.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A setting outside its range.
    #[error("{op}: {name} is {value}, but {rule}")]
    Setting {
        /// The operation.
        op: &'static str,
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// No architecture, activation or layer has this name.
    #[error("{what} `{name}` is not known; the nearest are: {}", nearest.join(", "))]
    UnknownName {
        /// What was looked for.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The nearest known names.
        nearest: Vec<String>,
    },
    /// A text does not describe an architecture.
    #[error("{origin}: not the description of an architecture: {reason}")]
    Description {
        /// The file, or what else the text is.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of a description that its family does not have.
    #[error("{origin}: the family `{family}` has no key `{key}`; the nearest are: {}", nearest.join(", "))]
    UnknownKey {
        /// The file, or what else the text is.
        origin: String,
        /// The key.
        key: String,
        /// The family of the description.
        family: &'static str,
        /// The nearest keys of that family.
        nearest: Vec<String>,
    },
    /// A weights file does not hold what the network needs.
    #[error("{}: {report}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Which tensors are missing, unexpected or of another shape.
        report: crate::params::WeightsReport,
    },
    /// A weights file is of another format.
    #[error("{}: not a safetensors file but {found}; in PyTorch, write one by \
             `safetensors.torch.save_file(model.state_dict(), path)`", path.display())]
    WeightsFormat {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: &'static str,
    },
    /// A tensor of a file in numbers that no network can take.
    #[error("{}: tensor `{tensor}` is stored as {stored}, which no network here can take; convert it to f32", path.display())]
    WeightsNumbers {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The kind of its numbers.
        stored: String,
    },
    /// A tensor with values that are not finite.
    #[error("{}: tensor `{tensor}` holds {count} values that are not finite; the file cannot be used", path.display())]
    NonFiniteWeights {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many of its values are NaN or infinite.
        count: usize,
    },
    /// A device that the build or the machine lacks.
    #[error("the device `{device}` cannot be used: {problem}")]
    DeviceUnavailable {
        /// The device.
        device: String,
        /// Why not.
        problem: crate::device::DeviceProblem,
    },
    /// The system refused to start threads.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// A text that names no file of weights.
    #[error("`{source_name}` names no weights: expected a path, or hub:owner/name[@revision][:file]")]
    WeightsSource {
        /// The text.
        source_name: String,
    },
    /// A checkpoint is cut short, changed, or none.
    #[error("{}: not a whole checkpoint: {reason}; {}", path.display(), advice(previous))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The newest whole checkpoint before it, if there is one.
        previous: Option<PathBuf>,
    },
    /// A checkpoint was made by another training, device or build, so that going on from it would give other bits.
    #[error("{}: the {what} of this checkpoint is {saved}, and here {now}; go on with the same one", path.display())]
    CheckpointMismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As it was saved.
        saved: String,
        /// As it is now.
        now: String,
    },
    /// A schedule ends before the run.
    #[error("the schedule ends after {schedule} steps and the run after {run}; make the schedule as long as the run")]
    ScheduleEnds {
        /// Steps of the schedule.
        schedule: u64,
        /// Steps of the run.
        run: u64,
    },
    /// A file could not be read or written.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not a safetensors file, or is cut short.
    #[error("{}: not a readable safetensors file ({source}); was the download or the write cut short?", path.display())]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: safetensors::SafeTensorError,
    },
    /// An operation of the crate `ops` was refused or failed.
    #[error(transparent)]
    Operation(#[from] ops::Error),
    /// The geometric complexity of a batch could not be taken.
    #[error(transparent)]
    GeometricComplexity(#[from] gc_core::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What to do about a damaged checkpoint.
fn advice(previous: &Option<PathBuf>) -> String {
    match previous {
        Some(path) => format!("remove it, and what else is newer, to go on from {}", path.display()),
        None => "there is no whole one before it; start the run afresh".to_owned(),
    }
}

impl Error {
    /// This error as one of candle's, for the inside of a custom operation.
    pub(crate) fn into_candle(self) -> candle_core::Error {
        match self {
            Error::Candle(error) => error,
            Error::Operation(error) => error.into_candle(),
            other => candle_core::Error::wrap(other),
        }
    }
}
