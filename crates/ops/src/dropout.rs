//! Dropout whose mask is drawn from a given random stream, so that a step is reproducible.

use candle_core::Tensor;

use super::product::hadamard;
use crate::{Error, Result};

/// A dropout mask: 0 with this probability, 1/(1 − probability) otherwise.
///
/// Dropout, its VJP and its JVP are the product with the mask, [`hadamard`].
///
/// **Shapes** that of `like`, in its dtype and on its device.
///
/// **Errors** [`Error::Setting`] for a probability outside [0, 1).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones(1000, DType::F32, &Device::Cpu)?;
/// let mask = ops::dropout_mask(&x, 0.5, &mut streams::stream(1, "docs/dropout", 0))?;
/// let kept = mask.to_vec1::<f32>()?.iter().filter(|value| **value == 2.0).count();
/// assert!((400..600).contains(&kept));
/// # Ok::<(), ops::Error>(())
/// ```
pub fn dropout_mask(like: &Tensor, probability: f64, stream: &mut streams::Stream) -> Result<Tensor> {
    if !(0.0..1.0).contains(&probability) {
        return Err(Error::Setting {
            op: "dropout",
            name: "probability",
            value: probability.to_string(),
            rule: "it lies in [0, 1)",
        });
    }
    let keep = 1.0 / (1.0 - probability);
    let mask: Vec<f64> = streams::uniform(stream, like.elem_count(), 0.0, 1.0)
        .into_iter()
        .map(|draw| if draw < probability { 0.0 } else { keep })
        .collect();
    let mask = Tensor::from_vec(mask, like.shape(), &candle_core::Device::Cpu)?;
    Ok(mask.to_dtype(like.dtype())?.to_device(like.device())?)
}

/// Dropout: each element is set to 0 with this probability, or else divided by 1 − `probability`.
///
/// **Errors** as [`dropout_mask`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones(1000, DType::F32, &Device::Cpu)?;
/// let open = || streams::stream(1, "docs/dropout", 0);
/// let dropped = ops::dropout(&x, 0.5, &mut open())?.to_vec1::<f32>()?;
/// assert!(dropped.iter().all(|value| *value == 0.0 || *value == 2.0));
/// // The same stream drops the same values.
/// assert_eq!(ops::dropout(&x, 0.5, &mut open())?.to_vec1::<f32>()?, dropped);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn dropout(x: &Tensor, probability: f64, stream: &mut streams::Stream) -> Result<Tensor> {
    hadamard(x, &dropout_mask(x, probability, stream)?)
}
