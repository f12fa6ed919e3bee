//! Errors of the operations.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shapes of two tensors do not match, or one does not match the operation.
    #[error("{op}: shapes {left:?} and {right:?} do not match: {rule}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Shape of the first tensor.
        left: Vec<usize>,
        /// Shape of the second tensor, or the expected shape.
        right: Vec<usize>,
        /// The rule that they violate.
        rule: String,
    },
    /// A tensor of an unsupported dtype, or two tensors of different dtypes.
    #[error("{op}: expected {expected}, got {got}; convert with `to_dtype` first")]
    DType {
        /// The operation.
        op: &'static str,
        /// The supported dtype.
        expected: String,
        /// The dtype found.
        got: String,
    },
    /// Two tensors on different devices.
    #[error("{op}: the first tensor is on {left:?}, another on {right:?}; move one with `to_device` first")]
    Device {
        /// The operation.
        op: &'static str,
        /// The device of the first tensor.
        left: candle_core::DeviceLocation,
        /// The device of the other tensor.
        right: candle_core::DeviceLocation,
    },
    /// Mixed precision (bf16 or TF32 products) is not available for these tensors.
    #[error(
        "{op}: {products} products need f32 tensors on a CUDA device of compute capability 8.0 or above, and a build with `--features \
         cudnn`; found {dtype} tensors on {device:?}; use another accuracy"
    )]
    MixedPrecision {
        /// The operation.
        op: &'static str,
        /// The requested format of the factors, `bf16` or `tf32`.
        products: &'static str,
        /// The dtype found.
        dtype: String,
        /// The device of the tensors.
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
        /// The rule that it violates.
        rule: &'static str,
    },
    /// A candle operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// [`Error::Shape`] of these shapes.
    pub(crate) fn shape(op: &'static str, left: &[usize], right: &[usize], rule: impl Into<String>) -> Self {
        Self::Shape { op, left: left.to_vec(), right: right.to_vec(), rule: rule.into() }
    }

    /// Converts into a candle error, for use in a candle custom operation.
    pub fn into_candle(self) -> candle_core::Error {
        match self {
            Error::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// So that `?` on an operation works in functions that return candle's errors, such as the `forward` of a candle-nn module.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// fn forward(x: &Tensor) -> candle_core::Result<Tensor> {
///     Ok(ops::nchw::max_pool2d(&ops::relu(x)?, 2)?)
/// }
/// let y = forward(&Tensor::ones((1, 1, 2, 2), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(y.dims(), [1, 1, 1, 1]);
/// # Ok::<(), candle_core::Error>(())
/// ```
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        error.into_candle()
    }
}
