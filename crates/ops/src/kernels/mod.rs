//! Convolution and matrix kernels on slices, independent of tensors and devices.
//!
//! A convolution is the trilinear form T(x, w, g) = ⟨conv(x, w), g⟩; its three partial derivatives are the three
//! functions here: output, input gradient, weight gradient. Each result is bit-identical for any number of rayon threads:
//! work is split by shape, and every sum has a fixed order.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod channel;
mod conv;
mod direct;
mod element;
pub(crate) mod elementwise;
mod exponential;
pub(crate) mod gelu;
mod geometry;
mod instruction_set;
pub(crate) mod linear;
pub(crate) mod loss;
mod matmul;
pub(crate) mod norm_pool;
mod operands;
mod packing;
mod panel;
mod panels;
mod plane_pool;
pub(crate) mod pool;
pub(crate) mod projected_attention;
pub(crate) mod row_jacobian;
pub(crate) mod sample_norm;
pub(crate) mod sample_scale;
mod scratch;
mod shared;
mod simd;
pub(crate) mod softmax;
pub(crate) mod sparse;
#[cfg(test)]
mod tests;
pub(crate) mod transpose;
pub(crate) mod uninitialised;
mod winograd;

pub use activation::Activation;
pub use conv::{
    conv_forward, conv_forward_to_vec, conv_input_grad, conv_input_grad_to_vec, conv_weight_grad,
    conv_weight_grad_to_vec,
};
pub use element::Element;
pub use geometry::{Accuracy, ConvGeometry, GeometryError};
pub use matmul::{Matrix, matmul};
