//! The operations composed of candle operations, for devices without kernels of this crate.
//!
//! On the CPU an operation calls its kernel. On other devices its value is composed of candle operations that are right
//! (products, sums, comparisons, views, matrix products). Its gradient is the rule of this crate on every device: candle's
//! gradients of pooling, ReLU and convolution are not used.
//!
//! [`composed()`] uses these compositions on the CPU too, to compare them with the kernels. On CUDA, operations with a kernel in
//! the module `cuda`, and convolutions with the feature `cudnn`, do not use them. Metal has not been run.

mod activation;
mod attention;
mod batch_norm;
mod convolution;
mod graph;
mod loss;
mod pool;
mod recorded;
mod sample_norm;
mod windows;

use std::cell::Cell;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DeviceLocation, Layout, MetalStorage,
    Result as CandleResult, Shape, Storage, Tensor,
};

pub(crate) use activation::smooth_derivative;
pub(crate) use attention::{Attention, softmax, softmax_product, softmax_term};
#[cfg(feature = "cuda")]
pub(crate) use batch_norm::on_device;
pub(crate) use batch_norm::{moments, normalised, training_gradients, training_tangent_cotangent_term};
pub(crate) use convolution::{input_gradient, is_pointwise, output, weight_gradient};
pub(crate) use graph::in_graph;
pub(crate) use loss::{cross_entropy, cross_entropy_gradient, cross_entropy_with_gradient};
pub(crate) use pool::{average, gather, max_positions, scatter, spread};
use recorded::{is_recorded, recorded1, recorded2, recorded3};
pub(crate) use sample_norm::SampleNorm;

use crate::{Error, Result};

thread_local! {
    static ON_CPU: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with every operation composed of candle operations, as on a device without kernels of this crate.
///
/// This is much slower than the kernels and serves to check them. Only operations called by this thread are affected.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{composed, relu};
/// let x = Tensor::new(&[-1f64, 0., 2.], &Device::Cpu)?;
/// let by_kernel = relu(&x)?.to_vec1::<f64>()?;
/// assert_eq!(composed(|| relu(&x))?.to_vec1::<f64>()?, by_kernel);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn composed<R>(body: impl FnOnce() -> R) -> R {
    /// Restores the setting even if the body panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ON_CPU.set(self.0);
        }
    }
    let _restore = Restore(ON_CPU.replace(true));
    body()
}

/// Returns the value of a CUDA kernel from the calling function, if it supports `$x`.
macro_rules! on_cuda {
    ($x:expr, $kernel:ident($($argument:expr),*)) => {
        #[cfg(feature = "cuda")]
        if crate::cuda::takes($x) {
            return Ok(crate::cuda::$kernel($($argument),*)?);
        }
    };
}
pub(crate) use on_cuda;

/// Whether operations on `x` are composed of candle operations.
pub(crate) fn is_composed(x: &Tensor) -> bool {
    !x.device().is_cpu() || ON_CPU.get()
}

/// Whether operations of this thread depend on a setting of the thread, so that their caller must not move to another thread.
///
/// ```
/// assert!(!ops::is_bound_to_thread());
/// assert!(ops::composed(ops::is_bound_to_thread));
/// ```
pub fn is_bound_to_thread() -> bool {
    ON_CPU.get() || tape::is_recording()
}

/// An operation on `N` tensors that can be composed of candle operations.
pub(crate) trait Compose<const N: usize> {
    /// The value, without a graph.
    fn compose(&self, arguments: [&Tensor; N]) -> Result<Tensor>;

    /// Whether the kernel of the operation is used for `x`.
    fn has_kernel(&self, x: &Tensor) -> bool {
        !is_composed(x)
    }
}

/// `op` of one tensor, by kernel or composed.
pub(crate) fn apply1<O>(x: &Tensor, op: O) -> Result<Tensor>
where
    O: CustomOp1 + Compose<1> + Send + Sync + 'static,
{
    if op.has_kernel(x) {
        let x = x.contiguous()?;
        return if is_recorded([&x]) { recorded1(&x, op) } else { Ok(x.apply_op1(op)?) };
    }
    let value = op.compose([&x.detach()])?;
    if !x.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op1(Ruled { value, rule: op })?)
}

/// `value`, computed elsewhere, as the result of `rule` at `x`.
pub(crate) fn value_with_rule<O>(x: &Tensor, value: &Tensor, rule: O) -> Result<Tensor>
where
    O: CustomOp1 + Send + Sync + 'static,
{
    same_device(rule.name(), x, value)?;
    Ok(x.apply_op1(Ruled { value: value.detach(), rule })?)
}

