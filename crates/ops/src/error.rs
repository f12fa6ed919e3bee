//! Errors of the operations.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed.
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
    /// Two tensors on different devices.
    #[error("{op}: the first tensor is on {left:?}, another on {right:?}; move one with `to_device` first")]
    Device {
        /// The operation.
        op: &'static str,
        /// Where the first tensor is.
        left: candle_core::DeviceLocation,
        /// Where the other one is.
        right: candle_core::DeviceLocation,
    },
    /// Mixed precision where it cannot be had.
    #[error(
        "{op}: mixed precision was asked for {dtype} tensors on {device:?}; it takes f32 tensors on a CUDA device and a build \
         with `--features cudnn`, anywhere else leave it out"
    )]
    MixedPrecision {
        /// The operation.
        op: &'static str,
        /// The kind of number.
        dtype: String,
        /// Where the tensors are.
        device: candle_core::DeviceLocation,
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
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// This error as one of candle's, for use inside a candle custom operation.
    pub fn into_candle(self) -> candle_core::Error {
        match self {
            Error::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}
