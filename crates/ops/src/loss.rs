//! Cross-entropy with label smoothing, and its gradient.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::composed::{self, Compose, apply1, is_composed};
use super::cpu::{dispatch_float, elements, require_float};
use super::product::hadamard;
use crate::kernels::loss;
use crate::{Error, Result, host};

/// Mean cross-entropy of `logits` with `labels`.
///
/// **Definition** −(1/n) Σᵢ Σ_c tᵢ_c ln softmax(logitsᵢ)_c with t = (1 − s)·onehot(label) + s/k, s the smoothing.
///
/// **Shapes** `logits` `[n, k]`, `labels` `[n]` u32; result a scalar, in nats. Labels may be on the CPU while the logits are on a device:
/// they are [read](crate::host), which needs no wait there.
///
/// **Errors** [`Error::Shape`] if the sizes do not match or a label is not below k; [`Error::Setting`] for a smoothing
/// outside [0, 1); [`Error::DType`] unless the logits are f32 or f64 and the labels u32.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f64, 0.], [0., 0.]], &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
/// let loss = ops::cross_entropy(&logits, &labels, 0.0)?;
/// assert!((loss.to_scalar::<f64>()? - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let targets = Targets::new(logits, labels, smoothing)?;
    apply1(logits, CrossEntropy(targets))
}

/// The cross-entropy and its JVP ⟨∇, d_logits⟩.
///
/// **Errors** as [`cross_entropy`], and [`Error::Shape`] if `d_logits` is not shaped as `logits`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f64, 0.]], &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32], &Device::Cpu)?;
/// // The gradient is softmax minus the one-hot label, (−1/2, 1/2).
/// let (_, change) = ops::cross_entropy_jvp(&logits, &Tensor::new(&[[3f64, 1.]], &Device::Cpu)?, &labels, 0.0)?;
/// assert_eq!(change.to_scalar::<f64>()?, -1.0);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn cross_entropy_jvp(
    logits: &Tensor,
    d_logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> Result<(Tensor, Tensor)> {
    let targets = Targets::new(logits, labels, smoothing)?;
    let gradient = apply1(&logits.detach(), CrossEntropyGradient(targets.clone()))?;
    Ok((apply1(logits, CrossEntropy(targets))?, hadamard(d_logits, &gradient)?.sum_all()?))
}

/// The cross-entropy and its gradient by the logits, without a graph.
///
/// **Shapes** `logits` and the gradient `[n, k]`, `labels` `[n]` u32.
///
/// **Errors** as [`cross_entropy`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let logits = Tensor::new(&[[0f64, 0.]], &Device::Cpu)?;
/// let (loss, gradient) = ops::cross_entropy_with_gradient(&logits, &Tensor::new(&[0u32], &Device::Cpu)?, 0.0)?;
/// assert!((loss.to_scalar::<f64>()? - 2f64.ln()).abs() < 1e-15);
/// assert_eq!(gradient.to_vec2::<f64>()?, [[-0.5, 0.5]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn cross_entropy_with_gradient(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<(Tensor, Tensor)> {
    let targets = Targets::new(logits, labels, smoothing)?;
    let logits = logits.detach();
    if is_composed(&logits) {
        return composed::cross_entropy_with_gradient(&logits, &targets.labels, targets.smoothing);
    }
    Ok((apply1(&logits, CrossEntropy(targets.clone()))?, apply1(&logits, CrossEntropyGradient(targets))?))
}

#[derive(Clone)]
struct Targets {
    labels: Arc<[u32]>,
    smoothing: f64,
}

impl Targets {
    fn new(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Self> {
        const OP: &str = "cross-entropy";
        require_float(OP, logits)?;
        let refuse = |rule: String| Error::shape(OP, logits.dims(), labels.dims(), rule);
        let &[samples, classes] = logits.dims() else {
            return Err(refuse("the logits are [n, k]".into()));
        };
        if labels.dims() != [samples] || samples == 0 || classes == 0 {
            return Err(refuse("there is one label per row of logits, and at least one row and one class".into()));
        }
        if labels.dtype() != DType::U32 {
            return Err(Error::DType { op: OP, expected: "u32 labels".into(), got: labels.dtype().as_str().into() });
        }
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Error::Setting {
                op: OP,
                name: "label smoothing",
                value: smoothing.to_string(),
                rule: "it lies in [0, 1)",
            });
        }
        let labels: Vec<u32> = host::read(labels)?;
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            return Err(refuse(format!("every label is below the number of classes, {classes}; {label} is not")));
        }
        Ok(Self { labels: labels.into(), smoothing })
    }
}

struct CrossEntropy(Targets);
struct CrossEntropyGradient(Targets);

impl Compose<1> for CrossEntropy {
    fn compose(&self, [logits]: [&Tensor; 1]) -> Result<Tensor> {
        composed::cross_entropy(logits, &self.0.labels, self.0.smoothing)
    }
}

impl Compose<1> for CrossEntropyGradient {
    fn compose(&self, [logits]: [&Tensor; 1]) -> Result<Tensor> {
        composed::cross_entropy_gradient(logits, &self.0.labels, self.0.smoothing)
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), logits, T => {
            let logits = elements::<T>(self.name(), logits, layout)?;
            let value = loss::cross_entropy(logits, &self.0.labels, self.0.smoothing);
            Ok((<T as WithDType>::to_cpu_storage_owned(vec![<T as WithDType>::from_f64(value)]), Shape::from(())))
        })
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        // First order only: candle's `backward` detaches gradients.
        let gradient = apply1(&logits.detach(), CrossEntropyGradient(self.0.clone())).map_err(Error::into_candle)?;
        gradient.broadcast_mul(g).map(Some)
    }
}

impl CustomOp1 for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross-entropy-gradient"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), logits, T => {
            let logits = elements::<T>(self.name(), logits, layout)?;
            let gradient = loss::cross_entropy_gradient(logits, &self.0.labels, self.0.smoothing);
            Ok((<T as WithDType>::to_cpu_storage_owned(gradient), layout.shape().clone()))
        })
    }
}
