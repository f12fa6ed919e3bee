//! Gradients by parameter, in the order of the names.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};

use super::{GcPenalty, PenalisedPass};
use crate::layer::ByParameter;
use crate::params::Params;
use crate::recorded::TracedLogits;
use crate::{Error, Network, Pass, Result};
#[cfg(doc)]
use ops::cross_entropy;
use ops::{channel_dot, cross_entropy_with_gradient};

/// The gradients of one loss by every trainable parameter that it reached.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::train::Gradients;
/// use models::{Architecture, Initialisation, Network};
/// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 2";
/// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
/// // The loss Σ 3·b has the gradient 3 for each of two biases.
/// let loss = (net.params().get("head.bias").unwrap().var.sum_all()? * 3.0)?;
/// let mut gradients = Gradients::of(net.params(), &loss.backward()?)?;
/// assert_eq!(gradients.squared_norm()?, 18.0);
/// gradients.clip(gradients.squared_norm()?.sqrt(), 1.0)?;
/// assert!((gradients.squared_norm()? - 1.0).abs() < 1e-5);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

/// PyTorch's `clip_grad_norm_` adds this to the norm before it divides.
const CLIP_EPSILON: f64 = 1e-6;

impl Gradients {
    /// Those of `params` in what a backward pass gave.
    ///
    /// **Errors** [`Error::Candle`] when a gradient cannot be brought into its parameter's order.
    pub fn of(params: &Params, store: &GradStore) -> Result<Self> {
        let mut gradients = BTreeMap::new();
        for (name, var) in params.trainable() {
            if let Some(gradient) = store.get(var.as_tensor()) {
                gradients.insert(name.to_owned(), gradient.contiguous()?);
            }
        }
        Ok(Self(gradients))
    }

