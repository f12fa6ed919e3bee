//! What one recorded forward pass keeps, and the cotangents that a pass back through it leaves at every layer.
//!
//! With u = Jᵀv the squared norm ‖Jᵀv‖² has half its gradient equal to that of ⟨v, J u⟩, u held fixed. J is a product of
//! one Jacobian a layer, so by the product rule that gradient is a sum over layers of ∇⟨gₗ, Jₗ tₗ⟩ with the cotangent gₗ
//! (v pulled back to the layer's output) and the tangent tₗ (u pushed forward to its input) both held fixed. For a layer
//! linear in its weight w the term is ⟨w, W(tₗ, gₗ)⟩, so a convolution costs one weight gradient and no pass is walked
//! backwards a second time.

use candle_core::Tensor;

use super::ByParameter;
use crate::Result;
use ops::{ChannelMoments, MaxPositions, with_gradient};

/// Input and output of one layer, with what else it found out in the forward pass.
pub(crate) struct Record {
    /// Input, with its graph if the pass had one.
    pub(crate) x: Tensor,
    /// Output, likewise.
    pub(crate) y: Tensor,
    pub(crate) kept: Kept,
}

/// What a layer keeps of the forward pass beside its input and its output.
#[derive(Default)]
pub(crate) enum Kept {
    #[default]
    Nothing,
    /// The statistics of the batch, by which it was normalised.
    Moments(ChannelMoments),
    /// Where the maxima came from.
    Positions(MaxPositions),
    /// The records of the stacks inside, in an order of the layer's own.
    Paths(Vec<Vec<Record>>),
}

impl Record {
    pub(crate) fn leaf(x: &Tensor, y: Tensor) -> Self {
        Self { x: x.clone(), y, kept: Kept::Nothing }
    }
}

/// Where the gradients of the pairings ⟨g, J t⟩ go.
pub(crate) enum Pairings<'a> {
    /// Into scalars that have these gradients, for candle's backward pass.
    Scalars(Vec<Tensor>),
    /// Among those of a loss, whose way back (see [`Trace`](super::Trace)) takes along what belongs to an input of a layer.
    Added(&'a mut ByParameter),
}

impl Pairings<'_> {
    /// Whether a gradient by this input of a layer can reach a parameter.
    pub(crate) fn reach(&self, input: &Tensor) -> bool {
        match self {
            Self::Scalars(_) => input.track_op(),
            Self::Added(_) => true,
        }
    }

    /// Adds a gradient by a parameter or by the recorded input of a layer.
    ///
    /// # Errors
    /// When it is not shaped as what it belongs to.
    pub(crate) fn add(&mut self, to: &Tensor, gradient: Tensor) -> Result<()> {
        match self {
            Self::Scalars(scalars) => scalars.push(with_gradient(to, &gradient)?),
            Self::Added(found) => found.add(to, gradient)?,
        }
        Ok(())
    }

    /// The sum of the scalars, of the type and on the device of `like`.
    pub(crate) fn total(self, like: &Tensor) -> Result<Tensor> {
        let zero = Tensor::zeros((), like.dtype(), like.device())?;
        match self {
            Self::Scalars(scalars) => Ok(scalars.into_iter().try_fold(zero, |sum, scalar| sum + scalar)?),
            Self::Added(_) => Ok(zero),
        }
    }
}

/// The cotangents at the output and the input of one layer, with those of the layers inside it.
pub(crate) struct Cotangents {
    pub(crate) output: Tensor,
    pub(crate) input: Tensor,
    /// None for a ReLU that was passed together with the layer in front of it.
    pub(crate) inner: Vec<Vec<Option<Cotangents>>>,
}

impl Cotangents {
    pub(crate) fn leaf(output: &Tensor, input: Tensor) -> Self {
        Self { output: output.clone(), input, inner: Vec::new() }
    }
}
