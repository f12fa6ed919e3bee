//! Activations as layers.

use candle_core::Tensor;
use ops::{Activation, derivative, hadamard, relu_mask, relu_mask_rows, repeat_rows};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, TangentCotangentTerms,
};
use crate::{Pass, Result};

/// An activation φ, applied to every element.
pub(crate) struct ActivationLayer(pub(crate) Activation);

impl ActivationLayer {
    /// φ′(x)·v at the input x of the forward pass. The derivative of ReLU is computed from the output.
    fn derivative_times(&self, residuals: &LayerResiduals, v: &Tensor) -> Result<Tensor> {
        Ok(match self.0 {
            Activation::Relu => relu_mask(v, &residuals.output.detach())?,
            Activation::Identity => v.clone(),
            smooth => hadamard(v, &derivative(smooth, 1, &residuals.input.detach())?)?,
        })
    }
}

impl Layer for ActivationLayer {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }

    fn is_relu(&self) -> bool {
        self.0 == Activation::Relu
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let y = self.0.forward(&input.x)?;
        // The derivative of ReLU is computed from its output, that of any other activation from the input.
        let evaluated_at = if self.is_relu() { y.clone() } else { input.x.clone() };
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| {
            Ok(Some(match self.0 {
                Activation::Relu => relu_mask_rows(g, &evaluated_at)?,
                smooth => smooth.jvp(&repeat_rows("activation", &evaluated_at, g)?, g)?.1,
            }))
        };
        Ok(LayerLinearization::new(y, input.needs_gradient, vjp))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok(self.0.jvp(x, dx)?)
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        // The Jacobian is diagonal, hence its own transpose.
        Ok(Cotangents::leaf(g, self.derivative_times(residuals, g)?))
    }

    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        // ⟨g, φ′(x)·t⟩ has the gradient φ″(x)·t·g by x, which is 0 for a piecewise linear φ.
        let is_piecewise_linear = matches!(self.0, Activation::Relu | Activation::Identity);
        if !is_piecewise_linear && terms.reaches_parameter(&residuals.input) {
            let curvature = derivative(self.0, 2, &residuals.input.detach())?;
            terms.add(&residuals.input, hadamard(&hadamard(t, &cotangents.output)?, &curvature)?)?;
        }
        self.derivative_times(residuals, t)
    }
}
