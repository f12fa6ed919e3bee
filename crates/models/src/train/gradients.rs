//! Gradients by parameter, in the order of the names, and the losses that they belong to.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
#[cfg(doc)]
use ops::cross_entropy;
use ops::nhwc::channel_dot;
use ops::{cross_entropy_with_gradient, host};

use super::penalised_pass::PenaltyValues;
use super::{GcPenalty, PenalisedPass};
use crate::layer::GradientAccumulator;
use crate::params::Params;
use crate::threads::on_workers;
use crate::{Error, Network, Pass, Result};

/// The gradients of one loss by every trainable parameter that it depends on.
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

/// Images with their labels, and the label smoothing of their cross-entropy.
///
/// **Shapes** images `[n, c, h, w]` (or `[n, d]`) on the network's device, labels `[n]` u32 there or on the CPU.
#[derive(Debug, Clone, Copy)]
pub struct LabelledBatch<'a> {
    /// The images.
    pub images: &'a Tensor,
    /// The class of each image.
    pub labels: &'a Tensor,
    /// Share of the target distribution that is spread evenly over all classes, in [0, 1).
    pub label_smoothing: f64,
}

/// A loss with a GC penalty, and its gradients.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PenalisedLoss {
    /// The mean cross-entropy alone, in nats.
    pub loss: f64,
    /// The estimated geometric complexity of the batch.
    pub complexity: f64,
    /// The gradients of loss + λ·complexity.
    pub gradients: Gradients,
    /// The relative difference of Σ⟨v, J u⟩ and Σ‖u‖² with u = Jᵀv: the error of the penalty's tangents, which are central
    /// differences where [candle's graph](crate::layer::Layer::linearize) differentiates a layer. 0 for layers with rules of their own.
    pub mismatch: f64,
}

/// As in PyTorch's `clip_grad_norm_`, added to the norm before the division.
const CLIP_EPSILON: f64 = 1e-6;

