//! Reads of tensors by the host, with a count of those that wait for a device.
//!
//! A read waits until the device has done all work that it was given. A training step that reads one value per layer therefore leaves
//! the device idle while the next layers are launched. The operations of this workspace read values through this module, so that a
//! test can count the reads of a step.
//!
//! **What is counted** each call of a function below, in any thread of the process, whose tensor is on a device. A tensor on
//! the CPU needs no wait and is not counted, except under [`composed`](crate::composed()), where the CPU takes the path of a device:
//! there a test without a device counts what a device would wait for. Copies from the host to the device are not counted: a batch,
//! its labels and random numbers are copied in every step.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor, WithDType};

use crate::Result;
use crate::composed::is_composed;

static READS: AtomicU64 = AtomicU64::new(0);

/// Number of counted reads in this process so far; the difference of two calls is the number between them.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{composed, host};
/// let x = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
/// let before = host::reads();
/// let moments = composed(|| ops::nhwc::ChannelMoments::of(&x))?;
/// assert_eq!(host::reads() - before, 0);
/// assert_eq!(composed(|| moments.mean())?, [2.]);
/// assert_eq!(host::reads() - before, 1);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn reads() -> u64 {
    READS.load(Ordering::Relaxed)
}

/// The elements of a tensor in row-major order.
///
/// **Errors** [`Error::Candle`](crate::Error::Candle) if the dtype is not `T`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let labels = Tensor::new(&[[3u32], [1]], &Device::Cpu)?;
/// assert_eq!(ops::host::read::<u32>(&labels)?, [3, 1]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn read<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    count(tensor);
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// The elements of a tensor in row-major order, converted to f64.
///
/// **Errors** [`Error::Candle`](crate::Error::Candle) if the device fails.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[0.5f32, 2.], [3., 4.]], &Device::Cpu)?;
/// assert_eq!(ops::host::read_f64(&x.t()?)?, [0.5, 3., 2., 4.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn read_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    count(tensor);
    // Converted on the CPU, because Metal has no f64.
    Ok(tensor.detach().flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()?)
}

/// The one element of a scalar, converted to f64.
///
/// **Errors** [`Error::Candle`](crate::Error::Candle) if the tensor has a dimension.
///
/// ```
/// use candle_core::{Device, Tensor};
/// assert_eq!(ops::host::read_scalar(&Tensor::new(0.5f32, &Device::Cpu)?)?, 0.5);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn read_scalar(tensor: &Tensor) -> Result<f64> {
    count(tensor);
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar()?)
}

/// The elements of several tensors on one device, converted to f64, in a single read.
///
/// **Errors** [`Error::Candle`](crate::Error::Candle) for tensors on different devices, or on a device without f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{composed, host};
/// let (loss, norms) = (Tensor::new(0.5f32, &Device::Cpu)?, Tensor::new(&[1f64, 2.], &Device::Cpu)?);
/// let before = host::reads();
/// assert_eq!(composed(|| host::read_together(&[&loss, &norms]))?, [vec![0.5], vec![1., 2.]]);
/// assert_eq!(host::reads() - before, 1);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn read_together(tensors: &[&Tensor]) -> Result<Vec<Vec<f64>>> {
    let flat = tensors.iter().map(|tensor| Ok(tensor.detach().flatten_all()?.to_dtype(DType::F64)?));
    let flat = flat.collect::<Result<Vec<Tensor>>>()?;
    if flat.is_empty() {
        return Ok(Vec::new());
    }
    let mut elements = read_f64(&Tensor::cat(&flat, 0)?)?.into_iter();
    Ok(flat.iter().map(|tensor| elements.by_ref().take(tensor.elem_count()).collect()).collect())
}

fn count(tensor: &Tensor) {
    if is_composed(tensor) {
        READS.fetch_add(1, Ordering::Relaxed);
    }
}
