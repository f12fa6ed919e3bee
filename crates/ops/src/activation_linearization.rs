//! Activations and PReLU, linearized at one input.

use std::sync::OnceLock;

use candle_core::Tensor;

use super::activation::derivative;
use super::channel::channel_dot;
use super::composed::is_composed;
use super::cpu::{require_float, same_dtype, with_elements};
use super::fused_relu::{cotangents_per_row, relu_mask_rows, repeat_rows};
use super::linearized::{
    Gradients, Linearized, TangentCotangentTerm, check_single_cotangent, check_tangent, jvp_in_graph, value_in_graph,
};
use super::product::hadamard;
use crate::kernels::{Activation, elementwise};
use crate::{Error, Result};

/// The elementwise product without a graph of k cotangents per sample and one factor per sample.
///
/// **Shapes** `g` `[k·n, …]`, `factor` `[n, …]`, the result as `g`. Row r of `g` belongs to row r mod n of `factor`.
///
/// **Errors** [`Error::Shape`](crate::Error::Shape) if the sizes do not match, [`Error::DType`](crate::Error::DType) if the dtypes
/// differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let (g, factor) = (Tensor::new(&[[1f64], [2.], [3.], [4.]], &Device::Cpu)?, Tensor::new(&[[5f64], [7.]], &Device::Cpu)?);
/// assert_eq!(ops::hadamard_rows(&g, &factor)?.flatten_all()?.to_vec1::<f64>()?, [5., 14., 15., 28.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn hadamard_rows(g: &Tensor, factor: &Tensor) -> Result<Tensor> {
    times_rows("hadamard-rows", g, factor)
}

/// As [`hadamard_rows`], for errors of this operation.
fn times_rows(op: &'static str, g: &Tensor, factor: &Tensor) -> Result<Tensor> {
    same_dtype(op, g, factor)?;
    let g = g.detach();
    if cotangents_per_row(op, factor, &g)? == 1 || is_composed(&g) {
        return hadamard(&g, &repeat_rows(op, factor, &g)?);
    }
    Ok(with_elements!(op, [x: g, y: factor.detach()], T => {
        Tensor::from_vec(elementwise::zip_map::<T, _>(x, y, |x, y| x * y), g.shape(), g.device())?
    }))
}

/// An activation, linearized at one input.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Activation, ActivationLinearization, Linearized};
/// let x = Tensor::new(&[-1f64, 2.], &Device::Cpu)?;
/// let relu6 = ActivationLinearization::at(Activation::Relu6, &x)?;
/// assert_eq!(relu6.value()?.to_vec1::<f64>()?, [0., 2.]);
/// assert_eq!(relu6.tangent(&Tensor::new(&[5f64, 7.], &Device::Cpu)?)?.to_vec1::<f64>()?, [0., 7.]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ActivationLinearization {
    activation: Activation,
    /// The input; for ReLU the value, of which the derivative is a function too and which the next layer keeps.
    at: Tensor,
    /// The derivative, once a VJP of several cotangents per sample has needed it.
    slope: OnceLock<Tensor>,
}

impl ActivationLinearization {
    /// The linearization at `x`.
    ///
    /// **Errors** [`Error::DType`] unless `x` is f32 or f64.
    pub fn at(activation: Activation, x: &Tensor) -> Result<Self> {
        require_float("activation", x)?;
        let x = x.detach();
        let at = if activation == Activation::Relu { activation.forward(&x)? } else { x };
        Ok(Self { activation, at, slope: OnceLock::new() })
    }

    /// The derivative at every element, or none for the identity and ReLU; kept for later VJPs if `keeps`.
    fn slope(&self, keeps: bool) -> Result<Option<Tensor>> {
        if matches!(self.activation, Activation::Identity | Activation::Relu) {
            return Ok(None);
        }
        if let Some(slope) = self.slope.get() {
            return Ok(Some(slope.clone()));
        }
        let slope = derivative(self.activation, 1, &self.at)?;
        Ok(Some(if keeps { self.slope.get_or_init(|| slope).clone() } else { slope }))
    }

    fn times_slope(&self, g: &Tensor) -> Result<Tensor> {
        const OP: &str = "activation";
        same_dtype(OP, &self.at, g)?;
        let each = cotangents_per_row(OP, &self.at, g)?;
        match self.slope(each > 1)? {
            Some(slope) => times_rows(OP, g, &slope),
            None if self.activation == Activation::Relu => relu_mask_rows(g, &self.at),
            None => Ok(g.detach()),
        }
    }
}

impl Activation {
    /// Whether the second derivative is 0 wherever it exists.
    pub fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Relu | Self::Relu6 | Self::HardSigmoid | Self::LeakyRelu { .. } | Self::Identity)
    }
}

