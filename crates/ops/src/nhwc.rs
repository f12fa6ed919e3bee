//! Operations on channels-last tensors: images `[n, h, w, c]`, with the channel in the last dimension.
//!
//! The networks of this project use this layout, and the CPU kernels work in it. The module name is part of every call, so that the
//! layout is visible: an NCHW tensor of suitable sizes would give a result without an error. For candle's layout `[n, c, h, w]`
//! use [`nchw`](crate::nchw).
//!
//! Weights have PyTorch's order `[out, in / groups, kh, kw]` in both modules.

pub use crate::adaptive_pool::{adaptive_avg_pool2d, adaptive_avg_pool2d_vjp};
pub use crate::batch_norm::{
    batch_norm_eval_affine, batch_norm_train, batch_norm_train_jvp, batch_norm_train_vjp, channel_affine,
};
pub use crate::batch_norm_linearization::{BatchNormGradients, BatchNormLinearization, BatchNormTangent};
pub use crate::channel::{channel_dot, channel_scale, channel_shift, channel_sum};
pub use crate::channel_moments::ChannelMoments;
pub use crate::conv::{conv2d, conv2d_input_gradient, conv2d_relu, conv2d_weight_gradient};
pub use crate::conv1d::{conv1d, conv1d_input_gradient, conv1d_weight_gradient};
pub use crate::fused_relu::relu_mask_with_sum;
pub use crate::layout::{from_nchw, to_nchw};
pub use crate::pool::{
    MaxPositions, avg_pool2d, avg_pool2d_vjp, global_avg_pool2d, global_avg_pool2d_vjp, max_pool2d, max_pool2d_jvp,
    max_pool2d_vjp, max_pool2d_with_positions,
};
pub use crate::sample_norm::{group_norm, instance_norm};
pub use crate::sample_scale::{channel_shuffle, sample_dot, sample_scale};
pub use crate::sparse_conv::{FollowedBy, ReluMasks, conv2d_input_gradient_masked};
