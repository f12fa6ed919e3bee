#![doc = include_str!("../README.md")]

mod activation;
mod activation_linearization;
mod adaptive_pool;
mod attention;
mod batch_norm;
mod batch_norm_linearization;
mod channel;
mod channel_moments;
mod composed;
mod conv;
mod conv1d;
pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cudnn")]
mod cudnn;
mod dropout;
mod error;
mod fused_relu;
pub mod host;
#[allow(unsafe_code, reason = "vector instructions, and threads that write parts of one slice")]
pub mod kernels;
mod layout;
mod linear;
mod linearized;
mod loss;
pub mod nchw;
pub mod nhwc;
mod pool;
mod product;
mod row_jacobians;
mod sample_norm;
mod sample_scale;
mod softmax;
mod sparse_conv;
mod with_gradient;
mod with_vjp;

pub use activation::{derivative, relu};
pub use activation_linearization::{ActivationLinearization, PreluLinearization, hadamard_rows, prelu, prelu_jvp};
pub use attention::{AttentionLinearization, AttentionMask, AttentionSettings, attention, attention_jvp};
pub use candle_core;
pub use composed::{composed, is_bound_to_thread};
pub use conv::{ConvSettings, linear};
pub use conv1d::Conv1dSettings;
pub use dropout::{dropout, dropout_mask, stochastic_depth_mask};
pub use error::{Error, Result};
pub use fused_relu::{add_detached, relu_mask_rows, repeat_rows};
pub use kernels::{Accuracy, Activation};
pub use linear::{LinearLinearization, activated_linear, activated_linear_jvp};
pub use linearized::{Gradients, Linearized, TangentCotangentTerm};
pub use loss::{cross_entropy, cross_entropy_jvp, cross_entropy_with_gradient};
pub use pool::PoolSettings;
pub use product::{hadamard, relu_mask};
pub use row_jacobians::RowJacobians;
pub use sample_norm::{
    SampleNormLinearization, SampleNormSettings, layer_norm, rms_norm, sample_norm, sample_norm_jvp,
};
pub use softmax::{SoftmaxLinearization, softmax, softmax_jvp};
pub use with_gradient::with_gradient;
pub use with_vjp::{with_vjp, with_vjps};
