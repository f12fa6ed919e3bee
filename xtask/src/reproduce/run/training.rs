//! Training with measuring points and checkpoints, from the beginning or from the last checkpoint of a killed process.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use datasets::{BatchOptions, Batches, Order, Position};
use gc_core::Probe;
use models::Network;
use models::train::{Fit, GcPenalty, Observation, Observer, Progress, Sgd};

use super::estimating::Estimating;
use super::images::Images;
use super::measuring::Measuring;
use super::saving::Saving;
use super::training_log::{Diverged, TrainingLog};
use crate::output::say;
use crate::reproduce::child::RunProgress;
use crate::study::configuration::Configuration;
use crate::study::measurement::RunOutcome;
use crate::study::store::RunFolder;

/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// How a training is executed; the results do not depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrainingOptions {
    /// Whether progress is reported on standard output.
    pub(super) attached: bool,
    /// Steps from one checkpoint to the next; without it, checkpoints are saved by the clock.
    pub(super) checkpoint_every: Option<u64>,
}

/// One training and its data.
pub(super) struct Training<'a> {
    configuration: &'a Configuration,
    folder: &'a RunFolder,
    network: Network,
    batches: Batches,
    steps: usize,
    training_log: TrainingLog<'a>,
    saving: Saving,
    attached: bool,
}

impl<'a> Training<'a> {
    /// Draws the initial weights and determines the measuring points.
    pub(super) fn new(
        configuration: &'a Configuration,
        images: &Images,
        folder: &'a RunFolder,
        options: TrainingOptions,
    ) -> Result<Self> {
        let train = &configuration.train;
        let count = images.train.len();
        if train.batch_size > count {
            bail!("train.batch_size = {}: there are only {count} training images", train.batch_size);
        }
        let steps = configuration.steps(count);
        let measuring = Measuring::new(configuration, images)?;
        let estimating = Estimating::new(configuration, images)?;
        let network = network(configuration, images)?;
        measuring.check(&network)?;
        Ok(Self {
            configuration,
            folder,
            network,
            batches: batches(configuration, images)?,
            steps,
            training_log: TrainingLog::new(configuration, &images.train, measuring, estimating),
            saving: Saving::new(folder, configuration, options.checkpoint_every, &images.files)?,
            attached: options.attached,
        })
    }

    /// Trains to the end, or to the step at which it diverges. Also returns the seconds of work of all processes.
    pub(super) fn run(self) -> Result<(RunOutcome, f64)> {
        let Self { configuration, folder, network, batches, steps, mut training_log, mut saving, attached } = self;
        let fit = fit(configuration, steps as u64);
        let mut progress = saving.resume(&fit, &network, &mut training_log, folder)?;
        let batch_size = configuration.train.batch_size;
        let mut watch =
            Watch { fit: &fit, folder, training_log, saving, attached, reported: None, batch_size, stopped_by: None };
        let ended = fit.run_observed(&network, &mut progress, &mut source(&batches), &mut watch);
        let Watch { training_log, saving, stopped_by, .. } = watch;
        let (classes, images) = (training_log.classes, training_log.images);
        match stopped_by {
            None => {}
            Some(Stop::Diverged(Diverged { step })) => {
                return Ok((RunOutcome::Diverged { classes, images, step }, saving.finish()?));
            }
            Some(Stop::Error(error)) => return Err(error),
        }
        let outcome = match ended? {
            models::train::FitOutcome::Finished => {
                let final_loss = training_log.window.mean().context("no step was taken")?;
                RunOutcome::Completed { classes, images, final_loss }
            }
            models::train::FitOutcome::Diverged { step, .. } => {
                RunOutcome::Diverged { classes, images, step: step as usize }
            }
            other => bail!("training ended unexpectedly: {other:?}"),
        };
        Ok((outcome, saving.finish()?))
    }
}

