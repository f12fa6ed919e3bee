//! The errors of all crates as Python exceptions.

use candle_core::DType;
use pyo3::PyErr;
use pyo3::exceptions::{PyFileNotFoundError, PyMemoryError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};

/// The result of a call into the measuring crates.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of one of the crates, or of an argument.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error(transparent)]
    Collapse(#[from] collapse::Error),
    #[error(transparent)]
    FewShot(#[from] fewshot::Error),
    #[error(transparent)]
    GeometricComplexity(#[from] gc_core::Error),
    #[error(transparent)]
    Models(#[from] models::Error),
    #[error("{}", as_in_python(.0))]
    Onnx(#[from] onnx_graph::Error),
    #[error(transparent)]
    Statistics(#[from] statistics::Error),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    #[error(
        "row {row} has label {label}, but labels are class numbers from 0 to 4294967295; leave out rows without a class"
    )]
    Label { row: usize, label: i64 },
    #[error("{argument}: expected a C-contiguous array")]
    NotContiguous { argument: &'static str },
    #[error("{argument}: {reason}")]
    Argument { argument: &'static str, reason: String },
    #[error("images: expected {} as in the first batch, got {}", numpy_name(*.expected), numpy_name(*.got))]
    BatchType { expected: DType, got: DType },
    #[error("images: a sample has shape {got:?}, the architecture takes {expected:?}")]
    SampleShape { expected: Vec<usize>, got: Vec<usize> },
    #[error(transparent)]
    Python(#[from] PyErr),
}

impl From<Error> for PyErr {
    /// A wrong type or dtype is a `TypeError`, missing memory a `MemoryError`, a file that cannot be read an `OSError`, a failed
    /// tensor operation a `RuntimeError`; every other error is a `ValueError`.
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Python(error) => error,
            Error::Collapse(collapse::Error::Memory { .. }) => PyMemoryError::new_err(text),
            Error::Collapse(collapse::Error::FeatureType { .. })
            | Error::FewShot(fewshot::Error::FeatureType { .. })
            | Error::GeometricComplexity(gc_core::Error::FeatureDType { .. })
            | Error::Models(models::Error::DType { .. })
            | Error::Onnx(
                onnx_graph::Error::DType { .. }
                | onnx_graph::Error::IntegerInput { .. }
                | onnx_graph::Error::IntegerLayer { .. }
                | onnx_graph::Error::ElementType { .. },
            )
            | Error::BatchType { .. } => PyTypeError::new_err(text),
            Error::FewShot(fewshot::Error::Stream(source) | fewshot::Error::Io { source, .. }) => of_io(&source, text),
            Error::Onnx(onnx_graph::Error::File { source, .. }) | Error::Models(models::Error::Io { source, .. }) => {
                of_io(&source, text)
            }
            Error::Tensor(_)
            | Error::Collapse(collapse::Error::Candle(_))
            | Error::FewShot(fewshot::Error::Candle(_))
            | Error::Onnx(onnx_graph::Error::Candle(_) | onnx_graph::Error::Ops(_))
            | Error::GeometricComplexity(gc_core::Error::Candle(_)) => PyRuntimeError::new_err(text),
            _ => PyValueError::new_err(text),
        }
    }
}

fn of_io(source: &std::io::Error, text: String) -> PyErr {
    match source.kind() {
        std::io::ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

/// A message whose advice names the flag of the command line, with the argument of the functions in its place.
fn as_in_python(error: &onnx_graph::Error) -> String {
    ["head", "output"]
        .iter()
        .fold(error.to_string(), |text, word| text.replace(&format!("--layer {word}"), &format!("layer=\"{word}\"")))
        .replace("--layer NAME", "layer=NAME")
}

fn numpy_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        other => other.as_str(),
    }
}
