//! CUDA kernels of the operations between convolutions.
//!
//! Composed of candle's operations, a ReLU takes three passes over memory, a sum per channel reads memory without coalescing, and
//! a pooling takes about twenty launches. These kernels take one launch each, or two for a sum. NVRTC compiles the source for the
//! device, once per process. Results do not depend on the order of the threads.
//!
//! Tensors of more than 2³¹ elements use the composed operations.

#![allow(unsafe_code, reason = "kernel launches read device memory through raw pointers")]

mod launch;
mod memory;

use candle_core::{DType, Result, Tensor};

use crate::channel_moments::DeviceMoments;
use crate::kernels::pool::PoolGeometry;
use launch::{Call, Pool, parts};

pub(crate) use launch::Normalising;
#[cfg(feature = "cudnn")]
pub(crate) use launch::transposed;

/// Whether the kernels support this tensor.
pub(crate) fn takes(x: &Tensor) -> bool {
    let fits = (1..=1 << 31).contains(&x.elem_count());
    x.device().is_cuda() && fits && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// x + b with one summand per channel, or its positive part.
pub(crate) fn shift(x: &Tensor, b: &Tensor, fused_relu: bool) -> Result<Tensor> {
    let call = Call::new("shift", x, x.elem_count())?.size(x.elem_count())?.size(b.elem_count())?;
    call.read(x)?.read(b)?.number(i32::from(fused_relu)).write(x.shape())
}

/// x·factor + summand per channel.
pub(crate) fn affine(x: &Tensor, factor: &Tensor, summand: &Tensor) -> Result<Tensor> {
    let call = Call::new("affine", x, x.elem_count())?.size(x.elem_count())?.size(factor.elem_count())?;
    call.read(x)?.read(factor)?.read(summand)?.write(x.shape())
}

/// max(x, 0); NaN stays NaN.
pub(crate) fn rectify(x: &Tensor) -> Result<Tensor> {
    Call::new("rectify", x, x.elem_count())?.size(x.elem_count())?.read(x)?.write(x.shape())
}

/// x where `reference` is positive, 0 elsewhere.
pub(crate) fn relu_mask(x: &Tensor, reference: &Tensor) -> Result<Tensor> {
    Call::new("relu_mask", x, x.elem_count())?.size(x.elem_count())?.read(x)?.read(reference)?.write(x.shape())
}

/// a + b, or its positive part.
pub(crate) fn sum(a: &Tensor, b: &Tensor, fused_relu: bool) -> Result<Tensor> {
    let call = Call::new("sum", a, a.elem_count())?.size(a.elem_count())?;
    call.read(a)?.read(b)?.number(i32::from(fused_relu)).write(a.shape())
}

/// Σ x per channel, `[c]` in the dtype of x.
pub(crate) fn channel_sum(x: &Tensor) -> Result<Tensor> {
    sums(Terms::Values, x, x, &Normalising::default())?.get(0)?.to_dtype(x.dtype())
}

/// Σ a·b per channel, `[c]` in the dtype of a.
pub(crate) fn channel_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sums(Terms::Products, a, b, &Normalising::default())?.get(0)?.to_dtype(a.dtype())
}

/// Mean and variance (divisor: the number of rows) per channel, `[c]` in f64 on the device.
pub(crate) fn moments(x: &Tensor) -> Result<DeviceMoments> {
    let count = rows(x) as f64;
    let mean = (sums(Terms::Values, x, x, &Normalising::default())?.get(0)? / count)?;
    let centred = (sums(Terms::Centred, x, x, &Normalising::around(mean.clone()))? / count)?;
    // The mean is rounded; the variance is corrected for its error.
    let variance = rectify(&(centred.get(1)? - centred.get(0)?.sqr()?)?)?;
    Ok(DeviceMoments { mean, variance })
}

/// The batch norm of x, with a fused ReLU if `by` has one.
pub(crate) fn normalise(x: &Tensor, by: &Normalising) -> Result<Tensor> {
    let call =
        Call::by_channel("normalise", x, channels(x), parts(rows(x), channels(x)))?.size(rows(x))?.size(channels(x))?;
    call.read(x)?.norm(by)?.write(x.shape())
}

/// The gradients of batch norm at x by x, γ and β, for a cotangent g of its value (after the fused ReLU, if any).
pub(crate) fn norm_gradients(x: &Tensor, g: &Tensor, by: &Normalising) -> Result<[Tensor; 3]> {
    let sums = sums(Terms::Cotangents, x, g, by)?;
    let call = Call::by_channel("norm_gradient", x, channels(x), parts(rows(x), channels(x)))?
        .size(rows(x))?
        .size(channels(x))?;
    let by_input = call.read(x)?.read(g)?.norm(by)?.read_as(&sums, DType::F64)?.write(x.shape())?;
    let by_parameter = |row: usize| sums.get(row)?.to_dtype(x.dtype());
    Ok([by_input, by_parameter(1)?, by_parameter(0)?])
}

/// The maxima of each window and their pixels.
pub(crate) fn max_pool(g: &PoolGeometry, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let shape = (g.batch, g.out_height(), g.out_width(), g.channels);
    Call::new("max_pool", x, g.batch * g.pooled_len())?.pool(Pool::new(g)?).read(x)?.write_with_positions(&shape.into())
}

/// x at the pixels.
pub(crate) fn pool_gather(g: &PoolGeometry, x: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let shape = (g.batch, g.out_height(), g.out_width(), g.channels);
    let call = Call::new("pool_gather", x, g.batch * g.pooled_len())?.pool(Pool::new(g)?);
    call.read(x)?.read_as(positions, DType::U32)?.write(&shape.into())
}

/// The adjoint of [`pool_gather`].
pub(crate) fn pool_scatter(g: &PoolGeometry, cotangent: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let shape = (g.batch, g.height, g.width, g.channels);
    let call = Call::new("pool_scatter", cotangent, g.batch * g.image_len())?.pool(Pool::new(g)?);
    call.read(cotangent)?.read_as(positions, DType::U32)?.write(&shape.into())
}

fn channels(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1).max(1)
}

fn rows(x: &Tensor) -> usize {
    x.elem_count() / channels(x)
}

/// The terms that are summed over rows, numbered as in the kernel.
#[derive(Clone, Copy)]
enum Terms {
    Values = 0,
    Products = 1,
    Centred = 2,
    Cotangents = 3,
}

/// One or two sums per channel, `[2, c]` in f64. A single sum is the first, and the second is 0.
fn sums(terms: Terms, x: &Tensor, y: &Tensor, by: &Normalising) -> Result<Tensor> {
    let (rows, channels) = (rows(x), channels(x));
    let parts = parts(rows, channels);
    let call = Call::by_channel("part_sums", x, channels, parts)?.size(rows)?.size(channels)?.number(terms as i32);
    let from = call.read(x)?.read(y)?.norm(by)?.write_as(&(parts, 2, channels).into(), DType::F64)?;
    let call = Call::double("add_parts", &from, 2 * channels)?.size(parts)?.size(2 * channels)?;
    call.read(&from)?.write(&(2, channels).into())
}