impl Linearized for ActivationLinearization {
    fn value(&self) -> Result<Tensor> {
        if self.activation == Activation::Relu { Ok(self.at.clone()) } else { self.activation.forward(&self.at) }
    }

    fn gradients(&self, g: &Tensor, _: bool) -> Result<Gradients> {
        Ok(Gradients { input: self.times_slope(g)?, parameters: Vec::new() })
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        check_tangent("activation", self.at.dims(), t)?;
        self.times_slope(t)
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        check_single_cotangent("activation", self.at.dims(), g)?;
        let tangent = self.tangent(t)?;
        let by_input = if self.activation.is_piecewise_linear() {
            None
        } else {
            let product = hadamard(&g.detach(), &t.detach())?;
            Some(hadamard(&product, &derivative(self.activation, 2, &self.at)?)?)
        };
        Ok(TangentCotangentTerm { tangent, by_input, by_parameters: Vec::new() })
    }
}

/// PReLU in candle's graph: x for x > 0, w·x otherwise.
///
/// **Conventions** The derivative at 0 is w, as in PyTorch.
///
/// **Shapes** `x` and the result `[…, c]`, `weight` `[c]` (one slope per channel) or `[1]`.
///
/// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless both tensors are f32 or both are f64.
///
/// **Source** K. He et al., "Delving Deep into Rectifiers", ICCV 2015 (arXiv 1502.01852), equation 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[-1f64, -2.], [3., 4.]], &Device::Cpu)?;
/// let y = ops::prelu(&x, &Tensor::new(&[0.5f64, 0.25], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f64>()?, [[-0.5, -0.5], [3., 4.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn prelu(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    value_in_graph(PreluLinearization::at(x, weight)?, x, &[weight])
}

/// The value and JVP of [`prelu`], both differentiable.
///
/// **Errors** as [`prelu`], and [`Error::Shape`] if the shapes of `x` and `dx` differ.
pub fn prelu_jvp(x: &Tensor, dx: &Tensor, weight: &Tensor) -> Result<(Tensor, Tensor)> {
    jvp_in_graph(PreluLinearization::at(x, weight)?, x, dx, &[weight])
}

/// PReLU, linearized at one input: see [`prelu()`].
#[derive(Debug, Clone)]
pub struct PreluLinearization {
    x: Tensor,
    weight: Tensor,
    /// 1 where x > 0, w elsewhere.
    slope: Tensor,
}

const PRELU: &str = "prelu";

impl PreluLinearization {
    /// The linearization at `x`.
    ///
    /// **Errors** as [`prelu()`].
    pub fn at(x: &Tensor, weight: &Tensor) -> Result<Self> {
        require_float(PRELU, x)?;
        same_dtype(PRELU, x, weight)?;
        let channels = x.dims().last().copied().unwrap_or(1);
        if x.rank() == 0 || !(weight.dims() == [channels] || weight.dims() == [1]) {
            return Err(Error::shape(
                PRELU,
                x.dims(),
                weight.dims(),
                "the weight has one value, or one per channel (the last size of the input)",
            ));
        }
        let (x, weight) = (x.detach().contiguous()?, weight.detach());
        let slopes = weight.broadcast_as(x.shape())?.contiguous()?;
        let slope = x.gt(&x.zeros_like()?)?.where_cond(&x.ones_like()?, &slopes)?;
        Ok(Self { x, weight, slope })
    }

    /// Σ g·x over the elements at which x ≤ 0, per weight, with `factor` in place of the second x.
    fn by_weight(&self, g: &Tensor, factor: &Tensor) -> Result<Tensor> {
        let zeros = factor.zeros_like()?;
        let negative = self.x.gt(&self.x.zeros_like()?)?.where_cond(&zeros, factor)?;
        let sums = channel_dot(&g.detach().contiguous()?, &repeat_rows(PRELU, &negative, g)?)?;
        if self.weight.dims() == sums.dims() { Ok(sums) } else { Ok(sums.sum_keepdim(0)?) }
    }
}

impl Linearized for PreluLinearization {
    fn value(&self) -> Result<Tensor> {
        hadamard(&self.x, &self.slope)
    }

    fn gradients(&self, g: &Tensor, by_parameters: bool) -> Result<Gradients> {
        let input = times_rows(PRELU, g, &self.slope)?;
        let parameters = by_parameters.then(|| self.by_weight(g, &self.x)).transpose()?;
        Ok(Gradients { input, parameters: parameters.into_iter().collect() })
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        check_tangent(PRELU, self.x.dims(), t)?;
        times_rows(PRELU, t, &self.slope)
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        check_single_cotangent(PRELU, self.x.dims(), g)?;
        let tangent = self.tangent(t)?;
        let by_weight = self.by_weight(g, &t.detach().contiguous()?)?;
        Ok(TangentCotangentTerm { tangent, by_input: None, by_parameters: vec![Some(by_weight)] })
    }
}
