//! Two linear layers with an activation between them and perhaps a norm in front, as one layer.

use std::sync::{Arc, OnceLock};

use candle_core::{Tensor, TensorId};
use ops::{LinearLinearization, RowJacobians};

use super::{
    Addend, Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, Linear, SequentialTape, Tape,
    WithSum,
};
use crate::{Pass, Result};

/// A map of each row by itself: perhaps a norm, a linear layer, and one with an activation in front of it. Many cotangents of one row share
/// the Jacobian of all of it there.
pub(super) struct Mlp {
    pub(super) norm: Option<Arc<dyn Layer>>,
    pub(super) linears: [Linear; 2],
}

impl Mlp {
    fn linearize_sum<'a>(
        &'a self,
        addend: Option<&Addend>,
        input: &LayerInput,
        pass: &Pass,
    ) -> Result<LayerLinearization<'a>> {
        let [first, second] = &self.linears;
        let mut tape = SequentialTape::new(input);
        let normed = match &self.norm {
            Some(norm) => tape.push(input, norm.linearize(input, pass)?),
            None => input.clone(),
        };
        let before = first.at(&normed.x)?;
        let between = tape.push(&normed, first.linearized(before.clone(), None, &normed)?);
        let after = second.at(&between.x)?;
        let output = tape.push(&between, second.linearized(after.clone(), addend, &between)?).x;
        let (has_variables, inside) = (tape.has_variables(), Footprint::of(&between.x));
        let operations = [before.without_unused_input(), after];
        let (jacobians, norms) = (OnceLock::new(), usize::from(self.norm.is_some()));
        let tape = MlpTape { input: input.x.id(), shape: input.x.dims().to_vec(), operations, norms, tape, jacobians };
        Ok(LayerLinearization::new(output, tape).with_memory(inside).with_inside(has_variables, false))
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let ([first, second], normed) = (&self.linears, self.norm.as_ref().map(|norm| norm.forward(x, pass)));
        second.forward(&first.forward(normed.transpose()?.as_ref().unwrap_or(x), pass)?, pass)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_sum(None, input, pass)
    }

    fn linearize_plus<'a>(&'a self, addend: &Addend, input: &LayerInput, pass: &Pass) -> WithSum<'a> {
        if addend.relu { Ok(None) } else { self.linearize_sum(Some(addend), input, pass).map(Some) }
    }
}

struct MlpTape<'a> {
    /// The identity and the shape of the input.
    input: TensorId,
    shape: Vec<usize>,
    operations: [LinearLinearization; 2],
    /// The number of layers in front of the linear ones.
    norms: usize,
    /// One layer after the other.
    tape: SequentialTape<'a>,
    /// The Jacobians at the rows, once they pay.
    jacobians: OnceLock<RowJacobians>,
}

impl MlpTape<'_> {
    /// The Jacobians at the rows, where they pay for this number of cotangents of each row.
    fn jacobians(&self, cotangents: usize) -> Result<Option<&RowJacobians>> {
        if let Some(known) = self.jacobians.get() {
            return Ok(Some(known));
        }
        let [before, after] = &self.operations;
        let Some(at_norm) = before.jacobians_through(after, cotangents)? else { return Ok(None) };
        let at_input = self.tape.vjp_through(self.norms, &at_norm, &mut GradientAccumulator::of_input())?;
        let jacobians = at_input.map(|gradients| RowJacobians::of(&gradients, &self.shape)).transpose()?;
        Ok(jacobians.map(|jacobians| self.jacobians.get_or_init(|| jacobians)))
    }
}

impl Tape for MlpTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let cotangents = into.cotangents().max(g.dim(0)? / self.shape[0]);
        if cotangents > 1
            && into.wants_input()
            && !into.wants_parameters()
            && let Some(jacobians) = self.jacobians(cotangents)?
        {
            return Ok(Some(jacobians.input_gradient(g, into.take_kept(self.input).as_ref())?));
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
