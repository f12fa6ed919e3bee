//! Softmax over the last dimension.

use candle_core::Tensor;

use super::composed::{self, is_composed};
use super::cpu::{require_float, same_dtype, with_elements};
use super::fused_relu::{cotangents_per_row, repeat_rows};
use super::linearized::{
    Gradients, Linearized, TangentCotangentTerm, check_single_cotangent, check_tangent, jvp_in_graph, value_in_graph,
};
use crate::kernels::softmax as kernel;
use crate::{Error, Result};

const OP: &str = "softmax";

/// Softmax over the last dimension in candle's graph.
///
/// **Definition** exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x), which does not overflow. A row whose values are all −∞ gives zeros, with
/// derivative 0.
///
/// **Shapes** `x` and the result `[…, c]`.
///
/// **Errors** [`Error::Shape`] for an empty tensor, [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1e4f64, 1e4], [f64::NEG_INFINITY, 0.], [f64::NEG_INFINITY; 2]], &Device::Cpu)?;
/// assert_eq!(ops::softmax(&x)?.to_vec2::<f64>()?, [[0.5, 0.5], [0., 1.], [0., 0.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    value_in_graph(SoftmaxLinearization::at(x)?, x, &[])
}

/// The value and JVP of [`softmax`], both differentiable.
///
/// **Errors** as [`softmax`], and [`Error::Shape`] if the shapes differ.
pub fn softmax_jvp(x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
    jvp_in_graph(SoftmaxLinearization::at(x)?, x, dx, &[])
}

/// Softmax over the last dimension, linearized at one input: see [`softmax()`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Linearized, SoftmaxLinearization};
/// let softmax = SoftmaxLinearization::at(&Tensor::new(&[[0f64, 0.]], &Device::Cpu)?)?;
/// // J = diag(y) − y yᵀ with y = (1/2, 1/2).
/// assert_eq!(softmax.tangent(&Tensor::new(&[[1f64, 0.]], &Device::Cpu)?)?.to_vec2::<f64>()?, [[0.25, -0.25]]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SoftmaxLinearization {
    y: Tensor,
}

impl SoftmaxLinearization {
    /// The linearization at `x`.
    ///
    /// **Errors** as [`softmax()`].
    pub fn at(x: &Tensor) -> Result<Self> {
        require_float(OP, x)?;
        if x.rank() == 0 || x.elem_count() == 0 {
            let rule = "the input is not empty and has a last dimension";
            return Err(Error::shape(OP, x.dims(), &[], rule));
        }
        let x = x.detach();
        let y = if is_composed(&x) {
            composed::softmax(&x)?
        } else {
            with_elements!(OP, [values: x], T => {
                Tensor::from_vec(kernel::softmax::<T>(values, columns(&x)), x.shape(), x.device())?
            })
        };
        Ok(Self { y })
    }

    /// The map t ↦ y·(t − Σ y·t), which is the JVP and the VJP.
    fn product(&self, t: &Tensor) -> Result<Tensor> {
        let t = t.detach();
        if is_composed(&t) {
            return composed::softmax_product(&repeat_rows(OP, &self.y, &t)?, &t);
        }
        Ok(with_elements!(OP, [y: self.y, values: t], T => {
            Tensor::from_vec(kernel::product::<T>(y, values, columns(&self.y)), t.shape(), t.device())?
        }))
    }
}

fn columns(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1)
}

impl Linearized for SoftmaxLinearization {
    fn value(&self) -> Result<Tensor> {
        Ok(self.y.clone())
    }

    fn gradients(&self, g: &Tensor, _: bool) -> Result<Gradients> {
        same_dtype(OP, &self.y, g)?;
        cotangents_per_row(OP, &self.y, g)?;
        Ok(Gradients { input: self.product(g)?, parameters: Vec::new() })
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        same_dtype(OP, &self.y, t)?;
        check_tangent(OP, self.y.dims(), t)?;
        self.product(t)
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        same_dtype(OP, &self.y, g)?;
        check_single_cotangent(OP, self.y.dims(), g)?;
        let tangent = self.tangent(t)?;
        let by_input = if is_composed(g) {
            composed::softmax_term(&self.y, &g.detach(), &t.detach())?
        } else {
            with_elements!(OP, [y: self.y, g: g.detach(), t: t.detach()], T => {
                let term = kernel::tangent_cotangent_term::<T>(y, g, t, columns(&self.y));
                Tensor::from_vec(term, self.y.shape(), self.y.device())?
            })
        };
        Ok(TangentCotangentTerm { tangent, by_input: Some(by_input), by_parameters: Vec::new() })
    }
}
