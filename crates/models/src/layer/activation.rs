//! Activations as layers.

use std::sync::OnceLock;

use candle_core::Tensor;
use ops::{Activation, derivative, hadamard, hadamard_rows, relu_mask, relu_mask_rows};

use super::{GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, Tape};
use crate::{Pass, Result};

/// An activation φ, applied to every element.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Pass;
/// use models::layer::{ActivationLayer, Layer};
/// use models::ops::Activation;
/// let y = ActivationLayer(Activation::Relu).forward(&Tensor::new(&[[-1f64, 2.]], &Device::Cpu)?, &Pass::evaluation())?;
/// assert_eq!(y.to_vec2::<f64>()?, [[0., 2.]]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ActivationLayer(
    /// φ.
    pub Activation,
);

impl Layer for ActivationLayer {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }

    fn kind(&self) -> Kind<'_> {
        if self.0 == Activation::Relu { Kind::Relu } else { Kind::Other }
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let y = self.0.forward(&input.x)?;
        // The derivative of ReLU is computed from its output, that of any other activation from the input.
        let at = if self.0 == Activation::Relu { y.clone() } else { input.x.clone() };
        Ok(LayerLinearization::new(y, ActivationTape { activation: self.0, at, slope: OnceLock::new() }))
    }
}

struct ActivationTape {
    activation: Activation,
    /// The input; for ReLU the output.
    at: Tensor,
    /// The derivative, once a VJP of several cotangents per sample has needed it.
    slope: OnceLock<Tensor>,
}

impl ActivationTape {
    /// The derivative at the input; kept for later VJPs if `keeps`.
    fn slope(&self, keeps: bool) -> Result<Tensor> {
        if let Some(slope) = self.slope.get() {
            return Ok(slope.clone());
        }
        let slope = derivative(self.activation, 1, &self.at)?;
        Ok(if keeps { self.slope.get_or_init(|| slope).clone() } else { slope })
    }
}

impl Tape for ActivationTape {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if !into.wants_input() {
            return Ok(None);
        }
        Ok(Some(match self.activation {
            Activation::Relu => relu_mask_rows(g, &self.at)?,
            Activation::Identity => g.clone(),
            _ => hadamard_rows(g, &self.slope(g.dims() != self.at.dims())?)?,
        }))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        // The Jacobian is diagonal, hence its own transpose.
        Ok(match self.activation {
            Activation::Relu => relu_mask(t, &self.at)?,
            Activation::Identity => t.clone(),
            _ => hadamard(t, &self.slope(false)?)?,
        })
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        // ⟨g, φ′(x)·t⟩ has the gradient φ″(x)·t·g by x, which is 0 for a piecewise linear φ.
        if !matches!(self.activation, Activation::Relu | Activation::Identity) {
            let curvature = derivative(self.activation, 2, &self.at)?;
            into.add(&self.at, hadamard(&hadamard(t, g)?, &curvature)?)?;
        }
        self.jvp(t)
    }
}
