//! The errors of building, running, training, saving and loading networks.

use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The errors of building, running, training, saving and loading networks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shapes of two tensors, or of a tensor and an operation, do not fit.
    #[error("{op}: shapes {left:?} and {right:?} do not fit: {rule}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Shape of the first tensor.
        left: Vec<usize>,
        /// Shape of the second tensor, or what was expected.
        right: Vec<usize>,
        /// The rule that the shapes break.
        rule: String,
    },
    /// A tensor of another dtype.
    #[error("{op}: expected {expected}, got {got}; convert with `to_dtype` first")]
    DType {
        /// The operation.
        op: &'static str,
        /// The dtypes that the operation supports.
        expected: String,
        /// The dtype found.
        got: String,
    },
    /// A layer without a derivative rule of its own gave an output that candle's graph does not lead back to its input.
    #[error(
        "the output {shape:?} of a layer does not depend on its input in candle's graph; use operations that candle can \
             differentiate and no `detach`, or implement `Layer::linearize`"
    )]
    NotDifferentiable {
        /// The shape of the output.
        shape: Vec<usize>,
    },
    /// The VJPs and the JVPs of layers without derivative rules of their own contradict each other.
    #[error(
        "the VJPs and the JVPs of a layer that candle's graph differentiates differ by {mismatch:.1e}: a derivative rule of \
             candle is wrong there, or the layer jumps; `gc_core::check_derivatives` finds the operation, and `ops` has right ones"
    )]
    TangentMismatch {
        /// |Σ⟨v, J u⟩/Σ‖u‖² − 1| with u = Jᵀv.
        mismatch: f64,
    },
    /// A layer without a derivative rule of its own gives different outputs at almost the same input.
    #[error(
        "two passes of a layer at almost the same input differ by {difference:.1e} of the output: it draws random numbers or \
             jumps, and its JVP, a difference of two passes, would be wrong; make it deterministic, or implement `Layer::linearize`"
    )]
    NotDeterministic {
        /// The relative difference.
        difference: f64,
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
        /// The kind of thing that has the name.
        what: &'static str,
        /// The unknown name.
        name: String,
        /// The most similar known names.
        nearest: Vec<String>,
    },
    /// A text does not describe an architecture.
    #[error("{origin}: not the description of an architecture: {reason}")]
    Description {
        /// The file, or a description of the text.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A description has a key that its family does not have.
    #[error("{origin}: the family `{family}` has no key `{key}`; the nearest are: {}", nearest.join(", "))]
    UnknownKey {
        /// The file, or a description of the text.
        origin: String,
        /// The key.
        key: String,
        /// The family of the description.
        family: &'static str,
        /// The most similar keys of that family.
        nearest: Vec<String>,
    },
    /// The tensors of a file of weights are not those of the network.
    #[error("{}: {report}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// The tensors that are missing, unexpected or of another shape.
        report: Box<crate::WeightsReport>,
    },
    /// A file of weights has another format.
    #[error("{}: neither a safetensors file nor a zip archive of PyTorch but {found}; in PyTorch, write one by \
             `safetensors.torch.save_file(model.state_dict(), path)`", path.display())]
    WeightsFormat {
        /// The file.
        path: PathBuf,
        /// The format that it seems to have.
        found: &'static str,
    },
    /// A PyTorch file is damaged, or could only be read by executing the code that it names.
    #[error("{}: not a PyTorch state dict that can be read as data: {reason}; in PyTorch, save one by \
             `torch.save(model.state_dict(), path)`", path.display())]
    PyTorchFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A folder or an index of weights is ambiguous or incomplete.
    #[error("{}: {reason}", path.display())]
    WeightsShards {
        /// The folder or the index file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A tensor of a file has a dtype that weights do not have.
    #[error("{}: tensor `{tensor}` is stored as {stored}; expected floating-point numbers, so convert it to f32", path.display())]
    WeightsNumbers {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The dtype in the file.
        stored: String,
    },
    /// A tensor with values that are not finite.
    #[error("{}: tensor `{tensor}` holds {count} values that are not finite; the file cannot be used", path.display())]
    NonFiniteWeights {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The number of values that are NaN or infinite.
        count: usize,
    },
    /// The build or the machine does not have a device.
    #[error("the device `{device}` cannot be used: {problem}")]
    DeviceUnavailable {
        /// The device.
        device: String,
        /// The reason.
        problem: crate::DeviceProblem,
    },
    /// The system refused to start threads.
    #[error("{threads} threads could not be started: {reason}")]
    Threads {
        /// The number of threads.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// A text names no file of weights.
    #[error("`{source_name}` names no weights: expected a path, or hub:owner/name[@revision][:file]")]
    WeightsSource {
        /// The text.
        source_name: String,
    },
    /// A file is no checkpoint, is cut short, or was changed.
    #[error("{}: not a whole checkpoint: {reason}; {}", path.display(), advice(previous))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The newest undamaged checkpoint before it, if there is one.
        previous: Option<PathBuf>,
    },
    /// A checkpoint was written by another training, device or build: a run that continues from it would not give the same
    /// bits.
    #[error("{}: the {what} of this checkpoint is {saved}, and here it is {now}; continue with the same one", path.display())]
    CheckpointMismatch {
        /// The file.
        path: PathBuf,
        /// The setting that differs.
        what: &'static str,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
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
        /// The action that failed.
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
    /// The geometric complexity of a batch could not be computed.
    #[error(transparent)]
    GeometricComplexity(#[from] gc_core::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The advice for a damaged checkpoint.
fn advice(previous: &Option<PathBuf>) -> String {
    match previous {
        Some(path) => format!("remove it and all newer ones to continue from {}", path.display()),
        None => "there is no undamaged one before it; start the run again".to_owned(),
    }
}

impl Error {
    /// This error as an error of candle, for use inside a custom operation.
    pub(crate) fn into_candle(self) -> candle_core::Error {
        match self {
            Error::Candle(error) => error,
            Error::Operation(error) => error.into_candle(),
            other => candle_core::Error::wrap(other),
        }
    }
}
