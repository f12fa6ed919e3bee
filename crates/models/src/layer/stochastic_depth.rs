//! Stochastic depth as a layer.

use candle_core::Tensor;
use ops::stochastic_depth_mask;

use super::random_mask::{linearize_masked, masked};
use super::{Layer, LayerInput, LayerLinearization};
use crate::{Pass, Result};

/// Stochastic depth (timm's `DropPath`) at the end of a residual branch: in training the branch of a sample is dropped with this
/// probability and else divided by 1 − probability. In evaluation it is the identity.
///
/// Its random stream is addressed by the seed and the step of the pass and by the layer's name.
#[derive(Debug, Clone)]
pub struct StochasticDepth {
    /// The layer's full name in the network.
    pub name: String,
    /// The probability with which a branch is dropped.
    pub probability: f64,
}

impl StochasticDepth {
    /// The mask of this pass; none outside training.
    fn mask(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some((seed, step)) = pass.dropout.filter(|_| self.probability != 0.0) else { return Ok(None) };
        let mut stream = streams::stream(seed, &format!("models/stochastic-depth/{}", self.name), step);
        Ok(Some(stochastic_depth_mask(x, self.probability, &mut stream)?))
    }
}

impl Layer for StochasticDepth {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        masked(x, self.mask(x, pass)?.as_ref())
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        linearize_masked(&input.x, self.mask(&input.x, pass)?)
    }
}
