//! Stochastic depth as a layer.

use candle_core::Tensor;
use ops::{hadamard, repeat_rows, stochastic_depth_mask};

use super::{Layer, LayerInput, LayerLinearization, LinearTape};
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

/// `v` times the mask, if there is one, for one or more rows of `v` per row of the mask.
fn masked(v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    Ok(match mask {
        Some(mask) => hadamard(v, &repeat_rows("stochastic-depth", mask, v)?)?,
        None => v.clone(),
    })
}

impl Layer for StochasticDepth {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        masked(x, self.mask(x, pass)?.as_ref())
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let mask = self.mask(&input.x, pass)?;
        let (y, other) = (masked(&input.x, mask.as_ref())?, mask.clone());
        let tape =
            LinearTape::new(move |t: &Tensor| masked(t, mask.as_ref()), move |g: &Tensor| masked(g, other.as_ref()));
        Ok(LayerLinearization::new(y, tape))
    }
}
