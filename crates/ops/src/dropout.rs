//! Dropout whose mask is drawn from a given random stream, so that a step is reproducible.

use candle_core::{Device, Tensor};

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
    let mask = factors("dropout", like.elem_count(), probability, stream)?;
    let mask = Tensor::from_vec(mask, like.shape(), &Device::Cpu)?;
    Ok(mask.to_dtype(like.dtype())?.to_device(like.device())?)
}

/// `count` factors: 0 with this probability, 1/(1 − probability) otherwise.
fn factors(op: &'static str, count: usize, probability: f64, stream: &mut streams::Stream) -> Result<Vec<f64>> {
    if !(0.0..1.0).contains(&probability) {
        return Err(Error::Setting {
            op,
            name: "probability",
            value: probability.to_string(),
            rule: "it lies in [0, 1)",
        });
    }
    let keep = 1.0 / (1.0 - probability);
    let draws = streams::uniform(stream, count, 0.0, 1.0);
    Ok(draws.into_iter().map(|draw| if draw < probability { 0.0 } else { keep }).collect())
}

/// A mask of stochastic depth (drop path): one factor per sample, 0 with this probability, 1/(1 − probability) otherwise.
///
/// Stochastic depth, its VJP and its JVP are the product of a residual branch with the mask, [`hadamard`].
///
/// **Shapes** that of `like` `[n, …]`, in its dtype and on its device.
///
/// **Errors** [`Error::Setting`] for a probability outside [0, 1), [`Error::Shape`] for a scalar.
///
/// **Source** G. Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016 (arXiv 1603.09382), with the survivors scaled as in
/// timm's `DropPath` and torchvision's `StochasticDepth(mode="row")`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones((100, 2), DType::F32, &Device::Cpu)?;
/// let mask = ops::stochastic_depth_mask(&x, 0.5, &mut streams::stream(1, "docs/depth", 0))?.to_vec2::<f32>()?;
/// assert!(mask.iter().all(|row| row[0] == row[1] && (row[0] == 0.0 || row[0] == 2.0)));
/// # Ok::<(), ops::Error>(())
/// ```
pub fn stochastic_depth_mask(like: &Tensor, probability: f64, stream: &mut streams::Stream) -> Result<Tensor> {
    const OP: &str = "stochastic-depth";
    let Some(samples) = like.dims().first().copied() else {
        let rule = "the input is [n, …]";
        return Err(Error::shape(OP, &[], &[], rule));
    };
    let mut shape = vec![1; like.rank()];
    shape.splice(..1, [samples]);
    let mask = Tensor::from_vec(factors(OP, samples, probability, stream)?, shape, &Device::Cpu)?;
    Ok(mask.to_dtype(like.dtype())?.to_device(like.device())?.broadcast_as(like.shape())?.contiguous()?)
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
