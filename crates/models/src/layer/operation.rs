//! Layers that are one operation of [`ops`] with a linearization.

use candle_core::{Tensor, TensorId};
use ops::Linearized;

use super::{GradientAccumulator, LayerInput, LayerLinearization, Tape};
use crate::Result;

/// The linearization of a layer that is `operation`, with these parameters in the order of the operation's arguments.
pub(super) fn linearized<'a>(
    operation: impl Linearized + 'a,
    input: &LayerInput,
    parameters: Vec<Tensor>,
) -> Result<LayerLinearization<'a>> {
    Ok(linearized_as(operation.value()?, operation, input, parameters))
}

/// The same with the value of the operation.
pub(super) fn linearized_as<'a>(
    output: Tensor,
    operation: impl Linearized + 'a,
    input: &LayerInput,
    parameters: Vec<Tensor>,
) -> LayerLinearization<'a> {
    linearized_through(output, operation, input, parameters, Ok)
}

/// The same for an operation whose arguments are linear functions of the parameters: `through` gives the gradient by a parameter from
/// that by its argument.
pub(super) fn linearized_through<'a>(
    output: Tensor,
    operation: impl Linearized + 'a,
    input: &LayerInput,
    parameters: Vec<Tensor>,
    through: impl Fn(Tensor) -> Result<Tensor> + Send + Sync + 'a,
) -> LayerLinearization<'a> {
    let tape = OperationTape { operation, x: input.x.id(), parameters: parameters.clone(), through };
    LayerLinearization::new(output, tape).with_parameters(&parameters)
}

struct OperationTape<L, F> {
    operation: L,
    /// The identity of the input.
    x: TensorId,
    parameters: Vec<Tensor>,
    through: F,
}

impl<L: Linearized, F: Fn(Tensor) -> Result<Tensor> + Send + Sync> Tape for OperationTape<L, F> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let by_parameters = self.parameters.iter().any(|parameter| into.wants(parameter));
        let (input, gradients) = match (into.wants_input(), by_parameters) {
            (true, _) => {
                let gradients = self.operation.gradients(g, by_parameters)?;
                (Some(gradients.input), gradients.parameters)
            }
            (false, true) => (None, self.operation.gradients_by_parameters(g)?),
            (false, false) => (None, Vec::new()),
        };
        for (parameter, gradient) in self.parameters.iter().zip(gradients) {
            if into.wants(parameter) {
                into.add(parameter, (self.through)(gradient)?)?;
            }
        }
        Ok(input)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(self.operation.tangent(t)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let term = self.operation.tangent_cotangent_term(g, t)?;
        if let Some(by_input) = term.by_input {
            into.add_to(self.x, by_input)?;
        }
        for (parameter, gradient) in self.parameters.iter().zip(term.by_parameters) {
            if let Some(gradient) = gradient.filter(|_| into.wants(parameter)) {
                into.add(parameter, (self.through)(gradient)?)?;
            }
        }
        Ok(term.tangent)
    }
}
