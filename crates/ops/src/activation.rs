//! Activations with their first three derivatives, each an operation whose gradient is the next one.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor, WithDType};
use serde::{Deserialize, Serialize};

use super::composed::{self, Compose, apply1, on_cuda};
use super::cpu::{dispatch_float, elements, require_float};
use super::product::{gate, hadamard};
use crate::kernels::elementwise;
use crate::{Error, Result};

/// A function applied to every element.
///
/// **Conventions** ReLU has derivative 0 at 0, as PyTorch and JAX have it; GELU is the exact form x·Φ(x), not the tanh
/// approximation; softplus is ln(1 + eˣ).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x·Φ(x), Φ the standard normal distribution function.
    Gelu,
    /// x / (1 + e⁻ˣ).
    Silu,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
    /// x itself.
    Identity,
}

impl Activation {
    /// The activation of `x`, of the same shape.
    ///
    /// **Errors** [`Error::DType`] unless `x` is f32 or f64.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::Activation;
    /// let x = Tensor::new(&[-1f64, 0., 2.], &Device::Cpu)?;
    /// assert_eq!(Activation::Relu.forward(&x)?.to_vec1::<f64>()?, [0., 0., 2.]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        require_float("activation", x)?;
        match self {
            Activation::Identity => Ok(x.clone()),
            Activation::Relu => apply1(x, Relu),
            smooth => derivative(smooth, 0, x),
        }
    }

    /// The activation of `x` and its directional derivative φ′(x)·dx.
    ///
    /// **Errors** as [`Activation::forward`], and [`Error::Shape`] when the shapes differ.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::Activation;
    /// let x = Tensor::new(&[-1f64, 0., 2.], &Device::Cpu)?;
    /// let (y, dy) = Activation::Relu.jvp(&x, &Tensor::new(&[5f64, 6., 7.], &Device::Cpu)?)?;
    /// assert_eq!(y.to_vec1::<f64>()?, [0., 0., 2.]);
    /// assert_eq!(dy.to_vec1::<f64>()?, [0., 0., 7.]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn jvp(self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        let y = self.forward(x)?;
        let dy = match self {
            Activation::Identity => dx.clone(),
            Activation::Relu => gate(dx, &y)?,
            smooth => hadamard(dx, &derivative(smooth, 1, x)?)?,
        };
        Ok((y, dy))
    }
}

/// max(x, 0) with derivative 0 at 0; see [`Activation::Relu`].
///
/// **Errors** [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let x = Var::new(&[-1f64, 0., 2.], &Device::Cpu)?;
/// let y = ops::relu(&x)?;
/// assert_eq!(y.to_vec1::<f64>()?, [0., 0., 2.]);
/// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_vec1::<f64>()?, [0., 0., 1.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn relu(x: &Tensor) -> Result<Tensor> {
    Activation::Relu.forward(x)
}

/// The derivative of the given order of a smooth activation, at each value.
pub fn derivative(activation: Activation, order: u8, x: &Tensor) -> Result<Tensor> {
    apply1(x, Smooth { activation, order })
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let y = elementwise::map(elements::<T>(self.name(), x, layout)?, elementwise::positive_part);
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        gate(g, y).map(Some).map_err(Error::into_candle)
    }
}

/// The derivative of the given order of a smooth activation; its own derivative is that of the next order.
struct Smooth {
    activation: Activation,
    order: u8,
}

impl Smooth {
    fn too_high(&self) -> Error {
        Error::Setting {
            op: "smooth-activation",
            name: "order of differentiation",
            value: self.order.to_string(),
            rule: "at most 3 are implemented",
        }
    }
}

impl Compose<1> for Relu {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        on_cuda!(x, rectify(x));
        // NaN is not at most 0, so it passes through.
        let zero = x.zeros_like()?;
        Ok(x.le(&zero)?.where_cond(&zero, x)?)
    }
}

impl Compose<1> for Smooth {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        composed::smooth_derivative(self.activation, self.order, x)?.ok_or_else(|| self.too_high())
    }
}

impl CustomOp1 for Smooth {
    fn name(&self) -> &'static str {
        "smooth-activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let function =
            elementwise::smooth_derivative(self.activation, self.order).ok_or_else(|| self.too_high().into_candle())?;
        dispatch_float!(self.name(), x, T => {
            let y = elementwise::map(
                elements::<T>(self.name(), x, layout)?,
                |x| T::from_f64(function(x.to_f64())),
            );
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let slope = derivative(self.activation, self.order + 1, x).map_err(Error::into_candle)?;
        hadamard(g, &slope).map(Some).map_err(Error::into_candle)
    }
}
