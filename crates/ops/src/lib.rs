//! Differentiable operations whose gradients are right, with their forward-mode (tangent) rules.
//!
//! Activations are NHWC inside a network; weights are stored as PyTorch stores them. Every operation is checked against
//! finite differences in f64 and against PyTorch.
//!
//! On the CPU an operation runs a kernel of this crate. On CUDA convolution is cuDNN's (feature `cudnn`), what lies between
//! runs kernels of this crate, and the rest is composed of candle's own operations, as everything is on Metal. See
//! [`composed()`] for a check of the one against the other on the CPU; `tests/cuda.rs` was run on an H100, Metal on nothing yet.

mod activation;
mod batch_norm;
mod between_relus;
mod channel;
mod composed;
mod conv;
pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cudnn")]
mod cudnn;
mod dropout;
mod error;
#[allow(unsafe_code)]
pub mod kernels;
mod loss;
mod normalised_batch;
mod pairing;
mod plain;
mod pool;
mod product;

pub use activation::derivative;
pub use activation::{Activation, relu};
pub use batch_norm::{
    ChannelMoments, batch_norm_eval_affine, batch_norm_train, batch_norm_train_jvp, batch_norm_train_pullback,
    channel_affine,
};
pub use batch_norm::{batch_norm_recorded, batch_norm_traced};
pub use between_relus::{Passed, input_gradient_between_relus};
pub use channel::{channel_dot, channel_scale, channel_shift, channel_sum};
pub use composed::composed;
pub use conv::{ConvSettings, conv2d, conv2d_input_gradient, conv2d_relu, conv2d_weight_gradient, linear};
pub use dropout::{dropout, dropout_mask};
pub use error::{Error, Result};
pub use kernels::Accuracy;
pub use loss::cross_entropy_with_gradient;
pub use loss::{cross_entropy, cross_entropy_jvp};
pub use normalised_batch::NormalisedBatch;
pub use pairing::with_gradient;
pub use plain::{gate_each, gated_with_sum, plain_sum, repeated};
pub use pool::{MaxPositions, max_pool2d_traced};
pub use pool::{
    PoolSettings, avg_pool2d, global_avg_pool2d, global_avg_pool2d_pullback, max_pool2d, max_pool2d_jvp,
    max_pool2d_pullback,
};
pub use product::{gate, hadamard};
