//! A scalar with value 0 and a given gradient.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::channel::channel_scale;
use super::composed::{Compose, apply1};
use super::cpu::{dispatch_float, same_dtype};
use crate::{Error, Result};

/// A scalar with value 0 whose gradient by `x` is `gradient`, for gradients computed outside candle's graph.
///
/// **Definition** ⟨x, gradient⟩ − ⟨x′, gradient⟩ with x′ = x held fixed, without computing the products.
///
/// **Errors** [`Error::Shape`] if the shapes differ, [`Error::DType`] if the dtypes differ.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let x = Var::new(&[1f64, 2.], &Device::Cpu)?;
/// let scalar = ops::with_gradient(&x, &Tensor::new(&[5f64, 7.], &Device::Cpu)?)?;
/// assert_eq!(scalar.to_scalar::<f64>()?, 0.);
/// assert_eq!(scalar.backward()?.get(&x).unwrap().to_vec1::<f64>()?, [5., 7.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn with_gradient(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    const OP: &str = "with-gradient";
    same_dtype(OP, x, gradient)?;
    if x.dims() != gradient.dims() {
        return Err(Error::shape(OP, x.dims(), gradient.dims(), "a gradient has the shape of its variable"));
    }
    apply1(x, WithGradient(gradient.detach().contiguous()?))
}

struct WithGradient(Tensor);

impl Compose<1> for WithGradient {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        Ok(Tensor::zeros((), x.dtype(), x.device())?)
    }
}

impl CustomOp1 for WithGradient {
    fn name(&self) -> &'static str {
        "with-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => Ok((T::to_cpu_storage_owned(vec![T::default()]), Shape::from(()))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let scaled = channel_scale(&self.0.reshape(((), 1))?, &g.reshape(1)?).map_err(Error::into_candle)?;
        Ok(Some(scaled.reshape(x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_value_is_zero_and_the_gradient_the_given_one() {
        let x = Var::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[5f64, 6.], [7., 8.]], &Device::Cpu).unwrap();
        for route in [false, true] {
            let run = || with_gradient(&x, &gradient).unwrap();
            let scalar = if route { crate::composed(run) } else { run() };
            assert_eq!(scalar.to_scalar::<f64>().unwrap(), 0.0);
            let store = (scalar * 3.0).unwrap().backward().unwrap();
            assert_eq!(store.get(&x).unwrap().to_vec2::<f64>().unwrap(), [[15., 18.], [21., 24.]]);
        }
        let other = Tensor::new(&[1f64], &Device::Cpu).unwrap();
        assert!(matches!(with_gradient(&x, &other), Err(Error::Shape { op: "with-gradient", .. })));
        let narrow = gradient.to_dtype(candle_core::DType::F32).unwrap();
        assert!(matches!(with_gradient(&x, &narrow), Err(Error::DType { op: "with-gradient", .. })));
    }
}
