//! The layers that every family builds: a body and a head.

use std::sync::Arc;

use candle_core::Tensor;

use crate::Result;
use crate::layer::{Linear, Sequential};
use crate::params::Builder;

/// The layers from the images to the features, and the head, the last linear layer.
pub(crate) struct BodyAndHead {
    pub(crate) body: Sequential,
    pub(crate) head: Arc<Linear>,
    /// The bias of the head; zeros for a head without one.
    pub(crate) head_bias: Tensor,
    pub(crate) head_name: String,
}

impl BodyAndHead {
    /// The body with a head of this name.
    pub(super) fn new(
        body: Sequential,
        mut builder: Builder<'_>,
        head: &str,
        features: usize,
        classes: usize,
    ) -> Result<Self> {
        let linear = Linear::new(builder.under(head), features, classes)?;
        Self::with_head(body, linear, head, classes)
    }

    /// The body with a head of this name that has no bias.
    pub(super) fn without_bias(
        body: Sequential,
        mut builder: Builder<'_>,
        head: &str,
        features: usize,
        classes: usize,
    ) -> Result<Self> {
        let linear = Linear::without_bias(builder.under(head), features, classes)?;
        Self::with_head(body, linear, head, classes)
    }

    fn with_head(body: Sequential, linear: Linear, head: &str, classes: usize) -> Result<Self> {
        let head_bias = match linear.bias() {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(classes, linear.weight().dtype(), linear.weight().device())?,
        };
        Ok(Self { body, head: Arc::new(linear), head_bias, head_name: head.to_owned() })
    }
}
