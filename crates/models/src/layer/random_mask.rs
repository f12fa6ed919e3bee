//! Layers that multiply by a random mask in training.

use candle_core::Tensor;
use ops::{hadamard, repeat_rows};

use super::{LayerLinearization, LinearTape};
use crate::Result;

/// `v` times the mask, if there is one, for one or more rows of `v` per row of the mask.
pub(super) fn masked(v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    Ok(match mask {
        Some(mask) => hadamard(v, &repeat_rows("random mask", mask, v)?)?,
        None => v.clone(),
    })
}

/// The linearization of [`masked`], which is linear in its input.
pub(super) fn linearize_masked<'a>(x: &Tensor, mask: Option<Tensor>) -> Result<LayerLinearization<'a>> {
    let (y, other) = (masked(x, mask.as_ref())?, mask.clone());
    let tape = LinearTape::new(move |t: &Tensor| masked(t, mask.as_ref()), move |g: &Tensor| masked(g, other.as_ref()));
    Ok(LayerLinearization::new(y, tape))
}
