//! The training loop: batches in, steps done, hooks called, divergence noticed.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use candle_core::Tensor;

use super::{Divergence, GcPenalty, Gradients, Optimizer, OptimizerState, PenalisedPass, Schedule, TargetLoss};
use crate::{Error, Network, Pass, Result};

/// Where the batches come from.
pub trait BatchSource {
    /// Images `[n, …]` and labels `[n]` u32 of the batch at `index`; the same index always gives the same batch.
    ///
    /// Step s of a run takes the batches s·k to s·k + k − 1, k being the number that a step accumulates.
    ///
    /// # Errors
    /// Whatever keeps the batch from being made, as a candle error.
    fn batch(&mut self, index: u64) -> candle_core::Result<(Tensor, Tensor)>;
}

impl<F: FnMut(u64) -> candle_core::Result<(Tensor, Tensor)>> BatchSource for F {
    fn batch(&mut self, index: u64) -> candle_core::Result<(Tensor, Tensor)> {
        self(index)
    }
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Number of steps of the whole run.
    pub steps: u64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Share of every target that is spread over all classes.
    pub label_smoothing: f64,
    /// Geometric complexity as a term of the loss, if any.
    pub penalty: Option<GcPenalty>,
    /// Largest norm that the gradient of a step may have; a larger one is shrunk to it.
    pub clip: Option<f64>,
    /// Whether convolutions multiply in bf16, as [`Pass::mixed_precision`] says: on CUDA with the feature `cudnn` only.
    pub mixed_precision: bool,
    /// Batches whose gradients are averaged for one step; batch norm sees each on its own. 1 by default.
    pub accumulate: usize,
    /// Ends the run early, once the loss has come down to a level.
    pub target_loss: Option<TargetLoss>,
    /// Seed of dropout.
    pub seed: u64,
    /// When a loss counts as diverged.
    pub divergence: Divergence,
}

/// How far a run has come: the number of steps done and what the next one needs of them.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    pub(crate) optimizer: OptimizerState,
    /// The last losses, where a target is set.
    pub(crate) recent: VecDeque<f64>,
}

/// What a hook sees after a step (and once before the first).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Steps done.
    pub step: u64,
    /// Mean loss of the batches of the last step, in nats, before that step and without the penalty; none before the
    /// first.
    pub loss: Option<f64>,
    /// Estimated geometric complexity of them, where the loss has a penalty.
    pub penalised_complexity: Option<f64>,
    /// ‖∇θ loss‖² of them over all trainable parameters, before clipping: the slope of the learning path.
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
    /// The mean loss came down to the target.
    ReachedTarget {
        /// Steps done.
        step: u64,
    },
    /// The loss or its gradient broke the divergence rule; the step was not done, and the network is that of the step
    /// before, its running statistics too.
    Diverged {
        /// Steps done before it.
        step: u64,
        /// The loss.
        loss: f64,
    },
}

/// Who watches a run: a hook that may measure and break off, and a look at the progress, which can be saved.
pub trait Observer {
    /// Called before the first step and after every step.
    ///
    /// The network may be measured through its frozen view. Nothing here draws from a stream of the training, so measuring
    /// does not change what is learnt.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn observe(&mut self, network: &Network, observation: Observation) -> Result<ControlFlow<()>>;

    /// Called after [`Observer::observe`] with all that a checkpoint needs.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn save(&mut self, _network: &Network, _progress: &Progress) -> Result<()> {
        Ok(())
    }
}

/// A closure that only observes.
struct Hook<F>(F);

impl<F: FnMut(&Network, Observation) -> Result<ControlFlow<()>>> Observer for Hook<F> {
    fn observe(&mut self, network: &Network, observation: Observation) -> Result<ControlFlow<()>> {
        self.0(network, observation)
    }
}

impl Fit {
    /// This many steps at a constant rate.
    pub fn new(steps: u64, optimizer: impl Into<Optimizer>) -> Self {
        Self {
            steps,
            optimizer: optimizer.into(),
            schedule: Schedule::constant(),
            label_smoothing: 0.0,
            penalty: None,
            clip: None,
            mixed_precision: false,
            accumulate: 1,
            target_loss: None,
            seed: 0,
            divergence: Divergence::default(),
        }
    }

    /// Trains `network` from `progress` to the end, calling `hook` before the first step and after every step.
    ///
    /// **Errors** as [`Fit::run_observed`].
    pub fn run(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
        hook: impl FnMut(&Network, Observation) -> Result<ControlFlow<()>>,
    ) -> Result<Outcome> {
        self.run_observed(network, progress, batches, &mut Hook(hook))
    }

    /// Trains `network` from `progress` to the end under the eyes of `observer`.
    ///
    /// **Errors** [`Error::Setting`] and [`Error::ScheduleEnds`] for settings with which no run makes sense, and whatever
    /// the network, the batches or the observer refuse.
    pub fn run_observed(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
        observer: &mut impl Observer,
    ) -> Result<Outcome> {
        self.validate()?;
        if progress.step == 0 {
            let start = Observation { step: 0, loss: None, penalised_complexity: None, squared_gradient_norm: None };
            if observer.observe(network, start)?.is_break() {
                return Ok(Outcome::Stopped { step: 0 });
            }
        }
        // A run that was killed between its last checkpoint and its end goes no further than it would have gone.
        if self.target_loss.is_some_and(|target| target.is_reached(&progress.recent)) {
            return Ok(Outcome::ReachedTarget { step: progress.step });
        }
        while progress.step < self.steps {
            let (observation, reached) = match self.step(network, progress, batches)? {
                Ok(done) => done,
                Err(loss) => return Ok(Outcome::Diverged { step: progress.step, loss }),
            };
            let asked_to_stop = observer.observe(network, observation)?.is_break();
            observer.save(network, progress)?;
            if reached {
                return Ok(Outcome::ReachedTarget { step: progress.step });
            }
            if asked_to_stop && progress.step < self.steps {
                return Ok(Outcome::Stopped { step: progress.step });
            }
        }
        Ok(Outcome::Finished)
    }

