//! A tape together with the layers that it borrows, so that candle's graph can hold both.

use std::sync::Arc;

use candle_core::Tensor;
use yoke::{Yoke, Yokeable};

use crate::layer::{LayerInput, Sequential, SequentialTape};
use crate::{Pass, Result};

/// The outputs of one forward pass with tangents, its tape, and the layers.
pub(crate) struct SharedTape(Yoke<Recorded<'static>, Arc<Sequential>>);

#[derive(Yokeable)]
struct Recorded<'a> {
    features: Tensor,
    tape: SequentialTape<'a>,
}

impl SharedTape {
    /// Runs the layers forward once at `x`, in the order inside a network.
    pub(crate) fn new(layers: &Arc<Sequential>, x: &Tensor, pass: &Pass) -> Result<Self> {
        let input = LayerInput::new(x).by_input().with_tangents();
        let recorded = Yoke::try_attach_to_cart(layers.clone(), |layers: &Sequential| {
            layers.tape(&input, pass).map(|(features, tape)| Recorded { features, tape })
        });
        Ok(Self(recorded?))
    }

    /// The outputs, outside any graph.
    pub(crate) fn features(&self) -> &Tensor {
        &self.0.get().features
    }

    pub(crate) fn tape(&self) -> &SequentialTape<'_> {
        &self.0.get().tape
    }
}
