//! The training log: running averages along training, and when to measure.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use assess::Slopes;
use datasets::LabelledImages;
use models::Network;
use models::train::Observation;
use serde::{Deserialize, Serialize};

use super::estimating::Estimating;
use super::measuring::Measuring;
use crate::study::configuration::Configuration;
use crate::study::measurement::{Measurement, MeasuringPoint};
use crate::study::store::RunFolder;

/// Running averages along training, and the measuring points that are still to come.
pub(super) struct TrainingLog<'a> {
    configuration: &'a Configuration,
    measuring: Measuring,
    estimating: Option<Estimating>,
    pub(super) images: usize,
    pub(super) classes: usize,
    /// Measuring steps of the schedule that are still to come, in order, with their shares of training.
    scheduled: VecDeque<(usize, f64)>,
    /// The step at which the run with the largest batches ends, until it is reached.
    equal_steps: Option<usize>,
    /// Levels of the running loss that have not been reached, the highest first.
    levels: VecDeque<f64>,
    pub(super) window: Window,
    state: LogState,
}

/// The part of the log that a checkpoint saves. The rest follows from the configuration and the step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LogState {
    /// All measurements so far.
    measurements: Vec<Measurement>,
    /// The training losses of the last steps.
    losses: VecDeque<f64>,
    /// Sum of the squared gradient norms so far.
    slope: f64,
}

/// The step after which a loss was too large or not finite, or a gradient or feature was not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Diverged {
    /// Steps taken.
    pub(super) step: usize,
}

/// The training losses of the last steps.
pub(super) struct Window {
    losses: VecDeque<f64>,
    length: usize,
}

impl<'a> TrainingLog<'a> {
    pub(super) fn new(
        configuration: &'a Configuration,
        train: &LabelledImages,
        measuring: Measuring,
        estimating: Option<Estimating>,
    ) -> Self {
        let measure = &configuration.measure;
        let (images, classes) = (train.len(), train.class_count());
        let steps = configuration.steps(images);
        let at = |share: &f64| ((share * steps as f64).round() as usize, *share);
        Self {
            configuration,
            measuring,
            estimating,
            images,
            classes,
            scheduled: measure.schedule.iter().map(at).collect(),
            equal_steps: Some(configuration.steps_with(images, configuration.largest_batch_size)),
            levels: measure.loss_levels.iter().copied().collect(),
            window: Window::new((measure.loss_window / configuration.train.images_per_step()).max(1)),
            state: LogState::default(),
        }
    }

    /// The part that a checkpoint saves.
    pub(super) fn state(&self) -> LogState {
        LogState { losses: self.window.losses.clone(), ..self.state.clone() }
    }

    /// Continues from the state in a checkpoint after `step` steps: writes its measurements into the folder again, and keeps
    /// only the later measuring points.
    pub(super) fn resume(&mut self, state: LogState, step: usize, folder: &RunFolder) -> Result<()> {
        for measurement in &state.measurements {
            folder.append(measurement)?;
            if let MeasuringPoint::LossLevel { level } = measurement.measuring_point {
                self.levels.retain(|ahead| *ahead != level);
            }
        }
        self.scheduled.retain(|(at, _)| *at > step);
        self.equal_steps = self.equal_steps.filter(|at| *at > step);
        self.window.losses = state.losses.clone();
        self.state = state;
        Ok(())
    }

    /// Records one step, and measures if it is a measuring point. A network that has diverged is not measured.
    ///
    /// # Errors
    /// Those of the measurement of a finite network, and of writing it.
    pub(super) fn observe(
        &mut self,
        network: &Network,
        observation: Observation,
        folder: &RunFolder,
    ) -> Result<Option<Diverged>> {
        let step = observation.step as usize;
        if let Some(loss) = observation.loss {
            self.window.push(loss);
        }
        self.state.slope += observation.squared_gradient_norm.unwrap_or(0.0);
        let points = self.due(step);
        self.measure(network, step, observation.squared_gradient_norm, points, folder)
    }

