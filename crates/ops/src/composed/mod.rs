//! The same operations written with candle's own, for devices on which this crate has no kernels.
//!
//! On the CPU an operation runs its kernel. On every other device its value is composed here of candle operations that
//! are right (products, sums, comparisons, views, matrix products), and its gradient is the operation's own rule, the
//! same on every device: candle's gradients of pooling, ReLU and convolution, which are not right, take no part.
//! Convolution under the feature `cudnn` is the exception: see the crate's module of that name.
//!
//! [`composed`] takes this route on the CPU too, so that it is checked against the kernels where there is no other
//! device. On CUDA it is left for a kernel where there is one (see the crate's module `cuda`); on Metal it has not been run yet.

mod activation;
mod batch_norm;
mod convolution;
mod loss;
mod pool;
mod windows;

use std::cell::Cell;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DeviceLocation, Layout, MetalStorage,
    Result as CandleResult, Shape, Storage, Tensor,
};

pub(crate) use activation::smooth_derivative;
pub(crate) use batch_norm::{moments, normalised, training_gradients, training_pairing};
pub(crate) use convolution::{input_gradient, is_pointwise, output, weight_gradient};
pub(crate) use loss::{cross_entropy, cross_entropy_gradient};
pub(crate) use pool::{average, gather, max_positions, scatter, spread};

use crate::{Error, Result};

thread_local! {
    static ON_CPU: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with every operation composed of candle's own, on the CPU as on a device without kernels of this crate.
///
/// It is far slower than the kernels and there to check the one against the other; only operations that this thread
/// calls are affected.
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
    /// Restores the route even when the body panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ON_CPU.set(self.0);
        }
    }
    let _restore = Restore(ON_CPU.replace(true));
    body()
}

/// Returns from the function with the value of a kernel for CUDA, where the program has them and they take `$x`.
macro_rules! on_cuda {
    ($x:expr, $kernel:ident($($argument:expr),*)) => {
        #[cfg(feature = "cuda")]
        if crate::cuda::takes($x) {
            return Ok(crate::cuda::$kernel($($argument),*)?);
        }
    };
}
pub(crate) use on_cuda;

/// Whether operations on `x` are composed of candle's own.
pub(crate) fn is_composed(x: &Tensor) -> bool {
    !x.device().is_cpu() || ON_CPU.get()
}

/// An operation on `N` tensors that can be written with candle's own operations.
pub(crate) trait Compose<const N: usize> {
    /// Its value, outside any graph.
    fn compose(&self, arguments: [&Tensor; N]) -> Result<Tensor>;

    /// Whether it has a kernel on the device of `x`, in the route that is taken now.
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
        return Ok(x.contiguous()?.apply_op1(op)?);
    }
    let value = op.compose([&x.detach()])?;
    if !x.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op1(Ruled { value, rule: op })?)
}

/// `op` of two tensors, by kernel or composed.
pub(crate) fn apply2<O>(x: &Tensor, y: &Tensor, op: O) -> Result<Tensor>
where
    O: CustomOp2 + Compose<2> + Send + Sync + 'static,
{
    same_device(op.name(), x, y)?;
    if op.has_kernel(x) {
        return Ok(x.contiguous()?.apply_op2(&y.contiguous()?, op)?);
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
        return Ok(x.contiguous()?.apply_op3(&y.contiguous()?, &z.contiguous()?, op)?);
    }
    let value = op.compose([&x.detach(), &y.detach(), &z.detach()])?;
    if !x.track_op() && !y.track_op() && !z.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op3(y, z, Ruled { value, rule: op })?)
}

/// Refuses tensors on different devices before an operation starts.
pub(crate) fn same_device(op: &'static str, left: &Tensor, right: &Tensor) -> Result<()> {
    same_location(op, left.device().location(), right.device().location())
}

fn same_location(op: &'static str, left: DeviceLocation, right: DeviceLocation) -> Result<()> {
    if left == right { Ok(()) } else { Err(Error::Device { op, left, right }) }
}

/// A value that is there already, with the gradient rule of an operation.
struct Ruled<O> {
    value: Tensor,
    rule: O,
}

impl<O> Ruled<O> {
    /// A copy of the value's storage: candle wants an operation to make a storage of its own.
    fn storage(&self) -> CandleResult<(Storage, Shape)> {
        let value = self.value.contiguous()?;
        let (storage, layout) = value.storage_and_layout();
        Ok((storage.try_clone(layout)?, value.shape().clone()))
    }

    fn on_cpu(&self) -> CandleResult<(CpuStorage, Shape)> {
        match self.storage()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("the CPU")),
        }
    }

    fn on_cuda(&self) -> CandleResult<(CudaStorage, Shape)> {
        match self.storage()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("CUDA")),
        }
    }

    fn on_metal(&self) -> CandleResult<(MetalStorage, Shape)> {
        match self.storage()? {
            (Storage::Metal(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere("Metal")),
        }
    }
}

fn elsewhere(device: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("a composed value is not on {device}, where its arguments are")).bt()
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
    fn tensors_on_different_devices_are_refused_by_name() {
        let (cpu, cuda) = (DeviceLocation::Cpu, DeviceLocation::Cuda { gpu_id: 0 });
        assert!(same_location("gate", cuda, cuda).is_ok());
        let error = same_location("gate", cpu, cuda).unwrap_err();
        assert!(matches!(error, Error::Device { op: "gate", left, right } if left == cpu && right == cuda));
        assert!(error.to_string().contains("to_device"), "{error}");
    }

    #[test]
    fn the_route_is_restored_when_the_body_panics() {
        let outcome = std::panic::catch_unwind(|| composed(|| std::panic::resume_unwind(Box::new("stopped"))));
        assert!(outcome.is_err());
        assert!(!ON_CPU.get());
    }

    #[test]
    fn the_route_belongs_to_its_thread() {
        composed(|| {
            assert!(ON_CPU.get());
            std::thread::scope(|scope| scope.spawn(|| assert!(!ON_CPU.get())).join()).unwrap();
        });
    }
}
