//! The training loop, with its observers and its divergence rule.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use candle_core::Tensor;
use ops::host;
use serde::{Deserialize, Serialize};

use super::unread_step::{Attempt, StepValues, UnreadBatch, UnreadStep};
use super::{
    Divergence, GcPenalty, Gradients, LabelledBatch, MovingAverage, Optimizer, OptimizerState, PenalisedPass, Schedule,
    TargetLoss,
};
use crate::{Error, Network, Pass, Result};

/// The batches of a training.
pub trait BatchSource {
    /// Images `[n, …]` and labels `[n]` u32 of the batch at `index`. The same index must always give the same batch. Images are on the
    /// network's device. Labels may be on the CPU, where the loss reads them without waiting for the device.
    ///
    /// Step s of a run uses the batches s·k to s·k + k − 1, where k is the number of batches that a step accumulates.
    ///
    /// # Errors
    /// A candle error of the implementation's choice when the batch cannot be made.
    fn batch(&mut self, index: u64) -> candle_core::Result<(Tensor, Tensor)>;
}

impl<F: FnMut(u64) -> candle_core::Result<(Tensor, Tensor)>> BatchSource for F {
    fn batch(&mut self, index: u64) -> candle_core::Result<(Tensor, Tensor)> {
        self(index)
    }
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Number of steps of the whole run.
    pub steps: u64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The factor of the learning rate at each step.
    pub schedule: Schedule,
    /// Share of the target distribution that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Geometric complexity as a term of the loss.
    pub penalty: Option<GcPenalty>,
    /// Largest norm of the gradient of a step; a larger gradient is scaled down to it.
    pub clip: Option<f64>,
    /// Whether convolutions multiply in bf16 (see [`Pass::mixed_precision`]), on CUDA with the feature `cudnn` only.
    pub mixed_precision: bool,
    /// Whether convolutions multiply in TF32 (see [`Pass::tf32`]), on CUDA with the feature `cudnn` only; not by default. It excludes
    /// [`mixed_precision`](Self::mixed_precision).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
    /// Number of batches whose gradients are averaged for one step, 1 by default. Batch norm normalises each batch by itself.
    pub accumulate: usize,
    /// Ends the run early, once the loss has come down to this level.
    pub target_loss: Option<TargetLoss>,
    /// Decay of an exponential moving average of the parameters ([`MovingAverage`]), which observers then see in place of the
    /// parameters themselves; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Seed of dropout.
    pub seed: u64,
    /// The rule by which the run counts as diverged.
    pub divergence: Divergence,
}

/// The state of a run between two steps, apart from the network.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    pub(crate) optimizer: OptimizerState,
    /// The losses of the last steps, where a target loss is set.
    pub(crate) recent: VecDeque<f64>,
    /// The moving average of the parameters, where the run has one.
    pub(crate) average: Option<MovingAverage>,
}

impl Progress {
    /// The moving average of the parameters, if the run has one ([`Fit::ema`]) and has begun.
    pub fn average(&self) -> Option<&MovingAverage> {
        self.average.as_ref()
    }
}

/// The values that an observer is given after each step, and once before the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observation {
    /// Steps done.
    pub step: u64,
    /// Mean cross-entropy of the batches of the last step, in nats, without the penalty and before the parameters changed; none
    /// before the first step.
    pub loss: Option<f64>,
    /// Estimated geometric complexity of those batches, where the loss has a penalty.
    pub penalised_complexity: Option<f64>,
    /// ‖∇θ loss‖² of those batches over all trainable parameters, with the penalty and before clipping.
    pub squared_gradient_norm: Option<f64>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FitOutcome {
    /// All steps were done.
    Finished,
    /// The observer ended the run.
    Stopped {
        /// Steps done.
        step: u64,
    },
    /// The mean loss came down to the target loss.
    ReachedTarget {
        /// Steps done.
        step: u64,
    },
    /// The loss or its gradient broke the divergence rule. That step was not done: the network, running statistics included, is
    /// the one before it.
    Diverged {
        /// Steps done before that step.
        step: u64,
        /// The loss of that step, in nats.
        loss: f64,
    },
}

/// Code that is called during a run: it may measure the network, end the run and save the progress.
pub trait Observer {
    /// Called before the first step and after every step. With [`Fit::ema`] the network has the averaged parameters.
    ///
    /// The network may be measured through its frozen view. Measuring draws from no random stream of the training, so it
    /// does not change the parameters that the training reaches.
    ///
    /// # Errors
    /// An error ends the run.
    fn observe(&mut self, network: &Network, observation: Observation) -> Result<ControlFlow<()>>;

