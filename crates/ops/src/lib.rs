#![doc = include_str!("../README.md")]

mod activation;
mod batch_norm;
mod batch_norm_linearization;
mod channel;
mod channel_moments;
mod composed;
mod conv;
pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cudnn")]
mod cudnn;
mod dropout;
mod error;
mod fused_relu;
#[allow(unsafe_code, reason = "vector instructions, and threads that write parts of one slice")]
pub mod kernels;
mod loss;
pub mod nchw;
pub mod nhwc;
mod pool;
mod product;
mod sparse_conv;
mod with_gradient;

pub use activation::{derivative, relu};
pub use candle_core;
pub use composed::composed;
pub use conv::{ConvSettings, linear};
pub use dropout::{dropout, dropout_mask};
pub use error::{Error, Result};
pub use fused_relu::{add_detached, relu_mask_rows, repeat_rows};
pub use kernels::{Accuracy, Activation};
pub use loss::{cross_entropy, cross_entropy_jvp, cross_entropy_with_gradient};
pub use pool::PoolSettings;
pub use product::{hadamard, relu_mask};
pub use with_gradient::with_gradient;