/// The observer of the training: it measures, reports progress and saves checkpoints.
struct Watch<'a> {
    fit: &'a Fit,
    folder: &'a RunFolder,
    training_log: TrainingLog<'a>,
    saving: Saving,
    attached: bool,
    /// The time of the last report of progress.
    reported: Option<Instant>,
    batch_size: usize,
    /// Why the training was stopped. An observer returns only errors of `models`, so others are kept here.
    stopped_by: Option<Stop>,
}

/// Why an observer stopped the training.
enum Stop {
    /// The network is no longer finite.
    Diverged(Diverged),
    /// An error of this program.
    Error(anyhow::Error),
}

impl Observer for Watch<'_> {
    fn observe(&mut self, network: &Network, observation: Observation) -> models::Result<ControlFlow<()>> {
        let entered = self.training_log.observe(network, observation, self.folder);
        if self.attached && self.reported.is_none_or(|last| last.elapsed() > REPORT_EVERY) {
            self.reported = Some(Instant::now());
            report(observation.step as usize, self.fit.steps as usize, self.batch_size);
        }
        self.stopped_by = match entered {
            Ok(None) => None,
            Ok(Some(diverged)) => Some(Stop::Diverged(diverged)),
            Err(error) => Some(Stop::Error(error)),
        };
        Ok(if self.stopped_by.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn save(&mut self, network: &Network, progress: &Progress) -> models::Result<()> {
        if self.stopped_by.is_some() {
            return Ok(());
        }
        match self.saving.save_if_due(self.fit, network, progress, &self.training_log) {
            Ok(()) => Ok(()),
            Err(error) => match error.downcast::<models::Error>() {
                Ok(error) => Err(error),
                Err(error) => {
                    let reason = candle_core::Error::Msg(format!("{error:#}"));
                    self.stopped_by = Some(Stop::Error(error));
                    Err(reason.into())
                }
            },
        }
    }
}

/// The network with its initial weights.
pub(super) fn network(configuration: &Configuration, images: &Images) -> Result<Network> {
    let classes = images.train.class_count();
    super::network::build(
        &configuration.model,
        images.train.shape(),
        classes,
        configuration.seed,
        &configuration.train.device.open()?,
    )
}

/// The training images in shuffled batches.
pub(super) fn batches(configuration: &Configuration, images: &Images) -> Result<Batches> {
    let options = BatchOptions {
        size: configuration.train.batch_size,
        order: Order::Shuffled { seed: configuration.seed },
        drop_last: true,
        augmentation: None,
    };
    Ok(Batches::new(images.train.clone(), images.normalisation.clone(), options, &configuration.train.device.open()?)?)
}

/// The batch of each step.
pub(super) fn source(batches: &Batches) -> impl FnMut(u64) -> candle_core::Result<(Tensor, Tensor)> {
    let per_epoch = batches.per_epoch();
    move |step| {
        let position = Position { epoch: step / per_epoch as u64, index: step as usize % per_epoch };
        let batch = batches.get(position).map_err(candle_core::Error::wrap)?;
        Ok((batch.images, batch.labels))
    }
}

/// The training as `models` describes it.
pub(super) fn fit(configuration: &Configuration, steps: u64) -> Fit {
    let train = &configuration.train;
    let optimizer = Sgd { momentum: train.momentum, l2: train.l2, ..Sgd::new(train.learning_rate) };
    let penalty = (train.gc_penalty > 0.0).then(|| GcPenalty {
        strength: train.gc_penalty,
        estimator: gc_core::Penalty::projections(Probe::Rademacher, 1).seed(configuration.seed),
    });
    let mixed_precision = train.mixed_precision;
    Fit { seed: configuration.seed, penalty, mixed_precision, ..Fit::new(steps, optimizer) }
}

/// Prints one line of progress for the process that started this one.
fn report(step: usize, steps: usize, batch_size: usize) {
    let progress = RunProgress { share: step as f64 / steps as f64, images: (step * batch_size) as u64 };
    if let Ok(line) = serde_json::to_string(&progress) {
        say!("{line}");
    }
}
