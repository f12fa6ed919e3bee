//! What one recorded forward pass keeps, and the cotangents that a pass back through it leaves at every layer.
//!
//! With u = Jᵀv the squared norm ‖Jᵀv‖² has half its gradient equal to that of ⟨v, J u⟩, u held fixed. J is a product of
//! one Jacobian a layer, so by the product rule that gradient is a sum over layers of ∇⟨gₗ, Jₗ tₗ⟩ with the cotangent gₗ
//! (v pulled back to the layer's output) and the tangent tₗ (u pushed forward to its input) both held fixed. For a layer
//! linear in its weight w the term is ⟨w, W(tₗ, gₗ)⟩, so a convolution costs one weight gradient and no pass is walked
//! backwards a second time.

use candle_core::Tensor;

use crate::ops::ChannelMoments;

/// Input and output of one layer, with those of the layers inside it.
pub(crate) struct Record {
    /// Input, with its graph.
    pub(crate) x: Tensor,
    /// Output, with its graph.
    pub(crate) y: Tensor,
    /// The statistics of the batch, where the layer normalised by them.
    pub(crate) moments: Option<ChannelMoments>,
    /// Records of the stacks inside, in an order of the layer's own.
    pub(crate) inner: Vec<Vec<Record>>,
}

impl Record {
    pub(crate) fn leaf(x: &Tensor, y: Tensor) -> Self {
        Self { x: x.clone(), y, moments: None, inner: Vec::new() }
    }
}

/// The cotangents at the output and the input of one layer, with those of the layers inside it.
pub(crate) struct Cotangents {
    pub(crate) output: Tensor,
    pub(crate) input: Tensor,
    pub(crate) inner: Vec<Vec<Cotangents>>,
}

impl Cotangents {
    pub(crate) fn leaf(output: &Tensor, input: Tensor) -> Self {
        Self { output: output.clone(), input, inner: Vec::new() }
    }
}
