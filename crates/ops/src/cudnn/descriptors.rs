//! The cuDNN descriptors of one convolution.

use std::sync::Arc;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
    cudnnMathType_t::{self, CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH},
    cudnnTensorFormat_t::{self, CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC},
};
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvDescriptor, Cudnn, CudnnDataType, FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{Result, WithDType};

use half::bf16;

use crate::kernels::{Accuracy, ConvGeometry};

/// The order of the dimensions in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// Images `[n, h, w, c]` as stored; the weight, which is smaller, is copied to `[out, kh, kw, in]`.
    ChannelsLast,
    /// Images copied to `[n, c, h, w]`; the weight as stored.
    ChannelsFirst,
}

/// A number type that cuDNN convolves.
pub(super) trait Number: CudaDType + CudnnDataType + DeviceRepr + WithDType {
    /// The type in which products are summed.
    type Sum: CudnnDataType;
    const ZERO: Self;
    const ONE: Self;
    /// The arrangements that support any convolution, best first. Double precision supports channels first only.
    const ARRANGEMENTS: &'static [Arrangement];
    /// Whether Winograd algorithms support the type.
    const WINOGRAD: bool;

    /// The arithmetic units that multiply.
    fn math(accuracy: Accuracy) -> cudnnMathType_t;
}

impl Number for f32 {
    type Sum = f32;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ARRANGEMENTS: &'static [Arrangement] = &[Arrangement::ChannelsLast, Arrangement::ChannelsFirst];
    const WINOGRAD: bool = true;

    fn math(accuracy: Accuracy) -> cudnnMathType_t {
        match accuracy {
            // By default cuDNN rounds the factors to TF32, on devices with tensor cores for it.
            Accuracy::Tf32 => CUDNN_DEFAULT_MATH,
            _ => CUDNN_FMA_MATH,
        }
    }
}

impl Number for f64 {
    type Sum = f64;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ARRANGEMENTS: &'static [Arrangement] = &[Arrangement::ChannelsFirst];
    const WINOGRAD: bool = false;

    fn math(_: Accuracy) -> cudnnMathType_t {
        CUDNN_FMA_MATH
    }
}

impl Number for bf16 {
    type Sum = f32;
    const ZERO: Self = bf16::ZERO;
    const ONE: Self = bf16::ONE;
    const ARRANGEMENTS: &'static [Arrangement] = &[Arrangement::ChannelsLast, Arrangement::ChannelsFirst];
    const WINOGRAD: bool = false;

    fn math(_: Accuracy) -> cudnnMathType_t {
        CUDNN_TENSOR_OP_MATH
    }
}

/// The descriptors of one convolution.
pub(super) struct Descriptors<T: Number> {
    pub(super) image: TensorDescriptor<T>,
    pub(super) filter: FilterDescriptor<T>,
    pub(super) output: TensorDescriptor<T>,
    pub(super) convolution: ConvDescriptor<T::Sum>,
}

impl<T: Number> Descriptors<T> {
    pub(super) fn new(
        cudnn: &Arc<Cudnn>,
        g: &ConvGeometry,
        arrangement: Arrangement,
        math: cudnnMathType_t,
    ) -> Result<Self> {
        let format: cudnnTensorFormat_t = match arrangement {
            Arrangement::ChannelsLast => CUDNN_TENSOR_NHWC,
            Arrangement::ChannelsFirst => CUDNN_TENSOR_NCHW,
        };
        // cuDNN names sizes in the order n, c, h, w whatever their order in memory.
        let image = integers([g.batch, g.in_channels, g.height, g.width])?;
        let filter = integers([g.out_channels, g.group_in_channels(), g.kernel[0], g.kernel[1]])?;
        let output = integers([g.batch, g.out_channels, g.out_height(), g.out_width()])?;
        let mut convolution = cudnn.create_conv2d::<T::Sum>(
            integers(g.padding)?,
            integers(g.stride)?,
            integers(g.dilation)?,
            CUDNN_CROSS_CORRELATION,
        )?;
        convolution.set_math_type(math)?;
        let [groups] = integers([g.groups])?;
        convolution.set_group_count(groups)?;
        Ok(Self {
            image: cudnn.create_4d_tensor(format, image)?,
            filter: cudnn.create_4d_filter(format, filter)?,
            output: cudnn.create_4d_tensor(format, output)?,
            convolution,
        })
    }
}

fn integers<const N: usize>(sizes: [usize; N]) -> Result<[i32; N]> {
    let mut integers = [0; N];
    for (integer, size) in integers.iter_mut().zip(sizes) {
        *integer = i32::try_from(size).map_err(candle_core::Error::wrap)?;
    }
    Ok(integers)
}
