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
    mean(&log_softmax(logits)?, &targets(logits, labels, smoothing)?)
}

/// (softmax − t)/n.
pub(crate) fn cross_entropy_gradient(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<Tensor> {
    gradient(&log_softmax(logits)?, &targets(logits, labels, smoothing)?)
}

/// Both, with one copy of the targets to the device.
pub(crate) fn cross_entropy_with_gradient(logits: &Tensor, labels: &[u32], smoothing: f64) -> Result<(Tensor, Tensor)> {
    let (logarithms, targets) = (log_softmax(logits)?, targets(logits, labels, smoothing)?);
    Ok((mean(&logarithms, &targets)?, gradient(&logarithms, &targets)?))
}

fn mean(logarithms: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let rows = logarithms.dims2()?.0;
    Ok((logarithms * targets)?.sum_all()?.affine(-1.0 / rows as f64, 0.0)?)
}

fn gradient(logarithms: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let rows = logarithms.dims2()?.0;
    Ok((logarithms.exp()? - targets)?.affine(1.0 / rows as f64, 0.0)?)
}
