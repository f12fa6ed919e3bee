//! Layers: operations with their parameters, each with its forward pass and its derivatives.
//!
//! A layer has three forward passes:
//!
//! | method | what is kept | what the backward pass uses |
//! |---|---|---|
//! | [`Layer::forward`] | candle's graph, if a parameter or the input is tracked | candle's `backward` |
//! | [`Layer::linearize`] | a closure g ↦ Jᵀg with the tensors it needs | a [`Tape`] of such closures |
//! | [`Layer::forward_with_residuals`] | input, output and the layer's [`Residuals`] | [`Layer::vjp`], then [`Layer::penalty_jvp`] |
//!
//! The second serves exact geometric complexity and plain training steps; the third serves the GC penalty, whose gradient
//! needs the cotangent at every layer.

mod activation;
mod batch_norm;
mod conv;
mod dropout;
mod flatten;
mod linear;
mod penalty_terms;
mod pool;
mod residuals;
mod sequential;
mod sum;
mod tape;

use candle_core::Tensor;

pub(crate) use activation::ActivationLayer;
pub(crate) use batch_norm::BatchNorm2d;
pub(crate) use conv::{Conv2d, ConvSizes};
pub(crate) use dropout::Dropout;
pub(crate) use flatten::Flatten;
pub(crate) use linear::Linear;
pub(crate) use penalty_terms::{Cotangents, TangentCotangentTerms};
pub(crate) use pool::{GlobalAvgPool, MaxPool};
pub(crate) use residuals::{LayerResiduals, Residuals};
pub(crate) use sequential::Sequential;
pub(crate) use sum::Sum;
pub(crate) use tape::{Footprint, GradientAccumulator, LayerInput, LayerLinearization, ReluMask, Tape};

use crate::{Pass, Result};

/// A differentiable map with named parameters.
///
/// **Shapes** images are `[n, h, w, c]` between layers, vectors `[n, p]`.
pub(crate) trait Layer: Send + Sync {
    /// The output for `x`.
    ///
    /// # Errors
    /// Those of the operation inside, such as a wrong shape.
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor>;

    /// The output for `x` and its directional derivative along `dx`. Running statistics do not change.
    ///
    /// # Errors
    /// As [`Layer::forward`], and when the shapes of `x` and `dx` differ.
    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)>;

    /// The output of this layer followed by a ReLU, if one fused operation computes both.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn forward_with_relu(&self, _x: &Tensor, _pass: &Pass) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Whether the layer is a ReLU.
    fn is_relu(&self) -> bool {
        false
    }

    /// The names of the layers inside this one; empty for a layer that has none.
    fn names_inside(&self) -> Vec<String> {
        Vec::new()
    }

    /// The layers from this layer's input to the output of the inner layer of this name.
    fn find_inside(&self, _name: &str) -> Option<Sequential> {
        None
    }

    /// The output, outside any graph, and the backward pass from it.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>>;

    /// As [`Layer::linearize`] for this layer followed by a ReLU, if one fused operation computes both.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn linearize_with_relu<'a>(
        &'a self,
        _input: &LayerInput,
        _mask: ReluMask,
        _pass: &Pass,
    ) -> Result<Option<LayerLinearization<'a>>> {
        Ok(None)
    }

    /// Whether this layer's backward pass can apply the mask of a ReLU in front of it: see
    /// [`LayerInput::relu_mask_pending`].
    fn applies_relu_mask(&self) -> bool {
        false
    }

    /// This layer, if it is a convolution.
    fn as_convolution(&self) -> Option<&Conv2d> {
        None
    }

    /// This layer, if it is a max pool.
    fn as_max_pool(&self) -> Option<&MaxPool> {
        None
    }

    /// This layer, if it is batch norm.
    fn as_batch_norm(&self) -> Option<&BatchNorm2d> {
        None
    }

    /// The output for `x` with what [`Layer::vjp`] and [`Layer::penalty_jvp`] need of the forward pass.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn forward_with_residuals(&self, x: &Tensor, pass: &Pass) -> Result<LayerResiduals> {
        Ok(LayerResiduals::new(x, self.forward(x, pass)?))
    }

    /// Jᵀg at the input of the forward pass, outside any graph.
    ///
    /// # Errors
    /// When `g` does not have the shape of the output.
    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, pass: &Pass) -> Result<Cotangents>;

    /// As [`Layer::vjp`] for this layer followed by a ReLU, if the two are fused; `g` is then the cotangent of the ReLU's output.
    ///
    /// # Errors
    /// As [`Layer::vjp`].
    fn vjp_with_relu(&self, _residuals: &LayerResiduals, _g: &Tensor) -> Result<Option<Cotangents>> {
        Ok(None)
    }

    /// J t at the input of the forward pass, outside any graph; `cotangents` are those that [`Layer::vjp`] gave.
    ///
    /// Adds to `terms` the gradients of ⟨g, J t⟩ by the weights and by the input, with the cotangent g and the tangent t held
    /// fixed. Nothing is added where J depends on neither.
    ///
    /// # Errors
    /// When `t` does not have the shape of the input.
    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor>;

    /// As [`Layer::penalty_jvp`] for this layer followed by a ReLU, where `cotangents` came from [`Layer::vjp_with_relu`].
    ///
    /// # Errors
    /// As [`Layer::penalty_jvp`], and when this layer is never fused with a ReLU.
    fn penalty_jvp_with_relu(
        &self,
        _residuals: &LayerResiduals,
        _cotangents: Cotangents,
        _t: &Tensor,
        _terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        Err(crate::Error::Candle(candle_core::Error::BackwardNotSupported { op: "penalty-jvp-with-relu" }))
    }
}