    /// Whether [`Observer::observe`] looks at the network after this step. With [`Fit::ema`], false spares copying the averaged
    /// parameters into the network; it then has its own ones.
    fn reads_network(&self, _observation: Observation) -> bool {
        true
    }

    /// Called after [`Observer::observe`], after each step, with the state that a checkpoint stores.
    ///
    /// # Errors
    /// An error ends the run.
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
    /// This many steps at a constant learning rate.
    pub fn new(steps: u64, optimizer: impl Into<Optimizer>) -> Self {
        Self {
            steps,
            optimizer: optimizer.into(),
            schedule: Schedule::constant(),
            label_smoothing: 0.0,
            penalty: None,
            clip: None,
            mixed_precision: false,
            tf32: false,
            accumulate: 1,
            target_loss: None,
            ema: None,
            seed: 0,
            divergence: Divergence::default(),
        }
    }

    /// Trains `network` from `progress` to the end. `hook` is called before the first step and after each step.
    ///
    /// **Errors** as [`Fit::run_observed`].
    pub fn run(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
        hook: impl FnMut(&Network, Observation) -> Result<ControlFlow<()>>,
    ) -> Result<FitOutcome> {
        self.run_observed(network, progress, batches, &mut Hook(hook))
    }

    /// Trains `network` from `progress` to the end; `observer` is called before the first step and after each step.
    ///
    /// **Errors** [`Error::Setting`] and [`Error::ScheduleEnds`] for invalid settings, and the errors of the network, the
    /// batches and the observer.
    pub fn run_observed(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
        observer: &mut impl Observer,
    ) -> Result<FitOutcome> {
        self.validate()?;
        if let (Some(_), None) = (self.ema, &progress.average) {
            progress.average = Some(MovingAverage::of(network)?);
        }
        if progress.step == 0 {
            let start = Observation { step: 0, loss: None, penalised_complexity: None, squared_gradient_norm: None };
            if observed(observer, network, progress, start)?.is_break() {
                return Ok(FitOutcome::Stopped { step: 0 });
            }
        }
        // A run that was killed after the step that reached the target is not trained further.
        if self.target_loss.is_some_and(|target| target.is_reached(&progress.recent)) {
            return Ok(FitOutcome::ReachedTarget { step: progress.step });
        }
        while progress.step < self.steps {
            let StepDone { observation, reached_target } = match self.step(network, progress, batches)? {
                Attempt::Done(step) => step,
                Attempt::Diverged { loss } => return Ok(FitOutcome::Diverged { step: progress.step, loss }),
            };
            let asked_to_stop = observed(observer, network, progress, observation)?.is_break();
            observer.save(network, progress)?;
            if reached_target {
                return Ok(FitOutcome::ReachedTarget { step: progress.step });
            }
            if asked_to_stop && progress.step < self.steps {
                return Ok(FitOutcome::Stopped { step: progress.step });
            }
        }
        Ok(FitOutcome::Finished)
    }

    /// One step, unless the divergence rule is broken; then parameters and running statistics are those before the step.
    ///
    /// The host reads values of the device once, after the backward passes: see [`UnreadStep::read`].
    fn step(
        &self,
        network: &Network,
        progress: &mut Progress,
        batches: &mut impl BatchSource,
    ) -> Result<Attempt<StepDone>> {
        let statistics = network.params().statistics()?;
        let diverged = |loss| statistics.restore().map(|()| Attempt::Diverged { loss });
        let mut step = match self.backward(network, progress.step, batches)? {
            Attempt::Done(step) => step,
            Attempt::Diverged { loss } => return diverged(loss),
        };
        let StepValues { loss, complexity, squared_norm } = match step.read(|loss| self.has_diverged(loss))? {
            Attempt::Done(values) => values,
            Attempt::Diverged { loss } => return diverged(loss),
        };
        if !squared_norm.is_finite() {
            return diverged(loss);
        }
        if let Some(largest) = self.clip {
            step.gradients.clip(squared_norm.sqrt(), largest)?;
        }
        let factor = self.schedule.factor(progress.step, self.steps);
        self.optimizer.step(network.params(), &step.gradients, factor, &mut progress.optimizer)?;
        if let (Some(decay), Some(average)) = (self.ema, &progress.average) {
            average.update(network, decay)?;
        }
        progress.step += 1;
        let reached_target = self.target_loss.is_some_and(|target| target.reached(&mut progress.recent, loss));
        let observation = Observation {
            step: progress.step,
            loss: Some(loss),
            penalised_complexity: complexity,
            squared_gradient_norm: Some(squared_norm),
        };
        Ok(Attempt::Done(StepDone { observation, reached_target }))
    }

