//! Two linear layers with an activation between them, as one layer.

use candle_core::Tensor;
use ops::LinearLinearization;

use super::{
    Addend, Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, Linear, SequentialTape, Tape,
    WithSum,
};
use crate::{Pass, Result};

/// A linear layer, and one with an activation in front of it. Many cotangents of one row share the Jacobian of both there.
pub(super) struct Mlp(pub(super) [Linear; 2]);

impl Mlp {
    fn linearize_sum<'a>(&'a self, addend: Option<&Addend>, input: &LayerInput) -> Result<LayerLinearization<'a>> {
        let [first, second] = &self.0;
        let mut tape = SequentialTape::new(input);
        let before = first.at(&input.x)?;
        let between = tape.push(input, first.linearized(before.clone(), None, input)?);
        let after = second.at(&between.x)?;
        let output = tape.push(&between, second.linearized(after.clone(), addend, &between)?).x;
        let (has_variables, inside) = (tape.has_variables(), Footprint::of(&between.x));
        let operations = [before.without_unused_input(), after];
        Ok(LayerLinearization::new(output, MlpTape { operations, tape })
            .with_memory(inside)
            .with_inside(has_variables, false))
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let [first, second] = &self.0;
        second.forward(&first.forward(x, pass)?, pass)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_sum(None, input)
    }

    fn linearize_plus<'a>(&'a self, addend: &Addend, input: &LayerInput, _: &Pass) -> WithSum<'a> {
        if addend.relu { Ok(None) } else { self.linearize_sum(Some(addend), input).map(Some) }
    }
}

struct MlpTape<'a> {
    operations: [LinearLinearization; 2],
    /// One layer after the other.
    tape: SequentialTape<'a>,
}

impl Tape for MlpTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let [before, after] = &self.operations;
        if into.wants_input()
            && !into.wants_parameters()
            && let Some(at_input) = before.input_gradient_through(after, g)?
        {
            return Ok(Some(at_input));
        }
        self.tape.vjp(g, into)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        self.tape.jvp(t)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        self.tape.penalty(g, t, into)
    }
}