    /// Measures at the end of a training that ended before its last step; the points that are still to come are left out.
    ///
    /// # Errors
    /// As [`TrainingLog::observe`].
    pub(super) fn end_early(&mut self, network: &Network, step: usize, folder: &RunFolder) -> Result<Option<Diverged>> {
        let ends = |measurement: &Measurement| measurement.measuring_point == MeasuringPoint::Schedule { share: 1.0 };
        if self.state.measurements.iter().any(ends) {
            return Ok(None);
        }
        self.measure(network, step, None, vec![MeasuringPoint::Schedule { share: 1.0 }], folder)
    }

    /// Whether [`TrainingLog::observe`] will measure after this step.
    pub(super) fn measures(&self, observation: Observation) -> bool {
        let step = observation.step as usize;
        let scheduled = self.scheduled.front().is_some_and(|(at, _)| *at <= step);
        scheduled || self.equal_steps.is_some_and(|at| at <= step) || self.reaches_level(observation.loss)
    }

    /// Whether the running loss is below the next level once this loss is in it.
    fn reaches_level(&self, loss: Option<f64>) -> bool {
        let (Some(loss), Some(level)) = (loss, self.levels.front()) else { return false };
        let mut window = Window { losses: self.window.losses.clone(), length: self.window.length };
        window.push(loss);
        window.full_mean().is_some_and(|mean| mean < *level * (self.classes as f64).ln())
    }

    fn measure(
        &mut self,
        network: &Network,
        step: usize,
        slope: Option<f64>,
        points: Vec<MeasuringPoint>,
        folder: &RunFolder,
    ) -> Result<Option<Diverged>> {
        if points.is_empty() {
            return Ok(None);
        }
        let slopes = Slopes::new(self.state.slope, step, slope);
        let values = match self.measuring.measure(network, slopes) {
            Ok(values) => values,
            Err(_) if step > 0 && !self.measuring.is_finite(network)? => return Ok(Some(Diverged { step })),
            Err(error) => return Err(error.context(format!("measuring after step {step}"))),
        };
        let estimates = match &self.estimating {
            Some(estimating) => estimating
                .estimate(network, estimating.repeats())
                .with_context(|| format!("estimating after step {step}"))?,
            None => Vec::new(),
        };
        for measuring_point in points {
            let at_end = measuring_point == MeasuringPoint::Schedule { share: 1.0 };
            let layers = if at_end { self.measuring.measure_layers(network) } else { Ok(Vec::new()) };
            let measurement = Measurement {
                measuring_point,
                step,
                epoch: (step * self.configuration.train.images_per_step()) as f64 / self.images as f64,
                train_loss: self.window.mean(),
                values: values.clone(),
                estimates: estimates.clone(),
                layers: layers.with_context(|| format!("measuring layers after step {step}"))?,
            };
            folder.append(&measurement)?;
            self.state.measurements.push(measurement);
        }
        Ok(None)
    }

    /// The measuring points that are reached at this step.
    fn due(&mut self, step: usize) -> Vec<MeasuringPoint> {
        let mut points = Vec::new();
        while let Some((_, share)) = self.scheduled.pop_front_if(|(at, _)| *at <= step) {
            points.push(MeasuringPoint::Schedule { share });
        }
        if self.equal_steps.is_some_and(|at| at <= step) {
            self.equal_steps = None;
            points.push(MeasuringPoint::EqualSteps);
        }
        let Some(loss) = self.window.full_mean() else { return points };
        let guess = (self.classes as f64).ln();
        // If the loss falls below several levels in one step, each of them was first reached at this step.
        while let Some(level) = self.levels.pop_front_if(|level| loss < *level * guess) {
            points.push(MeasuringPoint::LossLevel { level });
        }
        points
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

    /// Mean of the losses so far, at most those of the window.
    pub(super) fn mean(&self) -> Option<f64> {
        (!self.losses.is_empty()).then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }

    /// Mean of a full window; none before it is full.
    fn full_mean(&self) -> Option<f64> {
        if self.losses.len() == self.length { self.mean() } else { None }
    }
}
