//! The cuDNN algorithm, arithmetic and memory arrangement of a convolution.
//!
//! They are chosen by rules on the shape, not by timings, which would differ from run to run and change the last bits. All
//! algorithms are deterministic.

use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t::{
        self as BackwardData, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
    },
    cudnnConvolutionBwdFilterAlgo_t::{
        self as BackwardFilter, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
    },
    cudnnConvolutionFwdAlgo_t::{
        self as Forward, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
    },
    cudnnMathType_t,
};

use super::descriptors::{Arrangement, Number};
use crate::kernels::{Accuracy, ConvGeometry};

/// The algorithms, the arithmetic and the arrangement of one convolution.
pub(super) struct Plan {
    pub(super) arrangement: Arrangement,
    pub(super) math: cudnnMathType_t,
    pub(super) forward: Forward,
    pub(super) backward_data: BackwardData,
    pub(super) backward_filter: BackwardFilter,
}

/// The plans for a convolution, best first.
pub(super) fn plans<T: Number>(g: &ConvGeometry, accuracy: Accuracy) -> Vec<Plan> {
    let math = T::math(accuracy);
    let winograd = (T::WINOGRAD && accuracy == Accuracy::Fast && suits_winograd(g)).then_some(Plan {
        arrangement: Arrangement::ChannelsFirst,
        math,
        forward: CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
        backward_data: CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
        backward_filter: CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
    });
    let direct = T::ARRANGEMENTS.iter().map(|&arrangement| Plan {
        arrangement,
        math,
        forward: CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
        backward_data: CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
        backward_filter: CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
    });
    winograd.into_iter().chain(direct).collect()
}

/// With few channels, the transforms and the copies to channels-first cost more than the products that they save.
fn suits_winograd(g: &ConvGeometry) -> bool {
    const FEWEST_CHANNELS: usize = 32;
    g.kernel == [3, 3]
        && g.stride == [1, 1]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.in_channels.min(g.out_channels) >= FEWEST_CHANNELS
}
