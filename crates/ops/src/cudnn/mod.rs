//! Convolution on CUDA by cuDNN: forward, backward-data and backward-filter. `tests/cuda.rs` of `models` compares it with the CPU
//! kernels if there is a device. It was run on an H100.
//!
//! Candle's own convolution calls cuDNN for the forward pass only, lets it round f32 to TF32 (ten bits of mantissa, CUDNN_DEFAULT_MATH),
//! and has no group, no rectangular stride and no deterministic gradient. Here products are exact f32 or f64
//! (CUDNN_FMA_MATH), any stride, padding, dilation and number of groups is passed on, and the algorithms are
//! deterministic: IMPLICIT_PRECOMP_GEMM, BWD_DATA_ALGO_1 and BWD_FILTER_ALGO_1, PyTorch's choice in deterministic mode.
//!
//! cuDNN accesses device memory through raw pointers, so the calls are unsafe.

mod convolution;
mod descriptors;
mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::cudnn::Cudnn;
use candle_core::cuda_backend::{CudaDevice, DeviceId};

pub(crate) use convolution::{input_gradient, output, weight_gradient};

thread_local! {
    // Only one thread at a time may use a handle, so each thread has its own.
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::new(HashMap::new());
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
