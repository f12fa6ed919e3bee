//! The training loop: batches in, steps done, hooks called, divergence noticed.

use std::ops::ControlFlow;

use candle_core::Tensor;

use super::optimizer::Velocities;
use super::{Schedule, Sgd};
use crate::ops::cross_entropy;
use crate::{Error, Network, Pass, Result};

/// Where the batch of each step comes from.
pub trait BatchSource {
    /// Images `[n, …]` and labels `[n]` u32 of the given step; the same step always gives the same batch.
    ///
    /// # Errors
    /// Whatever keeps the batch from being made, as a candle error.
    fn batch(&mut self, step: u64) -> candle_core::Result<(Tensor, Tensor)>;
}

impl<F: FnMut(u64) -> candle_core::Result<(Tensor, Tensor)>> BatchSource for F {
    fn batch(&mut self, step: u64) -> candle_core::Result<(Tensor, Tensor)> {
        self(step)
    }
}

/// λ·GC as a term of the loss.
///
/// **Source** Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083).
#[derive(Debug, Clone, PartialEq)]
pub struct GcPenalty {
    /// λ.
    pub strength: f64,
    /// How the geometric complexity of a batch is estimated, with fresh probes each step.
    pub estimator: gc_core::Penalty,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Number of steps of the whole run.
    pub steps: u64,
    /// The optimiser.
    pub optimizer: Sgd,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Share of every target that is spread over all classes.
    pub label_smoothing: f64,
    /// Geometric complexity as a term of the loss, if any.
    pub penalty: Option<GcPenalty>,
    /// Seed of dropout.
    pub seed: u64,
    /// When a loss counts as diverged.
    pub divergence: Divergence,
}

/// The rule by which a run counts as diverged: a loss that is not finite, or above a bound.
///
/// **Conventions** ln k is the loss of guessing k classes; the default bound, 1000, is far above anything that a run
/// recovers from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Largest loss of one batch, in nats, that still counts as training.
    pub largest_loss: f64,
}

impl Default for Divergence {
    fn default() -> Self {
        Self { largest_loss: 1e3 }
    }
}

/// How far a run has come: the number of steps done and the optimiser's state.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    velocities: Velocities,
}

/// What a hook sees after a step (and once before the first).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Steps done.
    pub step: u64,
    /// Loss of the batch of the last step, in nats, before that step and without the penalty; none before the first.
    pub loss: Option<f64>,
    /// Estimated geometric complexity of that batch, where the loss has a penalty.
    pub penalised_complexity: Option<f64>,
    /// ‖∇θ loss‖² of that batch over all trainable parameters: the slope of the learning path.
    pub squared_gradient_norm: Option<f64>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// All steps were done.
    Finished,
    /// A hook asked for the end, after this many steps.
    Stopped {
        /// Steps done.
        step: u64,
    },
    /// The loss broke the divergence rule; the step was not done.
    Diverged {
        /// Steps done before it.
        step: u64,
        /// The loss.
        loss: f64,
    },
}

impl Fit {
    /// This many plain SGD steps at a constant rate.
    pub fn new(steps: u64, optimizer: Sgd) -> Self {
        Self {
            steps,
            optimizer,
            schedule: Schedule::Constant,
            label_smoothing: 0.0,
            penalty: None,
            seed: 0,
            divergence: Divergence::default(),
        }
    }

