//! Dropout as a layer.

use candle_core::Tensor;
use ops::dropout_mask;

use super::random_mask::{linearize_masked, masked};
use super::{Layer, LayerInput, LayerLinearization};
use crate::{Pass, Result};

/// Dropout. Its random stream is addressed by the seed and the step of the pass and by the layer's name.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::Pass;
/// use models::layer::{Dropout, Layer};
/// let (dropout, x) = (Dropout { name: "drop".into(), probability: 0.5 }, Tensor::ones((1, 4), DType::F64, &Device::Cpu)?);
/// assert_eq!(dropout.forward(&x, &Pass::evaluation())?.to_vec2::<f64>()?, [[1.; 4]]);
/// // The same seed and step give the same mask.
/// let run = || -> models::Result<_> { Ok(dropout.forward(&x, &Pass::training(3, 7))?.to_vec2::<f64>()?) };
/// assert_eq!(run()?, run()?);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    /// The layer's full name in the network.
    pub name: String,
    /// The probability with which a value is dropped; the others are multiplied by 1/(1 − probability).
    pub probability: f64,
}

impl Dropout {
    /// The mask of this pass; none outside training.
    fn mask(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some((seed, step)) = pass.dropout else {
            return Ok(None);
        };
        let mut stream = streams::stream(seed, &format!("models/dropout/{}", self.name), step);
        Ok(Some(dropout_mask(x, self.probability, &mut stream)?))
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        masked(x, self.mask(x, pass)?.as_ref())
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        linearize_masked(&input.x, self.mask(&input.x, pass)?)
    }
}
