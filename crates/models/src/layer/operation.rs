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

/// Gradients by arguments of an operation or by parameters; none where nothing depends on one.
pub(super) type Partial = Vec<Option<Tensor>>;

/// The same for an operation whose arguments are functions of the parameters: `through` gives the gradients by the parameters from those
/// by the arguments.
pub(super) fn linearized_through<'a>(
    output: Tensor,
    operation: impl Linearized + 'a,
    input: &LayerInput,
    parameters: Vec<Tensor>,
    through: impl Fn(Partial) -> Result<Partial> + Send + Sync + 'a,
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

impl<L: Linearized, F: Fn(Partial) -> Result<Partial> + Send + Sync> OperationTape<L, F> {
    /// Adds the gradients by the parameters that are wanted.
    fn keep(&self, by_arguments: Partial, into: &mut GradientAccumulator) -> Result<()> {
        if !self.parameters.iter().any(|parameter| into.wants(parameter)) {
            return Ok(());
        }
        for (parameter, gradient) in self.parameters.iter().zip((self.through)(by_arguments)?) {
            if let Some(gradient) = gradient.filter(|_| into.wants(parameter)) {
                into.add(parameter, gradient)?;
            }
        }
        Ok(())
    }
}

impl<L: Linearized, F: Fn(Partial) -> Result<Partial> + Send + Sync> Tape for OperationTape<L, F> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let by_parameters = self.parameters.iter().any(|parameter| into.wants(parameter));
        let (input, gradients) = match (into.wants_input(), by_parameters) {
            (true, _) => {
                // What is kept for this input is added in the same pass over memory.
                let gradients = self.operation.gradients_plus(g, by_parameters, into.take_kept(self.x).as_ref())?;
                (Some(gradients.input), gradients.parameters)
            }
            (false, true) => (None, self.operation.gradients_by_parameters(g)?),
            (false, false) => (None, Vec::new()),
        };
        self.keep(gradients.into_iter().map(Some).collect(), into)?;
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
        self.keep(term.by_parameters, into)?;
        Ok(term.tangent)
    }
}
