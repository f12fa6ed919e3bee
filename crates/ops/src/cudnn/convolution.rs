//! The three operations of one convolution on device memory.

#![allow(unsafe_code, reason = "cuDNN accesses device memory through raw pointers")]

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::{ConvBackwardData, ConvBackwardFilter, ConvForward};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::cuda_backend::{CudaDevice, CudaStorage};
use candle_core::{DType, Layout, Result};
use half::bf16;

use super::descriptors::{Arrangement, Descriptors, Number};
use super::handle;
use super::plan::{Plan, plans};
use crate::cuda::transposed;
use crate::kernels::{Accuracy, ConvGeometry};

/// A contiguous tensor as candle passes it to an operation.
pub(crate) type Argument<'a> = (&'a CudaStorage, &'a Layout);

/// The convolution of `x` with `weight`, `[n, h', w', out]`.
pub(crate) fn output(
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: Argument<'_>,
    weight: Argument<'_>,
) -> Result<CudaStorage> {
    match numbers(x, accuracy)? {
        Numbers::F32 => output_in::<f32>(g, accuracy, x, weight),
        Numbers::F64 => output_in::<f64>(g, accuracy, x, weight),
        Numbers::Bf16 => rounded(x, weight, |x, weight| output_in::<bf16>(g, accuracy, x, weight)),
    }
}

/// The input gradient for the cotangent `dy`, `[n, h, w, in]`.
pub(crate) fn input_gradient(
    g: &ConvGeometry,
    accuracy: Accuracy,
    dy: Argument<'_>,
    weight: Argument<'_>,
) -> Result<CudaStorage> {
    match numbers(dy, accuracy)? {
        Numbers::F32 => input_gradient_in::<f32>(g, accuracy, dy, weight),
        Numbers::F64 => input_gradient_in::<f64>(g, accuracy, dy, weight),
        Numbers::Bf16 => rounded(dy, weight, |dy, weight| input_gradient_in::<bf16>(g, accuracy, dy, weight)),
    }
}

/// The weight gradient for the cotangent `dy`, `[out, in / groups, kh, kw]`.
pub(crate) fn weight_gradient(
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: Argument<'_>,
    dy: Argument<'_>,
) -> Result<CudaStorage> {
    match numbers(x, accuracy)? {
        Numbers::F32 => weight_gradient_in::<f32>(g, accuracy, x, dy),
        Numbers::F64 => weight_gradient_in::<f64>(g, accuracy, x, dy),
        Numbers::Bf16 => rounded(x, dy, |x, dy| weight_gradient_in::<bf16>(g, accuracy, x, dy)),
    }
}

/// The type in which a convolution multiplies.
enum Numbers {
    F32,
    F64,
    Bf16,
}

fn numbers(x: Argument<'_>, accuracy: Accuracy) -> Result<Numbers> {
    match (x.0.dtype(), accuracy) {
        (DType::F32, Accuracy::Bf16) => Ok(Numbers::Bf16),
        (DType::F32, _) => Ok(Numbers::F32),
        (DType::F64, _) => Ok(Numbers::F64),
        (other, _) => {
            Err(crate::Error::DType { op: "conv2d", expected: "f32 or f64".into(), got: other.as_str().into() }
                .into_candle())
        }
    }
}

/// An operation on two f32 tensors, rounded to bf16. Its result is converted to f32.
fn rounded(
    left: Argument<'_>,
    right: Argument<'_>,
    run: impl FnOnce(Argument<'_>, Argument<'_>) -> Result<CudaStorage>,
) -> Result<CudaStorage> {
    let half = |(storage, layout): Argument<'_>| -> Result<(CudaStorage, Layout)> {
        Ok((storage.to_dtype(layout, DType::BF16)?, Layout::contiguous(layout.shape())))
    };
    let (left, right) = (half(left)?, half(right)?);
    let result = run((&left.0, &left.1), (&right.0, &right.1))?;
    let length = result.as_cuda_slice::<bf16>()?.len();
    result.to_dtype(&Layout::contiguous(length), DType::F32)
}

fn output_in<T: Number>(
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: Argument<'_>,
    weight: Argument<'_>,
) -> Result<CudaStorage> {
    let device = x.0.device();
    first_supported::<T>(g, accuracy, |plan| {
        let of = Descriptors::<T>::new(&handle(device)?, g, plan.arrangement, plan.math)?;
        let forward = ConvForward { conv: &of.convolution, x: &of.image, w: &of.filter, y: &of.output };
        let mut workspace = workspace(device, forward.get_workspace_size(plan.forward)?)?;
        let (x, weight) = (images::<T>(x, plan)?, filters::<T>(g, weight, plan)?);
        let mut y = uninitialised::<T>(device, g.output_len())?;
        // SAFETY: the three buffers on this device have the sizes, arrangement and type of the descriptors. With alpha 1 and
        // beta 0, y is written completely and not read.
        unsafe {
            forward.launch(plan.forward, Some(&mut workspace), (T::ONE, T::ZERO), &x.view(), &weight.view(), &mut y)?;
        }
        images_back(device, y, [g.batch, g.out_height() * g.out_width(), g.out_channels], plan)
    })
}

