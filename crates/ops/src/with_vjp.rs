//! A value computed outside candle's graph, with a given VJP.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};

use super::composed::{in_graph, value_with_rule};
use crate::Result;

/// `value` as a function of `x` in candle's graph, with the VJP g ↦ Jᵀg by `x`. Both are computed outside that graph.
///
/// **Shapes** g has the shape of `value`, Jᵀg that of `x`.
///
/// **Errors** [`Error::Device`](crate::Error::Device) if the two are on different devices.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let x = Var::new(&[3f64], &Device::Cpu)?;
/// let square = ops::with_vjp(&x.as_detached_tensor().sqr()?, &x, |g| g * 6.0)?;
/// assert_eq!(square.to_vec1::<f64>()?, [9.]);
/// assert_eq!(square.backward()?.get(&x).unwrap().to_vec1::<f64>()?, [6.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn with_vjp<F>(value: &Tensor, x: &Tensor, vjp: F) -> Result<Tensor>
where
    F: Fn(&Tensor) -> CandleResult<Tensor> + Send + Sync + 'static,
{
    value_with_rule(x, value, Vjp(vjp))
}

/// `value` as a function of several arguments in candle's graph: see [`with_vjp`]. `vjps` gives the gradient by each argument, or
/// none where the derivative is 0.
///
/// **Errors** as [`with_vjp`].
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let (x, y) = (Var::new(&[3f64], &Device::Cpu)?, Var::new(&[4f64], &Device::Cpu)?);
/// let product = Tensor::new(&[12f64], &Device::Cpu)?;
/// let product = ops::with_vjps(&product, &[&x, &y], |g| Ok(vec![Some((g * 4.0)?), Some((g * 3.0)?)]))?;
/// let gradients = product.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f64>()?, [4.]);
/// assert_eq!(gradients.get(&y).unwrap().to_vec1::<f64>()?, [3.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn with_vjps<F>(value: &Tensor, arguments: &[&Tensor], vjps: F) -> Result<Tensor>
where
    F: Fn(&Tensor) -> CandleResult<Vec<Option<Tensor>>> + Send + Sync + 'static,
{
    in_graph(arguments, value.clone(), move |g| Ok(vjps(g)?))
}

struct Vjp<F>(F);

impl<F: Fn(&Tensor) -> CandleResult<Tensor>> CustomOp1 for Vjp<F> {
    fn name(&self) -> &'static str {
        "with-vjp"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        Err(candle_core::Error::Msg("with-vjp has no forward pass of its own".into()).bt())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        (self.0)(g).map(Some)
    }
}
