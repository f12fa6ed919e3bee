//! What is remembered along training, and when to measure.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use models::Network;
use models::train::Observation;
use serde::{Deserialize, Serialize};

use super::estimating::Estimating;
use super::measuring::Measuring;
use super::training::steps;
use crate::reproduce::configuration::Configuration;
use crate::reproduce::measurement::{Measured, Measurement, Moment};
use crate::reproduce::metric::Metric;
use crate::reproduce::store::RunFolder;

/// What is remembered along training, and when to measure.
pub(super) struct Diary<'a> {
    configuration: &'a Configuration,
    measuring: Measuring,
    estimating: Option<Estimating>,
    pub(super) images: usize,
    pub(super) classes: usize,
    /// Steps at which the schedule measures, with their shares of training, the next first.
    scheduled: VecDeque<(usize, f64)>,
    /// The step at which runs with larger batches end, until it is reached.
    equal_steps: Option<usize>,
    /// Levels of the running loss that were not reached yet, the highest first.
    levels: VecDeque<f64>,
    pub(super) window: Window,
    kept: Kept,
}

/// What a checkpoint keeps of a diary; the rest follows from the configuration and the step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// All that was measured so far.
    measurements: Vec<Measurement>,
    /// The losses of the last steps.
    losses: VecDeque<f64>,
    /// Sum of the squared gradient norms so far.
    slope: f64,
}

/// The losses of the last steps.
pub(super) struct Window {
    losses: VecDeque<f64>,
    length: usize,
}

impl<'a> Diary<'a> {
    pub(super) fn new(
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
            kept: Kept::default(),
        }
    }

    /// What a checkpoint keeps.
    pub(super) fn kept(&self) -> Kept {
        Kept { losses: self.window.losses.clone(), ..self.kept.clone() }
    }

    /// Goes on from what a checkpoint kept after `step` steps: the measurements stand in the folder again, and only what
    /// lies ahead is still to be measured.
    pub(super) fn resume(&mut self, kept: Kept, step: usize, folder: &RunFolder) -> Result<()> {
        for measurement in &kept.measurements {
            folder.append(measurement)?;
            if let Moment::LossLevel { level } = measurement.moment {
                self.levels.retain(|ahead| *ahead != level);
            }
        }
        self.scheduled.retain(|(at, _)| *at > step);
        self.equal_steps = self.equal_steps.filter(|at| *at > step);
        self.window.losses = kept.losses.clone();
        self.kept = kept;
        Ok(())
    }

    /// Takes in what one step showed, and measures where it is time to.
    pub(super) fn enter(&mut self, network: &Network, observation: Observation, folder: &RunFolder) -> Result<()> {
        let step = observation.step as usize;
        if let Some(loss) = observation.loss {
            self.window.push(loss);
        }
        self.kept.slope += observation.squared_gradient_norm.unwrap_or(0.0);
        let moments = self.due(step);
        if moments.is_empty() {
            return Ok(());
        }
        let mut values = self.measuring.measure(network).with_context(|| format!("measuring after step {step}"))?;
        if step > 0 {
            values.insert(Metric::PathSlope, Measured::new(self.kept.slope / step as f64, None, step));
        }
        if let Some(slope) = observation.squared_gradient_norm {
            values.insert(Metric::StepSlope, Measured::new(slope, None, 1));
        }
        let estimates = match &self.estimating {
            Some(estimating) => estimating
                .estimate(network, estimating.repeats())
                .with_context(|| format!("estimating after step {step}"))?,
            None => Vec::new(),
        };
        for moment in moments {
            let measurement = Measurement {
                moment,
                step,
                epoch: (step * self.configuration.train.batch_size) as f64 / self.images as f64,
                train_loss: self.window.mean(),
                values: values.clone(),
                estimates: estimates.clone(),
            };
            folder.append(&measurement)?;
            self.kept.measurements.push(measurement);
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
    pub(super) fn mean(&self) -> Option<f64> {
        (!self.losses.is_empty()).then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }

    /// Mean of a full window.
    fn full_mean(&self) -> Option<f64> {
        if self.losses.len() == self.length { self.mean() } else { None }
    }
}
