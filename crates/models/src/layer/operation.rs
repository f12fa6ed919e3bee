//! Layers that are one operation of [`ops`] with a linearization.

use candle_core::Tensor;
use ops::Linearized;

use super::{GradientAccumulator, LayerInput, LayerLinearization, Tape};
use crate::Result;

/// The linearization of a layer that is `operation`, with these parameters in the order of the operation's arguments.
pub(super) fn linearized<'a>(
    operation: impl Linearized + 'a,
    input: &LayerInput,
    parameters: Vec<Tensor>,
) -> Result<LayerLinearization<'a>> {
    let output = operation.value()?;
    let tape = OperationTape { operation, x: input.x.clone(), parameters: parameters.clone() };
    Ok(LayerLinearization::new(output, tape).with_parameters(&parameters))
}

struct OperationTape<L> {
    operation: L,
    x: Tensor,
    parameters: Vec<Tensor>,
}

impl<L: Linearized> Tape for OperationTape<L> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let by_parameters = self.parameters.iter().any(|parameter| into.wants(parameter));
        if !by_parameters && !into.wants_input() {
            return Ok(None);
        }
        let gradients = self.operation.gradients(g, by_parameters)?;
        for (parameter, gradient) in self.parameters.iter().zip(gradients.parameters) {
            if into.wants(parameter) {
                into.add(parameter, gradient)?;
            }
        }
        Ok(into.wants_input().then_some(gradients.input))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(self.operation.tangent(t)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let term = self.operation.tangent_cotangent_term(g, t)?;
        if let Some(by_input) = term.by_input {
            into.add(&self.x, by_input)?;
        }
        for (parameter, gradient) in self.parameters.iter().zip(term.by_parameters) {
            if let Some(gradient) = gradient.filter(|_| into.wants(parameter)) {
                into.add(parameter, gradient)?;
            }
        }
        Ok(term.tangent)
    }
}
