//! JVPs through a view, with candle's graph down to its parameters.

use candle_core::Tensor;

use crate::layer::{GradientAccumulator, Layer, LayerInput, Sequential, Tape};
use crate::view::View;
use crate::{Error, Pass, Result};

impl View {
    /// The features and their directional derivative along `tangent`.
    ///
    /// Through a tracked view both have candle's graph down to the parameters, so that the derivative can be part of a loss.
    ///
    /// **Errors** as [`View::logits`], for the tangent too.
    pub fn features_jvp(&self, images: &Tensor, tangent: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        self.jvp_up_to(&self.layers().body, images, tangent, pass)
    }

    /// As [`View::features_jvp`] for `layers`, which are the first layers of this view.
    pub(crate) fn jvp_up_to(
        &self,
        layers: &Sequential,
        images: &Tensor,
        tangent: &Tensor,
        pass: &Pass,
    ) -> Result<(Tensor, Tensor)> {
        let (x, dx, pass) = (self.to_inside(images)?, self.to_inside(tangent)?, pass.without_update());
        let input = LayerInput::new(&x).by_input().with_tangents();
        let (y, tape) = layers.tape(&input, &pass)?;
        let dy = tape.jvp(&dx.detach())?;
        if self.variables().is_empty() {
            return Ok((y, dy));
        }
        let variables = self.variables().to_vec();
        let flat = variables.iter().map(Tensor::flatten_all).collect::<candle_core::Result<Vec<_>>>()?;
        let (layers, dx) = (layers.clone(), dx.detach());
        let y = layers.forward(&x, &pass)?;
        let vjp = move |g: &Tensor| {
            let gradients = tangent_gradients(&layers, &input, (g, &dx), &pass, &variables);
            gradients.map_err(Error::into_candle)
        };
        Ok((y, ops::with_vjp(&dy, &Tensor::cat(&flat, 0)?, vjp)?))
    }
}

/// The gradients of ⟨g, J t⟩ by all variables, one after another.
fn tangent_gradients(
    layers: &Sequential,
    input: &LayerInput,
    (g, t): (&Tensor, &Tensor),
    pass: &Pass,
    variables: &[Tensor],
) -> Result<Tensor> {
    let (y, tape) = layers.tape(input, pass)?;
    let mut gradients = GradientAccumulator::of_parameters();
    tape.penalty(&g.detach(), t, &mut gradients)?;
    // What the penalty gave by the inputs of layers goes on to the parameters.
    tape.into_vjp(y.zeros_like()?, &mut gradients)?;
    let flat = variables.iter().map(|variable| match gradients.take(variable) {
        Some(gradient) => Ok(gradient.flatten_all()?),
        None => Ok(variable.zeros_like()?.detach().flatten_all()?),
    });
    Ok(Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)?)
}
