//! Training with measuring points: where the schedule has them, and where the loss first falls below a level.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{Device, Tensor};
use datasets::{BatchOptions, Batches, Order, Position};
use gc_core::Probe;
use models::Network;
use models::train::{Fit, GcPenalty, Observation, Progress, Sgd};

use super::estimating::Estimating;
use super::images::Images;
use super::measuring::Measuring;
use crate::reproduce::configuration::Configuration;
use crate::reproduce::engine::Advance;
use crate::reproduce::measurement::{Measured, Measurement, Moment, Outcome};
use crate::reproduce::metric::Metric;
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
    reported: Option<Instant>,
    attached: bool,
}

/// What is remembered along training, and when to measure.
struct Diary<'a> {
    configuration: &'a Configuration,
    measuring: Measuring,
    estimating: Option<Estimating>,
    images: usize,
    classes: usize,
    /// Steps at which the schedule measures, with their shares of training, the next first.
    scheduled: VecDeque<(usize, f64)>,
    /// The step at which runs with larger batches end, until it is reached.
    equal_steps: Option<usize>,
    /// Levels of the running loss that were not reached yet, the highest first.
    levels: VecDeque<f64>,
    window: Window,
    /// Sum of the squared gradient norms so far.
    slope: f64,
}

/// The losses of the last steps.
struct Window {
    losses: VecDeque<f64>,
    length: usize,
}

impl<'a> Training<'a> {
    /// Draws the initial weights and fixes where to measure.
    pub(super) fn new(
        configuration: &'a Configuration,
        images: &Images,
        folder: &'a RunFolder,
        attached: bool,
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
            reported: None,
            attached,
        })
    }

    /// Trains to the end, or to the point where it diverges.
    pub(super) fn run(self) -> Result<Outcome> {
        let Self { configuration, folder, network, batches, steps, mut diary, mut reported, attached } = self;
        let train = &configuration.train;
        let fit = fit(configuration, steps as u64);
        let mut batch = source(&batches);
        // The hook can only pass on errors of `models`; one of its own is kept here, and ends the training.
        let mut trouble: Option<anyhow::Error> = None;
        let ended = fit.run(&network, &mut Progress::default(), &mut batch, |network, observation| {
            let written = diary.enter(network, observation, folder);
            if attached && reported.is_none_or(|last| last.elapsed() > PULSE) {
                reported = Some(Instant::now());
                report(observation.step as usize, steps, train.batch_size);
            }
            Ok(match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    trouble = Some(error);
                    ControlFlow::Break(())
                }
            })
        });
        if let Some(error) = trouble {
            return Err(error);
        }
        let (classes, images) = (diary.classes, diary.images);
        match ended? {
            models::train::Outcome::Finished => {
                let final_loss = diary.window.mean().context("no step was taken")?;
                Ok(Outcome::Completed { classes, images, final_loss })
            }
            models::train::Outcome::Diverged { step, .. } => {
                Ok(Outcome::Diverged { classes, images, step: step as usize })
            }
            other => Err(anyhow!("training ended in a way that this program does not know: {other:?}")),
        }
    }
}

/// The network with its initial weights.
pub(super) fn network(configuration: &Configuration, images: &Images) -> Result<Network> {
    let classes = images.train.class_count();
    super::network::build(&configuration.model, images.train.shape(), classes, configuration.seed)
}

/// The training images in shuffled batches.
pub(super) fn batches(configuration: &Configuration, images: &Images) -> Result<Batches> {
    let options = BatchOptions {
        size: configuration.train.batch_size,
        order: Order::Shuffled { seed: configuration.seed },
        drop_last: true,
        augmentation: None,
    };
    Ok(Batches::new(images.train.clone(), images.normalisation.clone(), options, &Device::Cpu)?)
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
    Fit { seed: configuration.seed, penalty, ..Fit::new(steps, optimizer) }
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

impl<'a> Diary<'a> {
    fn new(
        configuration: &'a Configuration,
        (measuring, estimating): (Measuring, Option<Estimating>),
        (images, classes): (usize, usize),
        steps: usize,
    ) -> Self {
        let measure = &configuration.measure;
        let at = |share: &f64| ((share * steps as f64).round() as usize, *share);
        Self {
            configuration,
            measuring,
            estimating,
            images,
            classes,
            scheduled: measure.schedule.iter().map(at).collect(),
            equal_steps: Some(self::steps(configuration.train.epochs, images, configuration.largest_batch_size)),
            levels: measure.loss_levels.iter().copied().collect(),
            window: Window::new((measure.loss_window / configuration.train.batch_size).max(1)),
            slope: 0.0,
        }
    }

    /// Takes in what one step showed, and measures where it is time to.
    fn enter(&mut self, network: &Network, observation: Observation, folder: &RunFolder) -> Result<()> {
        let step = observation.step as usize;
        if let Some(loss) = observation.loss {
            self.window.push(loss);
        }
        self.slope += observation.squared_gradient_norm.unwrap_or(0.0);
        let moments = self.due(step);
        if moments.is_empty() {
            return Ok(());
        }
        let mut values = self.measuring.measure(network).with_context(|| format!("measuring after step {step}"))?;
        if step > 0 {
            values.insert(Metric::PathSlope, Measured::new(self.slope / step as f64, None, step));
        }
        if let Some(slope) = observation.squared_gradient_norm {
            values.insert(Metric::StepSlope, Measured::new(slope, None, 1));
        }
        let estimates = match &self.estimating {
            Some(estimating) => {
                estimating.estimate(network).with_context(|| format!("estimating after step {step}"))?
            }
            None => Vec::new(),
        };
        for moment in moments {
            folder.append(&Measurement {
                moment,
                step,
                epoch: (step * self.configuration.train.batch_size) as f64 / self.images as f64,
                train_loss: self.window.mean(),
                values: values.clone(),
                estimates: estimates.clone(),
            })?;
        }
        Ok(())
    }

    /// Why to measure now; several reasons may meet.
    fn due(&mut self, step: usize) -> Vec<Moment> {
        let mut moments = Vec::new();
        while let Some((_, share)) = self.scheduled.pop_front_if(|(at, _)| *at <= step) {
            moments.push(Moment::Schedule { share });
        }
        if self.equal_steps.is_some_and(|at| at <= step) {
            self.equal_steps = None;
            moments.push(Moment::EqualSteps);
        }
        let Some(loss) = self.window.full_mean() else { return moments };
        let guess = (self.classes as f64).ln();
        // Of several levels passed at once each is noted: they were all first reached here.
        while let Some(level) = self.levels.pop_front_if(|level| loss < *level * guess) {
            moments.push(Moment::LossLevel { level });
        }
        moments
    }
}

impl Window {
    fn new(length: usize) -> Self {
        Self { losses: VecDeque::with_capacity(length), length }
    }

    fn push(&mut self, loss: f64) {
        if self.losses.len() == self.length {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }

    /// Mean of what there is.
    fn mean(&self) -> Option<f64> {
        (!self.losses.is_empty()).then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }

    /// Mean of a full window.
    fn full_mean(&self) -> Option<f64> {
        if self.losses.len() == self.length { self.mean() } else { None }
    }
}
