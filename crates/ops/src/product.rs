//! Elementwise products, whose derivatives are elementwise products.

use candle_core::{CpuStorage, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::composed::{Compose, apply2, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, same_dtype};
use crate::kernels::elementwise;
use crate::{Error, Result};

/// The elementwise product x·m of tensors of one shape. The gradient of a detached factor is not computed.
///
/// **Errors** [`Error::Shape`] if the shapes differ, [`Error::DType`] unless both are f32 or both are f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[2f64, 3.], &Device::Cpu)?;
/// assert_eq!(ops::hadamard(&x, &x)?.to_vec1::<f64>()?, [4., 9.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn hadamard(x: &Tensor, m: &Tensor) -> Result<Tensor> {
    require_same_shape("hadamard", x, m)?;
    apply2(x, m, Hadamard)
}

/// x where `reference` is positive and 0 elsewhere: the VJP and JVP of ReLU, whose derivative at 0 is 0.
///
/// `reference` is the input or the output of the ReLU.
///
/// **Errors** as [`hadamard`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[5f64, 6., 7.], &Device::Cpu)?;
/// let reference = Tensor::new(&[-1f64, 0., 1.], &Device::Cpu)?;
/// assert_eq!(ops::relu_mask(&x, &reference)?.to_vec1::<f64>()?, [0., 0., 7.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn relu_mask(x: &Tensor, reference: &Tensor) -> Result<Tensor> {
    require_same_shape("relu-mask", x, reference)?;
    // The derivative by the reference is 0 almost everywhere, so the reference is not part of the graph.
    apply2(x, &reference.detach(), ReluMask)
}

/// Checks that both tensors have the same shape and dtype, f32 or f64.
pub(crate) fn require_same_shape(op: &'static str, left: &Tensor, right: &Tensor) -> Result<()> {
    require_float(op, left)?;
    same_dtype(op, left, right)?;
    if left.dims() == right.dims() {
        return Ok(());
    }
    Err(Error::shape(op, left.dims(), right.dims(), "both have the same shape"))
}

struct Hadamard;
struct ReluMask;

impl Compose<2> for Hadamard {
    fn compose(&self, [x, m]: [&Tensor; 2]) -> Result<Tensor> {
        Ok((x * m)?)
    }
}

impl Compose<2> for ReluMask {
    fn compose(&self, [x, reference]: [&Tensor; 2]) -> Result<Tensor> {
        on_cuda!(x, relu_mask(x, reference));
        let positive = reference.gt(&reference.zeros_like()?)?;
        Ok(positive.where_cond(x, &x.zeros_like()?)?)
    }
}

impl CustomOp2 for Hadamard {
    fn name(&self) -> &'static str {
        "hadamard"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, m: &CpuStorage, lm: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let (x, m) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), m, lm)?);
            let y = elementwise::zip_map(x, m, |x, m| x * m);
            Ok((T::to_cpu_storage_owned(y), lx.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, m: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let towards = |argument: &Tensor, other: &Tensor| -> CandleResult<Option<Tensor>> {
            if !argument.track_op() {
                return Ok(None);
            }
            hadamard(g, other).map(Some).map_err(Error::into_candle)
        };
        Ok((towards(x, m)?, towards(m, x)?))
    }
}

impl CustomOp2 for ReluMask {
    fn name(&self) -> &'static str {
        "relu-mask"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, r: &CpuStorage, lr: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let (x, r) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), r, lr)?);
            let y = elementwise::zip_map(x, r, elementwise::relu_mask);
            Ok((T::to_cpu_storage_owned(y), lx.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, r: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        if !x.track_op() {
            return Ok((None, None));
        }
        Ok((Some(relu_mask(g, r).map_err(Error::into_candle)?), None))
    }
}
