//! Values with a derivative rule of this crate.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result as CandleResult, Shape, Storage, Tensor,
};

use crate::Result;

/// The backward pass of a rule: from the cotangent of the value to that of the argument.
type Rule = dyn Fn(&Tensor) -> CandleResult<Tensor> + Send + Sync;

/// `value` as a function of `x` whose VJP is `rule`.
///
/// candle computes the gradients of all operands of its operations. A rule computes that of `x` alone, and nothing for weights.
pub(super) fn with_rule(
    x: &Tensor,
    value: Tensor,
    rule: impl Fn(&Tensor) -> CandleResult<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !x.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op1(Ruled { value, rule: Box::new(rule) })?)
}

/// `value` as an elementwise function of `x` with these derivatives.
pub(super) fn with_slope(x: &Tensor, value: Tensor, slope: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    if !x.track_op() {
        return Ok(value);
    }
    let slope = slope()?;
    with_rule(x, value, move |g| g.mul(&slope))
}

struct Ruled {
    value: Tensor,
    rule: Box<Rule>,
}

impl Ruled {
    /// A copy of the value: candle requires that an operation allocates its result.
    fn storage(&self) -> CandleResult<(Storage, Shape)> {
        let value = self.value.contiguous()?;
        let (storage, layout) = value.storage_and_layout();
        let narrow = value.elem_count() != storage_len(&storage) || layout.start_offset() != 0;
        if narrow {
            drop(storage);
            let copied = value.force_contiguous()?;
            let (storage, layout) = copied.storage_and_layout();
            return Ok((storage.try_clone(layout)?, value.shape().clone()));
        }
        Ok((storage.try_clone(layout)?, value.shape().clone()))
    }
}

/// The number of elements that a storage holds.
fn storage_len(storage: &Storage) -> usize {
    match storage {
        Storage::Cpu(storage) => match storage {
            CpuStorage::F32(values) => values.len(),
            CpuStorage::F64(values) => values.len(),
            _ => 0,
        },
        _ => 0,
    }
}

fn elsewhere(device: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("the value of an operation is not on {device} as its argument is"))
}

impl CustomOp1 for Ruled {
    fn name(&self) -> &'static str {
        "onnx-operator"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        match self.storage()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("the CPU")),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        match self.storage()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("CUDA")),
        }
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> CandleResult<(MetalStorage, Shape)> {
        match self.storage()? {
            (Storage::Metal(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("Metal")),
        }
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let gradient = (self.rule)(g)?;
        debug_assert_eq!(gradient.dims(), x.dims());
        Ok(Some(gradient))
    }
}
