//! The treatment of freed device memory.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{result, sys};
use candle_core::{Error, Result};

/// Configures the memory pool of the device to keep freed memory for later allocations, once per process.
///
/// By default the driver releases the pool at every synchronisation. A training step that reads a loss or batch statistics then
/// maps its memory again. PyTorch's allocator also keeps freed memory.
pub(super) fn keep_freed(device: &CudaDevice) -> Result<()> {
    static DONE: Mutex<Option<HashSet<usize>>> = Mutex::new(None);
    let stream = device.cuda_stream();
    let context = stream.context();
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !context.has_async_alloc() || !done.get_or_insert_default().insert(context.ordinal()) {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    // SAFETY: the device is this context's; the attribute is a 64-bit number, which outlives the call.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).map_err(Error::wrap)?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).map_err(Error::wrap)
    }
}
