//! Convolution on CUDA by cuDNN: forward, backward-data and backward-filter. `tests/cuda.rs` of `models` compares it with the CPU
//! kernels if there is a device. It was run on an H100; TF32 products were not.
//!
//! Candle's own convolution calls cuDNN for the forward pass only, lets it round f32 to TF32 (ten bits of mantissa, CUDNN_DEFAULT_MATH),
//! and has no group, no rectangular stride and no deterministic gradient. Here the factors of products are rounded only if
//! bf16 or TF32 is requested (CUDNN_FMA_MATH otherwise), any stride, padding, dilation and number of groups is passed on, and the
//! algorithms are deterministic: IMPLICIT_PRECOMP_GEMM, BWD_DATA_ALGO_1 and BWD_FILTER_ALGO_1, PyTorch's choice in deterministic mode.
//!
//! cuDNN accesses device memory through raw pointers, so the calls are unsafe.

mod convolution;
mod descriptors;
mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::Cudnn;
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{Device, Result};

pub(crate) use convolution::{input_gradient, output, weight_gradient};

thread_local! {
    // Only one thread at a time may use a handle, so each thread has its own.
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::new(HashMap::new());
}

/// Whether the device has tensor cores for bf16 and TF32 (compute capability 8.0). cuDNN would multiply in f32 on others.
pub(crate) fn has_tensor_cores(device: &Device) -> bool {
    let Device::Cuda(device) = device else { return false };
    device.cuda_stream().context().compute_capability().is_ok_and(|(major, _)| major >= 8)
}

/// The handle of this thread for a device, on the stream of candle.
fn handle(device: &CudaDevice) -> Result<Arc<Cudnn>> {
    HANDLES.with_borrow_mut(|handles| {
        if let Some(handle) = handles.get(&device.id()) {
            return Ok(handle.clone());
        }
        let handle = Cudnn::new(device.cuda_stream())?;
        handles.insert(device.id(), handle.clone());
        Ok(handle)
    })
}
