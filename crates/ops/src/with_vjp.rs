//! A value computed outside candle's graph, with a given VJP.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};

use super::composed::value_with_rule;
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