    /// The mean cross-entropy of a batch in a pass, in nats, and its gradients.
    ///
    /// They are those of [`Gradients::of`] on candle's backward pass, taken without a graph: faster, and in less memory,
    /// as what a layer kept is freed once the way back has passed it.
    ///
    /// **Shapes** images `[n, c, h, w]` (or `[n, d]`), labels `[n]` u32.
    ///
    /// **Errors** as [`View::logits`](crate::View::logits) and [`cross_entropy`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::Gradients;
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 2";
    /// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
    /// let (images, labels) = (Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
    /// let (loss, gradients) = Gradients::of_loss(&net, &images, &labels, 0.0, &Pass::training(0, 0))?;
    /// // Without biases yet, a black image has two logits of 0: softmax less the label is (1/2, −1/2).
    /// assert!((loss - 2f64.ln()).abs() < 1e-15);
    /// assert_eq!(gradients.get("head.bias").unwrap().to_vec1::<f64>()?, [0.5, -0.5]);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_loss(
        network: &Network,
        images: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        pass: &Pass,
    ) -> Result<(f64, Self)> {
        let TracedLogits { logits, trace, .. } = network.tracked().traced_logits(images, false, pass)?;
        let (loss, cotangent) = cross_entropy_with_gradient(&logits, labels, smoothing)?;
        let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let mut found = ByParameter::default();
        trace.into_pullback(cotangent, &mut found)?;
        Ok((loss, Self::found(network.params(), found)))
    }

    /// Those of `params` in what ways back found.
    pub(super) fn found(params: &Params, mut found: ByParameter) -> Self {
        let by_name = |(name, var): (&str, &Var)| Some((name.to_owned(), found.take(var.as_tensor())?));
        Self(params.trainable().filter_map(by_name).collect())
    }

    /// The mean cross-entropy of a batch in a pass, in nats, the estimated geometric complexity of the batch, and the
    /// gradients of loss + λ·complexity, exact for the probes of `step`.
    ///
    /// **Definition** as [`gc_core::Penalty::term`], from one pass forward, one back for the probes, one forward for their tangents
    /// and one back for the loss, without a graph: the work of two plain steps.
    ///
    /// **Shapes** images `[n, c, h, w]` (or `[n, d]`), labels `[n]` u32.
    ///
    /// **Errors** as [`Gradients::of_loss`] and [`gc_core::Penalty::probes`], and
    /// [`Error::GeometricComplexity`] for a complexity that is not finite.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use gc_core::{Penalty, Probe};
    /// use models::train::{GcPenalty, Gradients};
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let text = "family = 'mlp'\ninputs = 2\nhidden = [1]\nactivation = 'identity'\nclasses = 2";
    /// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
    /// let (images, labels) = (Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
    /// let penalty = GcPenalty { strength: 0.5, estimator: Penalty::projections(Probe::Rademacher, 1) };
    /// let pass = Pass::training(0, 0);
    /// let (_, complexity, gradients) = Gradients::of_penalised_loss(&net, &images, &labels, 0.0, &penalty, 0, &pass)?;
    /// // One feature, linear in the pixels: its complexity is ‖w‖², and a black image leaves ½·2w as the gradient.
    /// let weight = net.params().get("embed.0.weight").unwrap().var.to_vec2::<f64>()?;
    /// assert!((complexity - weight[0].iter().map(|w| w * w).sum::<f64>()).abs() < 1e-12);
    /// assert_eq!(gradients.get("embed.0.weight").unwrap().to_vec2::<f64>()?, weight);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_penalised_loss(
        network: &Network,
        images: &Tensor,
        labels: &Tensor,
        smoothing: f64,
        penalty: &GcPenalty,
        step: u64,
        pass: &Pass,
    ) -> Result<(f64, f64, Self)> {
        let forward = PenalisedPass::new(network, images, labels, smoothing, *pass)?;
        let loss = forward.loss();
        let (complexity, gradients) = forward.gradients(penalty, step)?;
        Ok((loss, complexity, gradients))
    }

    /// The gradient by the parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds those of another loss.
    ///
    /// **Errors** [`Error::Candle`] when the shapes differ.
    pub fn add(&mut self, other: Self) -> Result<()> {
        for (name, gradient) in other.0 {
            let sum = match self.0.get(&name) {
                Some(known) => (known + gradient)?,
                None => gradient,
            };
            self.0.insert(name, sum);
        }
        Ok(())
    }

    /// Multiplies all of them.
    ///
    /// **Errors** [`Error::Candle`] on a failing device.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.0.values_mut() {
            *gradient = gradient.affine(factor, 0.0)?;
        }
        Ok(())
    }

    /// Σ g² over all of them, summed in f64.
    ///
    /// **Errors** [`Error::DType`] unless they are f32 or f64.
    pub fn squared_norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for gradient in self.0.values() {
            let column = gradient.flatten_all()?.reshape(((), 1))?;
            let sum = channel_dot(&column, &column)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            total += sum.first().copied().unwrap_or(0.0);
        }
        Ok(total)
    }

    /// Shrinks all by one factor so that their norm, which is `norm` now, is at most `largest`: PyTorch's
    /// `clip_grad_norm_`.
    ///
    /// **Errors** as [`Gradients::scale`].
    pub fn clip(&mut self, norm: f64, largest: f64) -> Result<()> {
        let factor = largest / (norm + CLIP_EPSILON);
        if factor < 1.0 { self.scale(factor) } else { Ok(()) }
    }

    /// Refuses a gradient whose shape is not its parameter's, which no optimiser step could use.
    pub(crate) fn fitting<'a>(&'a self, name: &str, weight: &Tensor) -> Result<Option<&'a Tensor>> {
        let Some(gradient) = self.0.get(name) else { return Ok(None) };
        if gradient.dims() == weight.dims() {
            return Ok(Some(gradient));
        }
        Err(Error::Shape {
            op: "optimizer",
            left: gradient.dims().to_vec(),
            right: weight.dims().to_vec(),
            rule: format!("the gradient by `{name}` has its shape"),
        })
    }
}
