//! PReLU as a layer.

use candle_core::Tensor;
use ops::{PreluLinearization, prelu};

use super::operation::linearized;
use super::{Layer, LayerInput, LayerLinearization};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// PReLU with PyTorch's parameter name `weight`: x for x > 0, weight·x otherwise.
#[derive(Debug, Clone)]
pub struct Prelu {
    weight: Tensor,
}

impl Prelu {
    /// One slope for all channels (1), or one for each; they start at 0.25 as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, slopes: usize) -> Result<Self> {
        Ok(Self { weight: builder.tensor("weight", &[slopes], Role::Constant { value: 0.25 })? })
    }
}

impl Layer for Prelu {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(prelu(x, &self.weight)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        linearized(PreluLinearization::at(&input.x, &self.weight)?, input, vec![self.weight.clone()])
    }
}
