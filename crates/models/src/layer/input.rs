//! The input of a layer, with what will be asked of its derivatives.

use candle_core::Tensor;
use ops::add_detached;

use crate::Result;

/// The input of a layer that is linearized, and what will be asked of its [`Tape`](super::Tape), which decides what it keeps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerInput {
    /// The input, outside any graph.
    pub x: Tensor,
    /// Whether the cotangent of the input will be asked for. Gradients by parameters that are variables always are.
    pub by_input: bool,
    /// Whether [`jvp`](super::Tape::jvp) and [`penalty`](super::Tape::penalty) will be called. Without it a tape keeps less.
    pub tangents: bool,
}

impl LayerInput {
    /// An input of which only gradients by parameters will be asked for.
    pub fn new(x: &Tensor) -> Self {
        Self { x: x.detach(), by_input: false, tangents: false }
    }

    /// The same, with the cotangent of the input.
    pub fn by_input(self) -> Self {
        Self { by_input: true, ..self }
    }

    /// The same, with JVPs and the penalty's terms.
    pub fn with_tangents(self) -> Self {
        Self { tangents: true, ..self }
    }

    /// The input `x` of a layer inside this one: the tangents of that layer are asked for if those of this one are.
    pub fn inside(&self, x: &Tensor, by_input: bool) -> Self {
        Self { x: x.detach(), by_input, tangents: self.tangents }
    }
}

/// What is added to the output of a layer: see [`Layer::linearize_plus`](super::Layer::linearize_plus).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Addend {
    /// The summand, of the shape of the output.
    pub summand: Tensor,
    /// Whether the positive part of the sum is meant.
    pub relu: bool,
}

impl Addend {
    /// The sum with `y`, or its positive part.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn plus(&self, y: &Tensor) -> Result<Tensor> {
        Ok(add_detached(y, &self.summand, self.relu)?)
    }
}