/// `op` of two tensors, by kernel or composed.
pub(crate) fn apply2<O>(x: &Tensor, y: &Tensor, op: O) -> Result<Tensor>
where
    O: CustomOp2 + Compose<2> + Send + Sync + 'static,
{
    same_device(op.name(), x, y)?;
    if op.has_kernel(x) {
        let (x, y) = (x.contiguous()?, y.contiguous()?);
        return if is_recorded([&x, &y]) { recorded2(&x, &y, op) } else { Ok(x.apply_op2(&y, op)?) };
    }
    let value = op.compose([&x.detach(), &y.detach()])?;
    if !x.track_op() && !y.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op2(y, Ruled { value, rule: op })?)
}

/// `op` of three tensors, by kernel or composed.
pub(crate) fn apply3<O>(x: &Tensor, y: &Tensor, z: &Tensor, op: O) -> Result<Tensor>
where
    O: CustomOp3 + Compose<3> + Send + Sync + 'static,
{
    same_device(op.name(), x, y)?;
    same_device(op.name(), x, z)?;
    if op.has_kernel(x) {
        let (x, y, z) = (x.contiguous()?, y.contiguous()?, z.contiguous()?);
        return if is_recorded([&x, &y, &z]) { recorded3(&x, &y, &z, op) } else { Ok(x.apply_op3(&y, &z, op)?) };
    }
    let value = op.compose([&x.detach(), &y.detach(), &z.detach()])?;
    if !x.track_op() && !y.track_op() && !z.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op3(y, z, Ruled { value, rule: op })?)
}

/// Returns an error if the tensors are on different devices.
pub(crate) fn same_device(op: &'static str, left: &Tensor, right: &Tensor) -> Result<()> {
    same_location(op, left.device().location(), right.device().location())
}

fn same_location(op: &'static str, left: DeviceLocation, right: DeviceLocation) -> Result<()> {
    if left == right { Ok(()) } else { Err(Error::Device { op, left, right }) }
}

/// A computed value with the gradient rule of an operation.
struct Ruled<O> {
    value: Tensor,
    rule: O,
}

impl<O> Ruled<O> {
    /// A copy of the value's storage: candle requires that an operation allocates its result.
    fn storage(&self) -> CandleResult<(Storage, Shape)> {
        let value = self.value.contiguous()?;
        let (storage, layout) = value.storage_and_layout();
        Ok((storage.try_clone(layout)?, value.shape().clone()))
    }

    fn on_cpu(&self) -> CandleResult<(CpuStorage, Shape)> {
        match self.storage()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => Err(wrong_device("the CPU")),
        }
    }

    fn on_cuda(&self) -> CandleResult<(CudaStorage, Shape)> {
        match self.storage()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => Err(wrong_device("CUDA")),
        }
    }

    fn on_metal(&self) -> CandleResult<(MetalStorage, Shape)> {
        match self.storage()? {
            (Storage::Metal(storage), shape) => Ok((storage, shape)),
            _ => Err(wrong_device("Metal")),
        }
    }
}

fn wrong_device(device: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("a composed value is not on {device} as its arguments are")).bt()
}

impl<O: CustomOp1> CustomOp1 for Ruled<O> {
    fn name(&self) -> &'static str {
        self.rule.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> CandleResult<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        self.rule.bwd(x, y, g)
    }
}

impl<O: CustomOp2> CustomOp2 for Ruled<O> {
    fn name(&self) -> &'static str {
        self.rule.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> CandleResult<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, z: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        self.rule.bwd(x, y, z, g)
    }
}

impl<O: CustomOp3> CustomOp3 for Ruled<O> {
    fn name(&self) -> &'static str {
        self.rule.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> CandleResult<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        value: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.rule.bwd(x, y, z, value, g)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_on_different_devices_are_an_error() {
        let (cpu, cuda) = (DeviceLocation::Cpu, DeviceLocation::Cuda { gpu_id: 0 });
        assert!(same_location("relu-mask", cuda, cuda).is_ok());
        let error = same_location("relu-mask", cpu, cuda).unwrap_err();
        assert!(matches!(error, Error::Device { op: "relu-mask", left, right } if left == cpu && right == cuda));
        assert!(error.to_string().contains("to_device"), "{error}");
    }

    #[test]
    fn the_setting_is_restored_if_the_body_panics() {
        let outcome = std::panic::catch_unwind(|| composed(|| std::panic::resume_unwind(Box::new("stopped"))));
        assert!(outcome.is_err());
        assert!(!ON_CPU.get());
    }

    #[test]
    fn the_setting_is_local_to_the_thread() {
        composed(|| {
            assert!(ON_CPU.get());
            std::thread::scope(|scope| scope.spawn(|| assert!(!ON_CPU.get())).join()).unwrap();
        });
    }
}
