//! The three operations of one convolution on device memory.

#![allow(unsafe_code)]

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
    cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
    cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
};
use candle_core::cuda_backend::cudarc::cudnn::{ConvBackwardData, ConvBackwardFilter, ConvForward};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::cuda_backend::{CudaDevice, CudaStorage};
use candle_core::{DType, Layout, Result};

use super::descriptors::{Arrangement, Descriptors, Number};
use super::handle;
use crate::kernels::ConvGeometry;

/// `[n, h, w, c]` to `[n, c, h, w]`, and `[out, kh, kw, in]` to `[out, in, kh, kw]`.
const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// The way back.
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// A contiguous tensor as candle hands it to an operation.
pub(crate) type Argument<'a> = (&'a CudaStorage, &'a Layout);

/// The convolution of `x` with `weight`, `[n, h', w', out]`.
pub(crate) fn output(g: &ConvGeometry, x: Argument<'_>, weight: Argument<'_>) -> Result<CudaStorage> {
    by_dtype(x, |double| if double { output_in::<f64>(g, x, weight) } else { output_in::<f32>(g, x, weight) })
}

/// The input gradient for the cotangent `dy`, `[n, h, w, in]`.
pub(crate) fn input_gradient(g: &ConvGeometry, dy: Argument<'_>, weight: Argument<'_>) -> Result<CudaStorage> {
    by_dtype(
        dy,
        |double| {
            if double { input_gradient_in::<f64>(g, dy, weight) } else { input_gradient_in::<f32>(g, dy, weight) }
        },
    )
}

/// The weight gradient for the cotangent `dy`, `[out, in / groups, kh, kw]`.
pub(crate) fn weight_gradient(g: &ConvGeometry, x: Argument<'_>, dy: Argument<'_>) -> Result<CudaStorage> {
    by_dtype(x, |double| if double { weight_gradient_in::<f64>(g, x, dy) } else { weight_gradient_in::<f32>(g, x, dy) })
}

fn output_in<T: Number>(g: &ConvGeometry, x: Argument<'_>, weight: Argument<'_>) -> Result<CudaStorage> {
    let device = x.0.device();
    first_supported::<T>(|arrangement| {
        let of = Descriptors::<T>::new(&handle(device)?, g, arrangement)?;
        let algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
        let forward = ConvForward { conv: &of.convolution, x: &of.image, w: &of.filter, y: &of.output };
        let mut workspace = workspace(device, forward.get_workspace_size(algorithm)?)?;
        let (x, weight) = (images(x, arrangement)?, filters(weight, arrangement)?);
        let mut y = uninitialised::<T>(device, g.output_len())?;
        // SAFETY: the three buffers hold as many numbers as the descriptors say, in their arrangement and type, on this
        // device; alpha is 1 and beta 0, so y is written in full before it is read.
        unsafe {
            let (x, weight) = (x.view::<T>()?, weight.view::<T>()?);
            forward.launch(algorithm, Some(&mut workspace), (T::ONE, T::ZERO), &x, &weight, &mut y)?;
        }
        images_back(device, y, [g.batch, g.out_height(), g.out_width(), g.out_channels], arrangement)
    })
}

fn input_gradient_in<T: Number>(g: &ConvGeometry, dy: Argument<'_>, weight: Argument<'_>) -> Result<CudaStorage> {
    let device = dy.0.device();
    first_supported::<T>(|arrangement| {
        let of = Descriptors::<T>::new(&handle(device)?, g, arrangement)?;
        let algorithm = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
        let backward = ConvBackwardData { conv: &of.convolution, dx: &of.image, w: &of.filter, dy: &of.output };
        let mut workspace = workspace(device, backward.get_workspace_size(algorithm)?)?;
        let (dy, weight) = (images(dy, arrangement)?, filters(weight, arrangement)?);
        let mut dx = uninitialised::<T>(device, g.input_len())?;
        // SAFETY: as in `output_in`, for dx.
        unsafe {
            let (dy, weight) = (dy.view::<T>()?, weight.view::<T>()?);
            backward.launch(algorithm, Some(&mut workspace), (T::ONE, T::ZERO), &mut dx, &weight, &dy)?;
        }
        images_back(device, dx, [g.batch, g.height, g.width, g.in_channels], arrangement)
    })
}

