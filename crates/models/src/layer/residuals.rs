//! What a forward pass keeps of every layer for the passes of the GC penalty.

use candle_core::Tensor;
use ops::nhwc::{ChannelMoments, MaxPositions};

/// Input and output of one layer in a forward pass, with what else its backward pass needs.
pub(crate) struct LayerResiduals {
    /// The input, with its graph if the pass had one.
    pub(crate) input: Tensor,
    /// The output, likewise.
    pub(crate) output: Tensor,
    /// What the layer keeps beside them.
    pub(crate) extra: Residuals,
}

/// What a layer keeps of a forward pass beside its input and its output.
#[derive(Default)]
pub(crate) enum Residuals {
    /// Nothing else is needed.
    #[default]
    None,
    /// The statistics of the batch, with which batch norm normalised it.
    Moments(ChannelMoments),
    /// The positions of the maxima in the input of a max pool.
    Positions(MaxPositions),
    /// The residuals of the layers inside, one list for each path; the layer decides the order of the paths.
    Paths(Vec<Vec<LayerResiduals>>),
}

impl LayerResiduals {
    /// Input and output without anything else.
    pub(crate) fn new(input: &Tensor, output: Tensor) -> Self {
        Self { input: input.clone(), output, extra: Residuals::None }
    }
}
