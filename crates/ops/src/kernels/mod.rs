//! Convolution and matrix kernels on plain slices: no tensors, no devices.
//!
//! A convolution is the trilinear form T(x, w, g) = ⟨conv(x, w), g⟩; its three partial derivatives are the three
//! functions here: output, input gradient, weight gradient. Each result is the same to the last bit for any number of
//! rayon threads: work is split by shape, and every sum runs in a fixed order.

pub(crate) mod batch_norm;
pub(crate) mod between_relus;
pub(crate) mod channel;
mod conv;
mod direct;
mod element;
pub(crate) mod elementwise;
pub(crate) mod fresh;
mod geometry;
mod instruction_set;
pub(crate) mod loss;
mod matmul;
mod panel;
pub(crate) mod pool;
mod scratch;
mod shared;
mod simd;
#[cfg(test)]
mod tests;
mod winograd;

pub use conv::{
    conv_forward, conv_forward_to_vec, conv_input_grad, conv_input_grad_to_vec, conv_weight_grad,
    conv_weight_grad_to_vec,
};
pub use element::Element;
pub use geometry::{Accuracy, ConvGeometry, GeometryError};
pub use matmul::matmul;
