//! The layers of a network: a body and a head.

use std::sync::Arc;

use candle_core::Tensor;

use crate::Result;
use crate::layer::{Linear, Sequential};
use crate::params::Builder;

/// The layers from the inputs to the features `[n, p]`, and the head, the last linear layer.
#[derive(Clone)]
pub struct BodyAndHead {
    pub(crate) body: Sequential,
    pub(crate) head: Arc<Linear>,
    /// The bias of the head; zeros for a head without one.
    pub(crate) head_bias: Tensor,
    pub(crate) head_name: String,
}

impl BodyAndHead {
    /// The body with a head of this name, from `features` numbers to `classes` scores.
    ///
    /// # Errors
    /// Those of [`Linear::new`].
    pub fn new(
        body: Sequential,
        mut builder: Builder<'_>,
        head: &str,
        features: usize,
        classes: usize,
    ) -> Result<Self> {
        Self::with_head(body, head, Linear::new(builder.under(head), features, classes)?)
    }

    /// The body with this head.
    ///
    /// # Errors
    /// [`Error::Candle`](crate::Error::Candle) on a failing device.
    pub fn with_head(body: Sequential, name: &str, head: Linear) -> Result<Self> {
        let head_bias = match head.bias() {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(head.weight().dim(0)?, head.weight().dtype(), head.weight().device())?,
        };
        Ok(Self { body, head: Arc::new(head), head_bias, head_name: name.to_owned() })
    }
}
