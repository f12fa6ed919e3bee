//! The one trait for "a network to measure".

use candle_core::Tensor;

use crate::{Error, Result};

/// A map from a batch of inputs to a batch of features, one row a sample.
///
/// **Shapes** input `[n, …]`, features `[n, p]`. Row i of the features may depend on row i of the input alone: a map
/// that mixes samples (training-mode batch norm) has no per-sample Jacobian, and measuring refuses it.
///
/// A closure is a feature map without forward mode, so any candle model is measured in one line:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::FeatureMap;
///
/// let weight = Tensor::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = |x: &Tensor| x.matmul(&weight.t()?);
/// let features = linear.features(&Tensor::zeros((7, 2), DType::F64, &Device::Cpu)?)?;
/// assert_eq!(features.dims(), [7, 3]);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub trait FeatureMap {
    /// The features `[n, p]` of the inputs `[n, …]`.
    fn features(&self, x: &Tensor) -> Result<Tensor>;

    /// The features of `x` and their directional derivative J(x)·dx, both `[n, p]`; `dx` has the shape of `x`.
    ///
    /// # Errors
    /// [`Error::NoForwardMode`] unless the map implements it.
    fn jvp(&self, _x: &Tensor, _dx: &Tensor) -> Result<(Tensor, Tensor)> {
        Err(Error::NoForwardMode)
    }

    /// Whether [`FeatureMap::jvp`] is implemented.
    fn has_jvp(&self) -> bool {
        false
    }
}

impl<F> FeatureMap for F
where
    F: Fn(&Tensor) -> candle_core::Result<Tensor>,
{
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self(x)?)
    }
}
