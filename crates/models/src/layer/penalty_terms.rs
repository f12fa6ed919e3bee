//! The gradient of the GC penalty as a sum of one term per layer.
//!
//! With u = Jᵀv, half the gradient of ‖Jᵀv‖² equals the gradient of ⟨v, J u⟩ with u held fixed. J is a product of one Jacobian
//! per layer. By the product rule the gradient is therefore a sum over layers of ∇⟨gₗ, Jₗ tₗ⟩, the tangent–cotangent terms:
//! gₗ is the cotangent at the layer's output (v after the backward pass through all later layers), tₗ the tangent at its input
//! (u after the forward-mode pass through all earlier layers), and both are held fixed. For a layer that is linear in its
//! weight w the term is ⟨w, W(tₗ, gₗ)⟩ with the bilinear weight gradient W. A convolution thus costs one weight gradient, and
//! no second backward pass is needed.

use candle_core::Tensor;
use ops::with_gradient;

use super::GradientAccumulator;
use crate::Result;

/// Collects the gradients of the tangent–cotangent terms ⟨g, J t⟩ of all layers.
pub(crate) enum TangentCotangentTerms<'a> {
    /// As scalars that have these gradients, for candle's backward pass.
    Scalars(Vec<Tensor>),
    /// Added to the gradients of a loss. The backward pass of its [`Tape`](super::Tape) carries gradients by the inputs of
    /// layers on to the parameters.
    AddedTo(&'a mut GradientAccumulator),
}

impl TangentCotangentTerms<'_> {
    /// Whether a gradient by this input of a layer reaches a parameter.
    pub(crate) fn reaches_parameter(&self, input: &Tensor) -> bool {
        match self {
            Self::Scalars(_) => input.track_op(),
            Self::AddedTo(_) => true,
        }
    }

    /// Adds a gradient by a parameter or by the input of a layer.
    ///
    /// # Errors
    /// When the gradient does not have the shape of `to`.
    pub(crate) fn add(&mut self, to: &Tensor, gradient: Tensor) -> Result<()> {
        match self {
            Self::Scalars(scalars) => scalars.push(with_gradient(to, &gradient)?),
            Self::AddedTo(gradients) => gradients.add(to, gradient)?,
        }
        Ok(())
    }

    /// The sum of the scalars, with the dtype and on the device of `like`.
    pub(crate) fn total(self, like: &Tensor) -> Result<Tensor> {
        let zero = Tensor::zeros((), like.dtype(), like.device())?;
        match self {
            Self::Scalars(scalars) => Ok(scalars.into_iter().try_fold(zero, |sum, scalar| sum + scalar)?),
            Self::AddedTo(_) => Ok(zero),
        }
    }
}

/// The cotangents at the output and at the input of one layer, and those of the layers inside it.
pub(crate) struct Cotangents {
    /// At the output.
    pub(crate) output: Tensor,
    /// At the input.
    pub(crate) input: Tensor,
    /// Of the layers inside, one list for each path; none for a ReLU that was fused with the layer in front of it.
    pub(crate) inner: Vec<Vec<Option<Cotangents>>>,
}

impl Cotangents {
    /// Of a layer that has no layers inside.
    pub(crate) fn leaf(output: &Tensor, input: Tensor) -> Self {
        Self { output: output.clone(), input, inner: Vec::new() }
    }
}
