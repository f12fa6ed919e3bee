//! The units of the inputs in which the Jacobian is taken.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The units of the inputs in which the Jacobian is taken.
///
/// **Definition** the input of a network is x = (pixel − mean)/σ with one σ per channel, so ∂f/∂pixel = ∂f/∂x · 1/σ: in pixel
/// units each column of the Jacobian is divided by the σ of its channel. The inputs of a measurement are normalised in both
/// cases.
///
/// ```
/// use gc_core::InputUnits;
/// let cifar10 = InputUnits::Pixel { std: vec![0.2470, 0.2435, 0.2616] };
/// assert_ne!(cifar10, InputUnits::Normalised);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputUnits {
    /// The inputs of the map as they are.
    #[default]
    Normalised,
    /// Pixels in `[0, 1]`, before the division by the standard deviation of their channel (dimension 1 of the input).
    Pixel {
        /// The standard deviation by which each channel was divided.
        std: Vec<f64>,
    },
}

impl InputUnits {
    /// `tensor`, shaped as the inputs `[n, channels, …]`, with every channel divided by its σ.
    ///
    /// This turns a derivative with respect to inputs into one with respect to pixels, and a direction in pixels into one in
    /// inputs.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there is one σ per channel, all positive and finite.
    pub fn divide(&self, tensor: &Tensor) -> Result<Tensor> {
        match self {
            Self::Normalised => Ok(tensor.clone()),
            Self::Pixel { std } => Ok(tensor.broadcast_mul(&reciprocal(std, tensor)?)?),
        }
    }
}

/// 1/σ in a shape that broadcasts over `[n, channels, …]`.
fn reciprocal(std: &[f64], tensor: &Tensor) -> Result<Tensor> {
    let channels = tensor.dims().get(1).copied().unwrap_or(0);
    if std.len() != channels {
        let expected = format!("one standard deviation for each of the {channels} channels of {:?}", tensor.dims());
        return Err(Error::setting("InputUnits::Pixel", expected, std.len()));
    }
    if let Some(bad) = std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
        return Err(Error::setting("InputUnits::Pixel", "standard deviations that are positive and finite", bad));
    }
    let mut shape = vec![1; tensor.rank()];
    shape[1] = channels;
    let reciprocal: Vec<f64> = std.iter().map(|std| 1.0 / std).collect();
    Ok(Tensor::from_vec(reciprocal, shape, tensor.device())?.to_dtype(tensor.dtype())?)
}