    /// The backward passes of one step: the losses of its batches, and their mean gradients.
    fn backward<'a>(
        &self,
        network: &'a Network,
        step: u64,
        batches: &mut impl BatchSource,
    ) -> Result<Attempt<UnreadStep<'a>>> {
        let count = self.accumulate as u64;
        let mut of_step = UnreadStep { batches: Vec::new(), gradients: Gradients::default() };
        for index in step * count..(step + 1) * count {
            let (images, labels) = batches.batch(index)?;
            let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: self.label_smoothing };
            let (of_batch, gradients) = match &self.penalty {
                None => {
                    let (loss, gradients) = Gradients::of_loss_tensor(network, &batch, &self.pass(index))?;
                    (UnreadBatch { loss, penalty: None }, gradients)
                }
                Some(penalty) => match self.penalised_backward(penalty, network, index, &batch)? {
                    Attempt::Done(of_batch) => of_batch,
                    Attempt::Diverged { loss } => return Ok(Attempt::Diverged { loss }),
                },
            };
            of_step.gradients.add(gradients)?;
            of_step.batches.push(of_batch);
        }
        if count > 1 {
            of_step.gradients.scale(1.0 / count as f64)?;
        }
        Ok(Attempt::Done(of_step))
    }

    /// Loss and gradients of the batch at `index`, which also addresses the dropout and the probes of the penalty.
    fn penalised_backward<'a>(
        &self,
        penalty: &GcPenalty,
        network: &'a Network,
        index: u64,
        batch: &LabelledBatch<'_>,
    ) -> Result<Attempt<(UnreadBatch<'a>, Gradients)>> {
        let forward = PenalisedPass::new(network, batch, self.pass(index))?;
        let loss = forward.loss().clone();
        if forward.by_graph() {
            let loss = host::read_scalar(&loss)?;
            if self.has_diverged(loss) {
                return Ok(Attempt::Diverged { loss });
            }
        }
        let (penalty, gradients) = forward.gradients(penalty, index)?;
        Ok(Attempt::Done((UnreadBatch { loss, penalty: Some(penalty) }, gradients)))
    }

    /// The pass of the batch at `index`.
    fn pass(&self, index: u64) -> Pass {
        let pass = Pass::training(self.seed, index);
        match (self.mixed_precision, self.tf32) {
            (true, _) => pass.mixed_precision(),
            (false, true) => pass.tf32(),
            (false, false) => pass,
        }
    }

    fn has_diverged(&self, loss: f64) -> bool {
        !loss.is_finite() || loss > self.divergence.largest_loss
    }

    /// Checks the settings, without a network.
    ///
    /// **Errors** [`Error::Setting`] and [`Error::ScheduleEnds`] for the first invalid one.
    ///
    /// ```
    /// use models::train::{Fit, Schedule, Sgd};
    /// let fit = Fit { schedule: Schedule::cosine().with_warmup(20), ..Fit::new(20, Sgd::new(0.1)) };
    /// assert!(fit.validate().unwrap_err().to_string().contains("the warm-up is shorter than the run"));
    /// ```
    pub fn validate(&self) -> Result<()> {
        self.optimizer.validate()?;
        let refuse = |name, value: String, rule| Err(Error::Setting { op: "fit", name, value, rule });
        let strength = self.penalty.as_ref().map_or(0.0, |penalty| penalty.strength);
        if !(strength.is_finite() && strength >= 0.0) {
            return refuse("penalty strength", strength.to_string(), "it is a finite number, not below 0");
        }
        if self.mixed_precision && self.tf32 {
            return refuse("tf32", "true".into(), "mixed_precision (bf16) is true too; set one of them to false");
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
        if let Some(decay) = self.ema.filter(|decay| !(0.0..1.0).contains(decay)) {
            return refuse("ema", decay.to_string(), "the decay of the moving average lies in [0, 1)");
        }
        self.target_loss.iter().try_for_each(TargetLoss::validate)?;
        self.schedule.validate(self.steps)
    }
}

/// Calls the observer, with the averaged parameters in the network if the run has them and the observer looks at the network.
fn observed(
    observer: &mut impl Observer,
    network: &Network,
    progress: &Progress,
    observation: Observation,
) -> Result<ControlFlow<()>> {
    match &progress.average {
        Some(average) if observer.reads_network(observation) => {
            average.in_place(network, |network| observer.observe(network, observation))
        }
        _ => observer.observe(network, observation),
    }
}

/// A step that was done.
struct StepDone {
    observation: Observation,
    /// Whether the loss has come down to the target.
    reached_target: bool,
}
