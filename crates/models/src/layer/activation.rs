//! Activations as layers.

use candle_core::Tensor;
use ops::{Activation, ActivationLinearization};

use super::operation::linearized;
use super::{Kind, Layer, LayerInput, LayerLinearization};
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
        Kind::Activation(self.0)
    }

    fn is_pointwise(&self) -> bool {
        true
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        linearized(ActivationLinearization::at(self.0, &input.x)?, input, Vec::new())
    }
}
