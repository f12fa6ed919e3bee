//! Training with measuring points and checkpoints, from the beginning or from where a killed process left it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use datasets::{BatchOptions, Batches, Order, Position};
use gc_core::Probe;
use models::Network;
use models::train::{Fit, GcPenalty, Observation, Observer, Progress, Sgd};

use super::diary::Diary;
use super::estimating::Estimating;
use super::images::Images;
use super::measuring::Measuring;
use super::saving::Saving;
use crate::reproduce::configuration::Configuration;
use crate::reproduce::engine::Advance;
use crate::reproduce::measurement::Outcome;
use crate::reproduce::store::RunFolder;

/// How often progress is reported.
const PULSE: Duration = Duration::from_millis(250);

/// One training with everything that it needs.
pub(super) struct Training<'a> {
    configuration: &'a Configuration,
    folder: &'a RunFolder,
    network: Network,
    batches: Batches,
    steps: usize,
    diary: Diary<'a>,
    saving: Saving,
    attached: bool,
}

impl<'a> Training<'a> {
    /// Draws the initial weights and fixes where to measure and, in steps, how often to save.
    pub(super) fn new(
        configuration: &'a Configuration,
        images: &Images,
        folder: &'a RunFolder,
        (attached, checkpoint_every): (bool, Option<u64>),
    ) -> Result<Self> {
        let train = &configuration.train;
        let count = images.train.len();
        if train.batch_size > count {
            bail!("train.batch_size = {}: there are only {count} training images", train.batch_size);
        }
        let steps = steps(train.epochs, count, train.batch_size);
        let classes = images.train.class_count();
        let measuring = Measuring::new(configuration, images)?;
        let estimating = Estimating::new(configuration, images)?;
        Ok(Self {
            configuration,
            folder,
            network: network(configuration, images)?,
            batches: batches(configuration, images)?,
            steps,
            diary: Diary::new(configuration, (measuring, estimating), (count, classes), steps),
            saving: Saving::new(folder, checkpoint_every, &images.files)?,
            attached,
        })
    }

    /// Trains to the end, or to the point where it diverges; also the seconds that it worked, in all processes.
    pub(super) fn run(self) -> Result<(Outcome, f64)> {
        let Self { configuration, folder, network, batches, steps, mut diary, mut saving, attached } = self;
        let fit = fit(configuration, steps as u64);
        let mut progress = saving.resume(&fit, &network, &mut diary, folder)?;
        let (pulse, batch_size) = (None, configuration.train.batch_size);
        let mut watch = Watch { fit: &fit, folder, diary, saving, attached, pulse, batch_size, trouble: None };
        let ended = fit.run_observed(&network, &mut progress, &mut source(&batches), &mut watch);
        let Watch { diary, saving, trouble, .. } = watch;
        if let Some(error) = trouble {
            return Err(error);
        }
        let (classes, images) = (diary.classes, diary.images);
        let outcome = match ended? {
            models::train::FitOutcome::Finished => {
                let final_loss = diary.window.mean().context("no step was taken")?;
                Outcome::Completed { classes, images, final_loss }
            }
            models::train::FitOutcome::Diverged { step, .. } => {
                Outcome::Diverged { classes, images, step: step as usize }
            }
            other => bail!("training ended in a way that this program does not know: {other:?}"),
        };
        Ok((outcome, saving.finish()?))
    }
}

/// Who watches the training: measures, reports and saves.
struct Watch<'a> {
    fit: &'a Fit,
    folder: &'a RunFolder,
    diary: Diary<'a>,
    saving: Saving,
    attached: bool,
    /// When progress was last reported.
    pulse: Option<Instant>,
    batch_size: usize,
    /// An observer can only pass on errors of `models`; one of this program is kept here, and ends the training.
    trouble: Option<anyhow::Error>,
}

impl Observer for Watch<'_> {
    fn observe(&mut self, network: &Network, observation: Observation) -> models::Result<ControlFlow<()>> {
        let entered = self.diary.enter(network, observation, self.folder);
        if self.attached && self.pulse.is_none_or(|last| last.elapsed() > PULSE) {
            self.pulse = Some(Instant::now());
            report(observation.step as usize, self.fit.steps as usize, self.batch_size);
        }
        self.trouble = entered.err();
        Ok(if self.trouble.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn save(&mut self, network: &Network, progress: &Progress) -> models::Result<()> {
        if self.trouble.is_some() {
            return Ok(());
        }
        match self.saving.save_if_due(self.fit, network, progress, &self.diary) {
            Ok(()) => Ok(()),
            Err(error) => match error.downcast::<models::Error>() {
                Ok(error) => Err(error),
                Err(error) => {
                    let reason = candle_core::Error::Msg(format!("{error:#}"));
                    self.trouble = Some(error);
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

/// How the network is trained.
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

/// Steps of a training with batches of this size.
pub(super) fn steps(epochs: f64, images: usize, batch_size: usize) -> usize {
    ((epochs * images as f64 / batch_size as f64).round() as usize).max(1)
}

/// One line for whoever started this run.
fn report(step: usize, steps: usize, batch_size: usize) {
    let advance = Advance { share: step as f64 / steps as f64, images: (step * batch_size) as u64 };
    if let Ok(line) = serde_json::to_string(&advance) {
        println!("{line}");
    }
}