    /// Trains `network` from `progress` to the end, calling `hook` before the first step and after every step.
    ///
    /// The hook may measure the network through its frozen view and break off the run; it draws from no stream of the
    /// training, so measuring does not change what is learnt.
    ///
    /// **Errors** [`Error::Setting`] for settings with which no run makes sense, and whatever the network, the batches
    /// or the hook refuse.
    pub fn run(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
        mut hook: impl FnMut(&Network, Observation) -> Result<ControlFlow<()>>,
    ) -> Result<Outcome> {
        self.validate()?;
        if progress.step == 0 {
            let start = Observation { step: 0, loss: None, penalised_complexity: None, squared_gradient_norm: None };
            if hook(network, start)?.is_break() {
                return Ok(Outcome::Stopped { step: 0 });
            }
        }
        while progress.step < self.steps {
            let observation = match self.step(network, progress, batches)? {
                Ok(observation) => observation,
                Err(loss) => return Ok(Outcome::Diverged { step: progress.step, loss }),
            };
            if hook(network, observation)?.is_break() && progress.step < self.steps {
                return Ok(Outcome::Stopped { step: progress.step });
            }
        }
        Ok(Outcome::Finished)
    }

    /// One step, or the loss that broke the divergence rule.
    fn step(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
    ) -> Result<std::result::Result<Observation, f64>> {
        let (images, labels) = batches.batch(progress.step)?;
        let Loss { total, value, penalised_complexity } = self.loss(network, progress.step, &images, &labels)?;
        if !value.is_finite() || value > self.divergence.largest_loss {
            return Ok(Err(value));
        }
        let gradients = total.backward()?;
        let squared_gradient_norm = Some(squared_norm(network, &gradients)?);
        let factor = self.schedule.factor(progress.step, self.steps);
        self.optimizer.step(network.params(), &gradients, factor, &mut progress.velocities)?;
        progress.step += 1;
        Ok(Ok(Observation { step: progress.step, loss: Some(value), penalised_complexity, squared_gradient_norm }))
    }

    fn loss(&self, network: &Network, step: u64, images: &Tensor, labels: &Tensor) -> Result<Loss> {
        let (view, pass) = (network.tracked(), Pass::training(self.seed, step));
        let Some(GcPenalty { strength, estimator }) = &self.penalty else {
            let total = cross_entropy(&view.logits(images, &pass)?, labels, self.label_smoothing)?;
            let value = scalar(&total)?;
            return Ok(Loss { total, value, penalised_complexity: None });
        };
        let term = estimator.term(&view.feature_map(pass, None)?, images, step)?;
        let plain = cross_entropy(&view.head(&term.features, &pass)?, labels, self.label_smoothing)?;
        let value = scalar(&plain)?;
        let total = (plain + term.loss.affine(*strength, 0.0)?)?;
        Ok(Loss { total, value, penalised_complexity: Some(term.value) })
    }

    fn validate(&self) -> Result<()> {
        self.optimizer.validate()?;
        if let Some(penalty) =
            self.penalty.as_ref().filter(|penalty| !(penalty.strength.is_finite() && penalty.strength >= 0.0))
        {
            let value = penalty.strength.to_string();
            return Err(Error::Setting {
                op: "fit",
                name: "penalty strength",
                value,
                rule: "it is a finite number, not below 0",
            });
        }
        if self.steps == 0 {
            return Err(Error::Setting { op: "fit", name: "steps", value: "0".into(), rule: "it is at least 1" });
        }
        Ok(())
    }
}

/// The loss of one batch.
struct Loss {
    /// With the penalty: what is differentiated.
    total: Tensor,
    /// The cross-entropy alone, in nats.
    value: f64,
    penalised_complexity: Option<f64>,
}

fn scalar(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}

/// Σ g² over the gradients of all trainable parameters, in the order of their names.
fn squared_norm(network: &Network, gradients: &candle_core::backprop::GradStore) -> Result<f64> {
    let mut total = 0.0;
    for (_, var) in network.params().trainable() {
        if let Some(gradient) = gradients.get(var.as_tensor()) {
            let flat = gradient.contiguous()?.flatten_all()?;
            let sum = crate::ops::channel_dot(
                &flat.reshape((flat.elem_count(), 1))?,
                &flat.reshape((flat.elem_count(), 1))?,
            )?;
            total += sum.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?.first().copied().unwrap_or(0.0);
        }
    }
    Ok(total)
}