impl Gradients {
    /// The gradients by `params` in the result of candle's `backward`.
    ///
    /// **Errors** [`Error::Candle`] when a gradient cannot be made contiguous.
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
    /// The gradients are those of [`Gradients::of`] after candle's `backward`, computed without a graph: faster and in less memory,
    /// because what a layer keeps is freed as soon as the backward pass has left it.
    ///
    /// The pass runs on a thread of rayon's pool. A network must not be trained by two threads at the same time.
    ///
    /// **Errors** as [`View::logits`](crate::View::logits) and [`cross_entropy`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::{Gradients, LabelledBatch};
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 2";
    /// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
    /// let (images, labels) = (Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
    /// let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
    /// let (loss, gradients) = Gradients::of_loss(&net, &batch, &Pass::training(0, 0))?;
    /// // The initial biases are 0, so a black image has two logits of 0: softmax minus the label is (1/2, −1/2).
    /// assert!((loss - 2f64.ln()).abs() < 1e-15);
    /// assert_eq!(gradients.get("head.bias").unwrap().to_vec1::<f64>()?, [0.5, -0.5]);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_loss(network: &Network, batch: &LabelledBatch<'_>, pass: &Pass) -> Result<(f64, Self)> {
        let (loss, gradients) = Self::of_loss_tensor(network, batch, pass)?;
        Ok((host::read_scalar(&loss)?, gradients))
    }

    /// As [`Gradients::of_loss`], with the loss as a scalar on the network's device: the host does not wait for its value.
    ///
    /// **Errors** as [`Gradients::of_loss`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::{Gradients, LabelledBatch};
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 2";
    /// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
    /// let (images, labels) = (Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
    /// let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
    /// let (loss, _) = Gradients::of_loss_tensor(&net, &batch, &Pass::training(0, 0))?;
    /// assert_eq!(models::ops::host::read_scalar(&loss)?, Gradients::of_loss(&net, &batch, &Pass::training(0, 0))?.0);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_loss_tensor(network: &Network, batch: &LabelledBatch<'_>, pass: &Pass) -> Result<(Tensor, Self)> {
        on_workers(|| {
            let forward = network.tracked().linearize_logits(batch.images, false, pass)?;
            let (loss, cotangent) =
                cross_entropy_with_gradient(&forward.head.output, batch.labels, batch.label_smoothing)?;
            let mut sums = GradientAccumulator::of_parameters();
            forward.into_vjp(&cotangent, &mut sums)?;
            Ok((loss, Self::from_sums(network.params(), sums)))
        })
    }

    /// The gradients by `params` that backward passes have accumulated.
    pub(super) fn from_sums(params: &Params, mut sums: GradientAccumulator) -> Self {
        let by_name = |(name, var): (&str, &Var)| Some((name.to_owned(), sums.take(var.as_tensor())?));
        Self(params.trainable().filter_map(by_name).collect())
    }

    /// The mean cross-entropy of a batch in a pass, its estimated geometric complexity, and the gradients of loss +
    /// λ·complexity, which are exact for the probes of `step`.
    ///
    /// **Definition** as [`gc_core::Penalty::term`]. One forward pass, then a backward and a forward-mode pass per probe and a
    /// backward pass for the loss, without a graph. With one probe this is the work of two plain steps.
    ///
    /// **Errors** as [`Gradients::of_loss`] and [`gc_core::Penalty::probes`], and
    /// [`Error::GeometricComplexity`] for a complexity that is not finite.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use gc_core::{Penalty, Probe};
    /// use models::train::{GcPenalty, Gradients, LabelledBatch};
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let text = "family = 'mlp'\ninputs = 2\nhidden = [1]\nactivation = 'identity'\nclasses = 2";
    /// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
    /// let (images, labels) = (Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
    /// let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
    /// let penalty = GcPenalty { strength: 0.5, estimator: Penalty::projections(Probe::Rademacher, 1) };
    /// let penalised = Gradients::of_penalised_loss(&net, &batch, &penalty, 0, &Pass::training(0, 0))?;
    /// // One feature, linear in the pixels: its complexity is ‖w‖², and for a black image the gradient is ½·2w.
    /// let weight = net.params().get("embed.0.weight").unwrap().var.to_vec2::<f64>()?;
    /// assert!((penalised.complexity - weight[0].iter().map(|w| w * w).sum::<f64>()).abs() < 1e-12);
    /// assert_eq!(penalised.gradients.get("embed.0.weight").unwrap().to_vec2::<f64>()?, weight);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_penalised_loss(
        network: &Network,
        batch: &LabelledBatch<'_>,
        penalty: &GcPenalty,
        step: u64,
        pass: &Pass,
    ) -> Result<PenalisedLoss> {
        let forward = PenalisedPass::new(network, batch, *pass)?;
        let loss = forward.loss().clone();
        let (penalty, gradients) = forward.gradients(penalty, step)?;
        let tensors: Vec<&Tensor> = [&loss].into_iter().chain(penalty.tensors()).collect();
        let mut elements = host::read_together(&tensors)?.into_iter();
        let loss = elements.next().into_iter().flatten().sum();
        let PenaltyValues { complexity, mismatch } = penalty.values(&mut elements)?;
        Ok(PenalisedLoss { loss, complexity, gradients, mismatch })
    }

    /// The gradient by the parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds the gradients of another loss.
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

    /// Multiplies all gradients by `factor`.
    ///
    /// **Errors** [`Error::Candle`] on a failing device.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.0.values_mut() {
            *gradient = gradient.affine(factor, 0.0)?;
        }
        Ok(())
    }

    /// Σ g² over all gradients, summed in f64.
    ///
    /// **Errors** [`Error::Operation`] for gradients that are neither f32 nor f64.
    pub fn squared_norm(&self) -> Result<f64> {
        let squares = self.squares()?;
        let squares = host::read_together(&squares.iter().collect::<Vec<_>>())?;
        Ok(squares.iter().flatten().fold(0.0, |sum, square| sum + square))
    }

    /// Σ g² of each gradient, `[1]` in f64 each, on the device.
    pub(super) fn squares(&self) -> Result<Vec<Tensor>> {
        let square = |gradient: &Tensor| -> Result<Tensor> {
            let column = gradient.flatten_all()?.reshape(((), 1))?;
            Ok(channel_dot(&column, &column)?.to_dtype(DType::F64)?)
        };
        self.0.values().map(square).collect()
    }

    /// Scales all gradients by one factor so that their norm, which is `norm` now, is at most `largest`: PyTorch's
    /// `clip_grad_norm_`.
    ///
    /// **Errors** as [`Gradients::scale`].
    pub fn clip(&mut self, norm: f64, largest: f64) -> Result<()> {
        let factor = largest / (norm + CLIP_EPSILON);
        if factor < 1.0 { self.scale(factor) } else { Ok(()) }
    }

    /// The gradient by this parameter, after a check that it has the parameter's shape.
    pub(crate) fn checked<'a>(&'a self, name: &str, weight: &Tensor) -> Result<Option<&'a Tensor>> {
        let Some(gradient) = self.0.get(name) else { return Ok(None) };
        if gradient.dims() == weight.dims() {
            return Ok(Some(gradient));
        }
        Err(Error::Shape {
            op: "optimizer",
            left: gradient.dims().to_vec(),
            right: weight.dims().to_vec(),
            rule: format!("the gradient by `{name}` has the shape of the parameter"),
        })
    }
}
