//! Training with measuring points and checkpoints, from the beginning or from the last checkpoint of a killed process.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use datasets::{Augmentation, BatchOptions, Batches, Order, Position, Prefetch};
use models::Network;
use models::train::{Fit, FitOutcome, Observation, Observer, Progress};

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
use crate::study::train::TrainingSet;

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
            batches: augmented_batches(configuration, images)?,
            steps,
            training_log: TrainingLog::new(configuration, &images.train, measuring, estimating),
            saving: Saving::new(folder, configuration, options.checkpoint_every, &images.files)?,
            attached: options.attached,
        })
    }

    /// Trains to the end, or to the step at which it diverges. Also returns the seconds of work of all processes.
    pub(super) fn run(self) -> Result<(RunOutcome, f64)> {
        let Self { configuration, folder, network, batches, steps, mut training_log, mut saving, attached } = self;
        let set = TrainingSet { images: training_log.images, classes: training_log.classes };
        let fit = fit(configuration, set, steps as u64);
        let mut progress = saving.resume(&fit, &network, &mut training_log, folder)?;
        let per_step = configuration.train.images_per_step();
        let mut watch =
            Watch { fit: &fit, folder, training_log, saving, attached, reported: None, per_step, stopped_by: None };
        let mut batches = source(&batches, configuration.data.prefetch);
        let ended = fit.run_observed(&network, &mut progress, &mut batches, &mut watch);
        let Watch { mut training_log, saving, stopped_by, .. } = watch;
        let (classes, images) = (training_log.classes, training_log.images);
        match stopped_by {
            None => {}
            Some(Stop::Diverged(Diverged { step })) => {
                return Ok((RunOutcome::Diverged { classes, images, step }, saving.finish()?));
            }
            Some(Stop::Error(error)) => return Err(error),
        }
        let outcome = match ended? {
            FitOutcome::Finished => completed(&training_log)?,
            FitOutcome::ReachedTarget { step } => {
                match with_average(&progress, &network, |network| {
                    training_log.end_early(network, step as usize, folder)
                })? {
                    None => completed(&training_log)?,
                    Some(Diverged { step }) => RunOutcome::Diverged { classes, images, step },
                }
            }
            FitOutcome::Diverged { step, .. } => RunOutcome::Diverged { classes, images, step: step as usize },
            other => bail!("training ended unexpectedly: {other:?}"),
        };
        Ok((outcome, saving.finish()?))
    }
}

fn completed(training_log: &TrainingLog) -> Result<RunOutcome> {
    let final_loss = training_log.window.mean().context("no step was taken")?;
    Ok(RunOutcome::Completed { classes: training_log.classes, images: training_log.images, final_loss })
}

/// Calls `measure` with the network as it is evaluated: with the averaged parameters, if the training has them.
fn with_average<T>(progress: &Progress, network: &Network, measure: impl FnOnce(&Network) -> Result<T>) -> Result<T> {
    match progress.average() {
        Some(average) => average.in_place(network, |network| Ok(measure(network)))?,
        None => measure(network),
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
    per_step: usize,
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
            report(observation.step as usize, self.fit.steps as usize, self.per_step);
        }
        self.stopped_by = match entered {
            Ok(None) => None,
            Ok(Some(diverged)) => Some(Stop::Diverged(diverged)),
            Err(error) => Some(Stop::Error(error)),
        };
        Ok(if self.stopped_by.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn reads_network(&self, observation: Observation) -> bool {
        self.training_log.measures(observation)
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

/// The training images in shuffled batches, as they are.
pub(super) fn batches(configuration: &Configuration, images: &Images) -> Result<Batches> {
    shuffled(configuration, images, None)
}

/// The training images in shuffled batches, with the augmentation of the configuration.
pub(super) fn augmented_batches(configuration: &Configuration, images: &Images) -> Result<Batches> {
    shuffled(configuration, images, configuration.data.augmentation.with_seed(configuration.seed))
}

fn shuffled(configuration: &Configuration, images: &Images, augmentation: Option<Augmentation>) -> Result<Batches> {
    let options = BatchOptions {
        size: configuration.train.batch_size,
        order: Order::Shuffled { seed: configuration.seed },
        drop_last: true,
        augmentation,
    };
    Ok(Batches::new(images.train.clone(), images.normalisation.clone(), options, &configuration.train.device.open()?)?)
}

/// The batch at each index, prepared by a thread that is at most `ahead` batches ahead; by none for 0.
pub(super) fn source(batches: &Batches, ahead: usize) -> impl FnMut(u64) -> candle_core::Result<(Tensor, Tensor)> {
    let per_epoch = batches.per_epoch();
    let mut prepared: Option<(u64, Prefetch)> = None;
    move |index| {
        let position = Position { epoch: index / per_epoch as u64, index: index as usize % per_epoch };
        let batch = if ahead == 0 {
            batches.get(position)
        } else {
            let (mut next, mut prefetch) = match prepared.take() {
                Some((next, prefetch)) if next == index => (next, prefetch),
                _ => (index, batches.prefetch(position, ahead)),
            };
            let batch = prefetch.next().unwrap_or_else(|| batches.get(position));
            next += 1;
            prepared = Some((next, prefetch));
            batch
        };
        let batch = batch.map_err(candle_core::Error::wrap)?;
        let labels = if batch.labels.device().is_cpu() { batch.labels } else { labels_on_cpu(batches, position)? };
        Ok((batch.images, labels))
    }
}

/// The labels of a batch on the CPU, where the loss reads them without waiting for the device.
fn labels_on_cpu(batches: &Batches, position: Position) -> candle_core::Result<Tensor> {
    let indices = batches.indices(position).map_err(candle_core::Error::wrap)?;
    let labels = batches.images().labels();
    let labels: Vec<u32> = indices.into_iter().filter_map(|index| labels.get(index).copied()).collect();
    Tensor::new(labels, &Device::Cpu)
}

/// The training as `models` describes it.
pub(super) fn fit(configuration: &Configuration, set: TrainingSet, steps: u64) -> Fit {
    configuration.train.fit(set, configuration.seed, steps, configuration.measure.loss_window)
}

/// Prints one line of progress for the process that started this one.
fn report(step: usize, steps: usize, per_step: usize) {
    let progress = RunProgress { share: step as f64 / steps as f64, images: (step * per_step) as u64 };
    if let Ok(line) = serde_json::to_string(&progress) {
        say!("{line}");
    }
}