fn weight_gradient_in<T: Number>(g: &ConvGeometry, x: Argument<'_>, dy: Argument<'_>) -> Result<CudaStorage> {
    let device = x.0.device();
    first_supported::<T>(|arrangement| {
        let of = Descriptors::<T>::new(&handle(device)?, g, arrangement)?;
        let algorithm = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
        let backward = ConvBackwardFilter { conv: &of.convolution, x: &of.image, dw: &of.filter, dy: &of.output };
        let mut workspace = workspace(device, backward.get_workspace_size(algorithm)?)?;
        let (x, dy) = (images(x, arrangement)?, images(dy, arrangement)?);
        let mut dw = uninitialised::<T>(device, g.weight_len())?;
        // SAFETY: as in `output_in`, for dw.
        unsafe {
            let (x, dy) = (x.view::<T>()?, dy.view::<T>()?);
            backward.launch(algorithm, Some(&mut workspace), (T::ONE, T::ZERO), &x, &mut dw, &dy)?;
        }
        let gradient = CudaStorage::wrap_cuda_slice(dw, device.clone());
        match arrangement {
            Arrangement::ChannelsFirst => Ok(gradient),
            Arrangement::ChannelsLast => {
                let shape = (g.out_channels, g.kernel[0], g.kernel[1], g.group_in_channels());
                permuted(&gradient, &Layout::contiguous(shape), &TO_CHANNELS_FIRST)
            }
        }
    })
}

/// The result in the first arrangement that cuDNN takes; its last refusal if it takes none.
fn first_supported<T: Number>(attempt: impl Fn(Arrangement) -> Result<CudaStorage>) -> Result<CudaStorage> {
    let (last, others) = match T::ARRANGEMENTS.split_last() {
        Some((last, others)) => (*last, others),
        None => (Arrangement::ChannelsFirst, [].as_slice()),
    };
    let supported = others.iter().find_map(|arrangement| attempt(*arrangement).ok());
    supported.map_or_else(|| attempt(last), Ok)
}

/// Whether the numbers are f64; anything but f32 and f64 is refused.
fn by_dtype(x: Argument<'_>, run: impl FnOnce(bool) -> Result<CudaStorage>) -> Result<CudaStorage> {
    match x.0.dtype() {
        DType::F32 => run(false),
        DType::F64 => run(true),
        other => Err(crate::Error::DType { op: "conv2d", expected: "f32 or f64".into(), got: other.as_str().into() }
            .into_candle()),
    }
}

/// An argument where it lies, or a copy of it in another order.
enum Source<'a> {
    InPlace(&'a CudaStorage, usize),
    Copied(CudaStorage),
}

impl Source<'_> {
    fn view<T: Number>(&self) -> Result<CudaView<'_, T>> {
        match self {
            Source::InPlace(storage, offset) => Ok(storage.as_cuda_slice::<T>()?.slice(*offset..)),
            Source::Copied(storage) => Ok(storage.as_cuda_slice::<T>()?.slice(..)),
        }
    }
}

fn images<'a>((storage, layout): Argument<'a>, arrangement: Arrangement) -> Result<Source<'a>> {
    match arrangement {
        Arrangement::ChannelsLast => Ok(Source::InPlace(storage, layout.start_offset())),
        Arrangement::ChannelsFirst => Ok(Source::Copied(permuted(storage, layout, &TO_CHANNELS_FIRST)?)),
    }
}

fn filters<'a>((storage, layout): Argument<'a>, arrangement: Arrangement) -> Result<Source<'a>> {
    match arrangement {
        Arrangement::ChannelsFirst => Ok(Source::InPlace(storage, layout.start_offset())),
        Arrangement::ChannelsLast => Ok(Source::Copied(permuted(storage, layout, &TO_CHANNELS_LAST)?)),
    }
}

/// Images of this `[n, h, w, c]` shape, from the arrangement in which cuDNN wrote them.
fn images_back<T: Number>(
    device: &CudaDevice,
    written: CudaSlice<T>,
    [batch, height, width, channels]: [usize; 4],
    arrangement: Arrangement,
) -> Result<CudaStorage> {
    let written = CudaStorage::wrap_cuda_slice(written, device.clone());
    match arrangement {
        Arrangement::ChannelsLast => Ok(written),
        Arrangement::ChannelsFirst => {
            permuted(&written, &Layout::contiguous((batch, channels, height, width)), &TO_CHANNELS_LAST)
        }
    }
}

/// A contiguous copy with the dimensions in another order.
fn permuted(storage: &CudaStorage, layout: &Layout, order: &[usize; 4]) -> Result<CudaStorage> {
    let layout = layout.permute(order)?;
    // SAFETY: the copy below writes every element.
    let mut copy = unsafe { storage.device().alloc_uninit(layout.shape(), storage.dtype())? };
    storage.copy_strided_src(&mut copy, 0, &layout)?;
    Ok(copy)
}

fn uninitialised<T: Number>(device: &CudaDevice, length: usize) -> Result<CudaSlice<T>> {
    // SAFETY: every caller has cuDNN write the whole of it before anything reads it.
    unsafe { device.alloc::<T>(length) }
}

/// Working memory of at least one byte, since none cannot be allocated. Candle's pool keeps it for the next call.
fn workspace(device: &CudaDevice, bytes: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: cuDNN writes its working memory before it reads it.
    unsafe { device.alloc::<u8>(bytes.max(1)) }
}