fn input_gradient_in<T: Number>(
    g: &ConvGeometry,
    accuracy: Accuracy,
    dy: Argument<'_>,
    weight: Argument<'_>,
) -> Result<CudaStorage> {
    let device = dy.0.device();
    first_supported::<T>(g, accuracy, |plan| {
        let of = Descriptors::<T>::new(&handle(device)?, g, plan.arrangement, plan.math)?;
        let backward = ConvBackwardData { conv: &of.convolution, dx: &of.image, w: &of.filter, dy: &of.output };
        let mut workspace = workspace(device, backward.get_workspace_size(plan.backward_data)?)?;
        let (dy, weight) = (images::<T>(dy, plan)?, filters::<T>(g, weight, plan)?);
        let mut dx = uninitialised::<T>(device, g.input_len())?;
        // SAFETY: the three buffers on this device have the sizes, arrangement and type of the descriptors. With alpha 1 and
        // beta 0, dx is written completely and not read.
        unsafe {
            let scales = (T::ONE, T::ZERO);
            backward.launch(plan.backward_data, Some(&mut workspace), scales, &mut dx, &weight.view(), &dy.view())?;
        }
        images_back(device, dx, [g.batch, g.height * g.width, g.in_channels], plan)
    })
}

fn weight_gradient_in<T: Number>(
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: Argument<'_>,
    dy: Argument<'_>,
) -> Result<CudaStorage> {
    let device = x.0.device();
    first_supported::<T>(g, accuracy, |plan| {
        let of = Descriptors::<T>::new(&handle(device)?, g, plan.arrangement, plan.math)?;
        let backward = ConvBackwardFilter { conv: &of.convolution, x: &of.image, dw: &of.filter, dy: &of.output };
        let mut workspace = workspace(device, backward.get_workspace_size(plan.backward_filter)?)?;
        let (x, dy) = (images::<T>(x, plan)?, images::<T>(dy, plan)?);
        let mut dw = uninitialised::<T>(device, g.weight_len())?;
        // SAFETY: the three buffers on this device have the sizes, arrangement and type of the descriptors. With alpha 1 and
        // beta 0, dw is written completely and not read.
        unsafe {
            let scales = (T::ONE, T::ZERO);
            backward.launch(plan.backward_filter, Some(&mut workspace), scales, &x.view(), &mut dw, &dy.view())?;
        }
        if plan.arrangement == Arrangement::ChannelsLast {
            let taps = g.kernel[0] * g.kernel[1];
            dw = transposed(device, &dw.slice(..), [g.out_channels, taps, g.group_in_channels()])?;
        }
        Ok(CudaStorage::wrap_cuda_slice(dw, device.clone()))
    })
}

/// The result of the first plan that cuDNN supports, or the last error.
fn first_supported<T: Number>(
    g: &ConvGeometry,
    accuracy: Accuracy,
    attempt: impl Fn(&Plan) -> Result<CudaStorage>,
) -> Result<CudaStorage> {
    let mut outcome = Err(candle_core::Error::Msg("no algorithm for this convolution".into()).bt());
    for plan in plans::<T>(g, accuracy) {
        outcome = attempt(&plan);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// An argument in place, or a copy of it in another order.
enum Operand<'a, T: Number> {
    InPlace(CudaView<'a, T>),
    Copied(CudaSlice<T>),
}

impl<T: Number> Operand<'_, T> {
    fn view(&self) -> CudaView<'_, T> {
        match self {
            Operand::InPlace(view) => view.slice(..),
            Operand::Copied(slice) => slice.slice(..),
        }
    }
}

fn images<'a, T: Number>((storage, layout): Argument<'a>, plan: &Plan) -> Result<Operand<'a, T>> {
    let place = storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..);
    if plan.arrangement == Arrangement::ChannelsLast {
        return Ok(Operand::InPlace(place));
    }
    let (batch, height, width, channels) = layout.shape().dims4()?;
    Ok(Operand::Copied(transposed(storage.device(), &place, [batch, height * width, channels])?))
}

fn filters<'a, T: Number>(g: &ConvGeometry, (storage, layout): Argument<'a>, plan: &Plan) -> Result<Operand<'a, T>> {
    let place = storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..);
    if plan.arrangement == Arrangement::ChannelsFirst {
        return Ok(Operand::InPlace(place));
    }
    let sizes = [g.out_channels, g.group_in_channels(), g.kernel[0] * g.kernel[1]];
    Ok(Operand::Copied(transposed(storage.device(), &place, sizes)?))
}

/// Images `[n, pixels, c]` from the arrangement of the plan.
fn images_back<T: Number>(
    device: &CudaDevice,
    written: CudaSlice<T>,
    [batch, pixels, channels]: [usize; 3],
    plan: &Plan,
) -> Result<CudaStorage> {
    let images = match plan.arrangement {
        Arrangement::ChannelsLast => written,
        Arrangement::ChannelsFirst => transposed(device, &written.slice(..), [batch, channels, pixels])?,
    };
    Ok(CudaStorage::wrap_cuda_slice(images, device.clone()))
}

fn uninitialised<T: Number>(device: &CudaDevice, length: usize) -> Result<CudaSlice<T>> {
    // SAFETY: cuDNN writes the whole buffer before it is read.
    unsafe { device.alloc::<T>(length) }
}

/// Working memory of at least one byte, because zero bytes cannot be allocated. The memory pool reuses it.
fn workspace(device: &CudaDevice, bytes: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: cuDNN writes its working memory before it reads it.
    unsafe { device.alloc::<u8>(bytes.max(1)) }
}
