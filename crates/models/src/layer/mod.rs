//! Layers: operations with their parameters, each with a forward pass and its tangent.

mod affine;
mod norm;
mod plain;
mod stack;

use candle_core::Tensor;

pub(crate) use affine::{Conv2d, Linear};
pub(crate) use norm::BatchNorm2d;
pub(crate) use plain::{ActivationLayer, Dropout, Flatten, GlobalAvgPool, MaxPool};
pub(crate) use stack::Stack;

use crate::{Pass, Result};

/// A differentiable map with named parameters.
///
/// **Shapes** images are `[n, h, w, c]` between layers, vectors `[n, p]`.
pub(crate) trait Layer: Send + Sync {
    /// The output for `x`.
    ///
    /// # Errors
    /// Whatever the operation inside refuses, by name.
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor>;

    /// The output for `x` and its directional derivative along `dx`, without any change to running statistics.
    ///
    /// # Errors
    /// As [`Layer::forward`], and when the shapes of `x` and `dx` differ.
    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)>;
}
