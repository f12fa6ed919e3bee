//! Cross-entropy composed of exponentials and sums over rows, in the precision of the logits.

use candle_core::{Device, Tensor};

use crate::Result;

/// The smoothed one-hot rows.
fn targets(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let classes = logits.dims2()?.1;
    let rest = smoothing / classes as f64;
    let one_hot = |label: u32| (0..classes as u32).map(move |class| if class == label { 1.0 - smoothing } else { 0.0 });
    let rows: Vec<f64> = labels.iter().flat_map(|label| one_hot(*label)).map(|share: f64| share + rest).collect();
    let rows = Tensor::from_vec(rows, logits.shape(), &Device::Cpu)?;
    Ok(rows.to_dtype(logits.dtype())?.to_device(logits.device())?)
}

/// ln softmax of each row.
fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
    Ok(shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)?)
}

/// −(1/n) Σ t·ln softmax over rows of logits.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let products = (log_softmax(logits)? * targets(logits, labels, smoothing)?)?;
    Ok(products.sum_all()?.affine(-1.0 / labels.len() as f64, 0.0)?)
}

/// (softmax − t)/n.
pub(crate) fn cross_entropy_gradient(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    let difference = (log_softmax(logits)?.exp()? - targets(logits, labels, smoothing)?)?;
    Ok(difference.affine(1.0 / labels.len() as f64, 0.0)?)
}
