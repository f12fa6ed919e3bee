//! The end of a graph, at which a backward pass starts with a given gradient.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Tensor, WithDType};

/// A scalar function of a tensor whose gradient is this one. Its value is 0 and has no meaning.
pub(crate) struct Seed(pub(crate) Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((f32::to_cpu_storage_owned(vec![0.0]), Shape::from(())))
    }

    fn cuda_fwd(&self, storage: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        use candle_core::backend::{BackendDevice, BackendStorage};
        let scalar = f32::to_cpu_storage_owned(vec![0.0]);
        Ok((storage.device().storage_from_cpu_storage_owned(scalar)?, Shape::from(())))
    }

    fn metal_fwd(&self, storage: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        use candle_core::backend::{BackendDevice, BackendStorage};
        let scalar = f32::to_cpu_storage_owned(vec![0.0]);
        Ok((storage.device().storage_from_cpu_storage_owned(scalar)?, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