    /// One step and whether it reached the target, or the loss that broke the divergence rule; then nothing was changed.
    fn step(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
    ) -> Result<std::result::Result<(Observation, bool), f64>> {
        let statistics = network.params().statistics()?;
        let diverged = |loss| statistics.restore().map(|()| Err(loss));
        let (mut gradients, seen) = match self.gradients(network, progress.step, batches)? {
            Ok(both) => both,
            Err(loss) => return diverged(loss),
        };
        let squared_norm = gradients.squared_norm()?;
        if !squared_norm.is_finite() {
            return diverged(seen.loss);
        }
        if let Some(largest) = self.clip {
            gradients.clip(squared_norm.sqrt(), largest)?;
        }
        let factor = self.schedule.factor(progress.step, self.steps);
        self.optimizer.step(network.params(), &gradients, factor, &mut progress.optimizer)?;
        progress.step += 1;
        let reached = self.target_loss.is_some_and(|target| target.reached(&mut progress.recent, seen.loss));
        let observation = Observation {
            step: progress.step,
            loss: Some(seen.loss),
            penalised_complexity: seen.penalised_complexity,
            squared_gradient_norm: Some(squared_norm),
        };
        Ok(Ok((observation, reached)))
    }

    /// The mean gradients of the batches of one step with their means, or the loss that broke the divergence rule.
    fn gradients(
        &self,
        network: &Network,
        step: u64,
        batches: &mut impl BatchSource,
    ) -> Result<std::result::Result<(Gradients, Means), f64>> {
        let count = self.accumulate as u64;
        let mut gradients = Gradients::default();
        let mut means = Means { loss: 0.0, penalised_complexity: None };
        for index in step * count..(step + 1) * count {
            let (images, labels) = batches.batch(index)?;
            let of_batch = match &self.penalty {
                None => self.plain(network, index, &images, &labels)?,
                Some(penalty) => self.penalised(penalty, network, index, &images, &labels)?,
            };
            let of_batch = match of_batch {
                Ok(of_batch) => of_batch,
                Err(loss) => return Ok(Err(loss)),
            };
            gradients.add(of_batch.gradients)?;
            means.loss += of_batch.loss / count as f64;
            if let Some(complexity) = of_batch.penalised_complexity {
                *means.penalised_complexity.get_or_insert(0.0) += complexity / count as f64;
            }
        }
        if count > 1 {
            gradients.scale(1.0 / count as f64)?;
        }
        Ok(Ok((gradients, means)))
    }

    /// Loss and gradients of the batch at `index`, which dropout draws from, or the loss that broke the divergence rule.
    fn plain(
        &self,
        network: &Network,
        index: u64,
        images: &Tensor,
        labels: &Tensor,
    ) -> Result<std::result::Result<OfBatch, f64>> {
        let pass = self.pass(index);
        let (loss, gradients) = Gradients::of_loss(network, images, labels, self.label_smoothing, &pass)?;
        if self.has_diverged(loss) {
            return Ok(Err(loss));
        }
        Ok(Ok(OfBatch { loss, gradients, penalised_complexity: None }))
    }

    /// The same with the penalty, whose probes draw from `index` too.
    fn penalised(
        &self,
        penalty: &GcPenalty,
        network: &Network,
        index: u64,
        images: &Tensor,
        labels: &Tensor,
    ) -> Result<std::result::Result<OfBatch, f64>> {
        let forward = PenalisedPass::new(network, images, labels, self.label_smoothing, self.pass(index))?;
        let loss = forward.loss();
        if self.has_diverged(loss) {
            return Ok(Err(loss));
        }
        let (complexity, gradients) = forward.gradients(penalty, index)?;
        Ok(Ok(OfBatch { loss, gradients, penalised_complexity: Some(complexity) }))
    }

    /// The pass of the batch at `index`.
    fn pass(&self, index: u64) -> Pass {
        let pass = Pass::training(self.seed, index);
        if self.mixed_precision { pass.mixed_precision() } else { pass }
    }

    fn has_diverged(&self, loss: f64) -> bool {
        !loss.is_finite() || loss > self.divergence.largest_loss
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.optimizer.validate()?;
        let refuse = |name, value: String, rule| Err(Error::Setting { op: "fit", name, value, rule });
        let strength = self.penalty.as_ref().map_or(0.0, |penalty| penalty.strength);
        if !(strength.is_finite() && strength >= 0.0) {
            return refuse("penalty strength", strength.to_string(), "it is a finite number, not below 0");
        }
        if self.steps == 0 {
            return refuse("steps", "0".into(), "it is at least 1");
        }
        if self.accumulate == 0 {
            return refuse("accumulate", "0".into(), "a step takes at least 1 batch");
        }
        if let Some(clip) = self.clip.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
            return refuse("clip", clip.to_string(), "the largest norm is a finite number above 0");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return refuse("label smoothing", self.label_smoothing.to_string(), "it lies in [0, 1)");
        }
        self.target_loss.iter().try_for_each(TargetLoss::validate)?;
        self.schedule.validate(self.steps)
    }
}

/// What one batch gave.
struct OfBatch {
    /// The cross-entropy alone, in nats.
    loss: f64,
    /// Of the loss with the penalty.
    gradients: Gradients,
    penalised_complexity: Option<f64>,
}

/// Means over the batches of one step.
struct Means {
    loss: f64,
    penalised_complexity: Option<f64>,
}
