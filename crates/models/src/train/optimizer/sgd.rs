//! Stochastic gradient descent with momentum, L2 and decoupled decay.

use serde::{Deserialize, Serialize};

use super::formula::Formula;
use super::momentum::Momentum;
use super::{NOT_NEGATIVE, OptimizerState, POSITIVE, SHARE, is_not_negative, is_positive, require};
use crate::Result;
use crate::params::Params;
use crate::train::Gradients;

/// Stochastic gradient descent with momentum and L2, PyTorch's `SGD`, or with decoupled decay.
///
/// **Definition** g ← g + l2·w; v ← momentum·v + g (v ← g at first); w ← (1 − rate·decay)·w − rate·v, with
/// g + momentum·v instead of v under Nesterov. Both decays apply to every trainable parameter, including biases and the γ and β
/// of batch norm, and never to running statistics.
///
/// **Source** I. Loshchilov and F. Hutter, ICLR 2019 (arXiv 1711.05101) for the decoupled decay (SGDW), here
/// multiplied by the learning rate, as in PyTorch's AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// Base learning rate.
    pub learning_rate: f64,
    /// Weight of the previous velocity; 0 is plain SGD.
    #[serde(default)]
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    #[serde(default)]
    pub nesterov: bool,
    /// Coefficient of w in the gradient (PyTorch's `weight_decay`): the loss gains ½·l2·‖w‖².
    #[serde(default)]
    pub l2: f64,
    /// Decoupled decay: each step shrinks the weights by the factor 1 − rate·decay, outside the velocity.
    #[serde(default)]
    pub decay: f64,
}

impl Sgd {
    /// Plain SGD: no momentum, no L2, no decay.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, momentum: 0.0, nesterov: false, l2: 0.0, decay: 0.0 }
    }

    /// Checks the settings.
    ///
    /// **Errors** [`Error::Setting`](crate::Error::Setting) for the first invalid one.
    pub fn validate(&self) -> Result<()> {
        require(
            "sgd",
            &[
                ("learning rate", self.learning_rate, is_positive(self.learning_rate), POSITIVE),
                ("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), SHARE),
                (
                    "momentum",
                    self.momentum,
                    !self.nesterov || self.momentum > 0.0,
                    "Nesterov's form needs a momentum above 0",
                ),
                ("l2", self.l2, is_not_negative(self.l2), NOT_NEGATIVE),
                ("decay", self.decay, is_not_negative(self.decay), NOT_NEGATIVE),
            ],
        )
    }

    /// One step, in place, on every trainable parameter that has a gradient, at `factor` times the learning rate.
    ///
    /// **Errors** as [`Optimizer::step`](super::Optimizer::step).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::{Gradients, OptimizerState, Sgd};
    /// use models::{Architecture, Initialisation, Network, Pass, ops};
    /// let net = Network::new(&Architecture::named("vgg-small")?, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let images = Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
    /// let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
    /// let loss = || -> models::Result<Tensor> {
    ///     let logits = net.tracked().logits(&images, &Pass::training(0, 0))?;
    ///     Ok(ops::cross_entropy(&logits, &labels, 0.0)?)
    /// };
    /// let before = loss()?;
    /// let gradients = Gradients::of(net.params(), &before.backward()?)?;
    /// Sgd::new(0.1).step(net.params(), &gradients, 1.0, &mut OptimizerState::default())?;
    /// assert!(loss()?.to_scalar::<f32>()? < before.to_scalar::<f32>()?);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn step(&self, params: &Params, gradients: &Gradients, factor: f64, state: &mut OptimizerState) -> Result<()> {
        state.steps += 1;
        let rate = self.learning_rate * factor;
        let &Self { momentum, l2, decay, .. } = self;
        for (name, weight) in params.trainable() {
            let Some(gradient) = gradients.checked(name, weight)? else { continue };
            if momentum == 0.0 {
                Formula::Descend { rate, decay: l2 + decay }.apply(weight, gradient, gradient)?;
                continue;
            }
            let velocity = state.entry("velocity", name, weight)?;
            Momentum { rate, momentum, l2, decay, nesterov: self.nesterov }.apply(weight, &velocity, gradient)?;
        }
        Ok(())
    }
}
