//! Activations and their derivatives up to the third. The gradient of each order is the next order.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::composed::{self, Compose, apply1, on_cuda};
use super::cpu::{dispatch_float, elements, require_float};
use super::product::{hadamard, relu_mask};
use crate::kernels::activation::Derivative;
use crate::kernels::{Activation, elementwise};
use crate::{Error, Result};

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

    /// The activation φ(x) and its JVP φ′(x)·dx.
    ///
    /// **Errors** as [`Activation::forward`], and [`Error::Shape`] if the shapes differ.
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
            Activation::Relu => relu_mask(dx, &y)?,
            smooth => hadamard(dx, &derivative(smooth, 1, x)?)?,
        };
        Ok((y, dy))
    }
}

/// max(x, 0), with derivative 0 at 0 as in PyTorch and JAX.
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

/// The derivative of this order (0 to 3) of an activation at each element, itself differentiable up to order 3.
///
/// At a kink it is the derivative of one side: see [`Activation`].
///
/// **Shapes** that of `x`.
///
/// **Errors** [`Error::Setting`] for orders above 3, ReLU and the identity;
/// [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Activation, derivative};
/// let slope = derivative(Activation::Tanh, 1, &Tensor::new(&[0f64], &Device::Cpu)?)?;
/// assert_eq!(slope.to_vec1::<f64>()?, [1.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn derivative(activation: Activation, order: u8, x: &Tensor) -> Result<Tensor> {
    let op = Smooth { activation, order };
    require_float(op.name(), x)?;
    require_derivative(activation, order)?;
    apply1(x, op)
}

/// Returns an error for orders above 3, ReLU and the identity.
pub(crate) fn require_derivative(activation: Activation, order: u8) -> Result<()> {
    match Derivative::new(activation, order) {
        Some(_) => Ok(()),
        None => Err(Smooth { activation, order }.not_implemented()),
    }
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
        relu_mask(g, y).map(Some).map_err(Error::into_candle)
    }
}

/// The derivative of this order of a smooth activation. Its gradient is the derivative of the next order.
struct Smooth {
    activation: Activation,
    order: u8,
}

impl Smooth {
    fn not_implemented(&self) -> Error {
        Error::Setting {
            op: "smooth-activation",
            name: "derivative",
            value: format!("order {} of {:?}", self.order, self.activation),
            rule: "only orders 0 to 3 are implemented, and none of ReLU and the identity",
        }
    }
}

impl Compose<1> for Relu {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        on_cuda!(x, rectify(x));
        // NaN ≤ 0 is false, so NaN stays NaN.
        let zero = x.zeros_like()?;
        Ok(x.le(&zero)?.where_cond(&zero, x)?)
    }
}

impl Compose<1> for Smooth {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        composed::smooth_derivative(self.activation, self.order, x)?.ok_or_else(|| self.not_implemented())
    }
}

impl CustomOp1 for Smooth {
    fn name(&self) -> &'static str {
        "smooth-activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let derivative =
            Derivative::new(self.activation, self.order).ok_or_else(|| self.not_implemented().into_candle())?;
        dispatch_float!(self.name(), x, T => {
            let y = elementwise::changed(elements::<T>(self.name(), x, layout)?, |block| derivative.apply(block));
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let slope = derivative(self.activation, self.order + 1, x).map_err(Error::into_candle)?;
        hadamard(g, &slope).map(Some).map_err(Error::into_candle)
    }
}
