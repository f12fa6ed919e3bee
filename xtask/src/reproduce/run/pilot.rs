//! A pilot: a few steps and one measurement, from which the time and memory of a run are estimated.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use assess::Slopes;
use models::Network;
use models::train::{Fit, Progress, Schedule};
use serde::{Deserialize, Serialize};

use super::estimating::Estimating;
use super::images::Images;
use super::measuring::Measuring;
use super::training;
use crate::study::configuration::Configuration;
use crate::study::train::TrainingSet;

/// Steps of a pilot. The first allocates memory and is not timed.
const STEPS: u64 = 9;

/// Time after which no further step is started.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Time and memory of a few steps and one measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pilot {
    /// Seconds to load the images.
    load: f64,
    /// Seconds per step.
    step: f64,
    /// Seconds per measurement.
    measurement: f64,
    /// Training images.
    images: usize,
    /// Peak memory of the process in bytes, if the system reports it.
    pub(crate) peak_bytes: Option<u64>,
}

impl Pilot {
    /// Runs the pilot of a configuration.
    pub(super) fn of(configuration: &Configuration, data_dir: Option<&std::path::Path>) -> Result<Self> {
        let since = Instant::now();
        let images = Images::load(configuration, data_dir)?;
        let measuring = Measuring::new(configuration, &images)?;
        let estimating = Estimating::new(configuration, &images)?;
        let load = since.elapsed().as_secs_f64();
        let network = training::network(configuration, &images)?;
        let batches = training::augmented_batches(configuration, &images)?;
        let set = TrainingSet { images: images.train.len(), classes: images.train.class_count() };
        // A few steps are not the whole schedule, and they do not end early.
        let fit = Fit { schedule: Schedule::constant(), target_loss: None, ..training::fit(configuration, set, STEPS) };
        let mut ends = Vec::new();
        let mut batch = training::source(&batches, configuration.data.prefetch);
        let since = Instant::now();
        fit.run(&network, &mut Progress::default(), &mut batch, |_, _| {
            ends.push(since.elapsed());
            Ok(if since.elapsed() > TIME_LIMIT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let since = Instant::now();
        measuring.measure(&network, Slopes::default())?;
        let mut measurement = since.elapsed().as_secs_f64();
        if let Some(estimating) = &estimating {
            measurement += estimators_seconds(estimating, &network)?;
        }
        let images = images.train.len();
        Ok(Self { load, step: step_seconds(&ends), measurement, images, peak_bytes: peak_bytes() })
    }

    /// Estimated seconds of the whole run, if every level of the loss is reached.
    pub(crate) fn seconds(&self, configuration: &Configuration) -> f64 {
        let steps = configuration.steps(self.images);
        let measure = &configuration.measure;
        // One more at equal steps.
        let points = measure.schedule.len() + measure.loss_levels.len() + 1;
        self.load + steps as f64 * self.step + points as f64 * self.measurement
    }
}

/// Estimated seconds of all repeats of the estimators, from the time of the exact value alone and that with one repeat.
fn estimators_seconds(estimating: &Estimating, network: &Network) -> Result<f64> {
    let mut took = [0.0; 2];
    for (repeats, took) in took.iter_mut().enumerate() {
        let since = Instant::now();
        estimating.estimate(network, repeats)?;
        *took = since.elapsed().as_secs_f64();
    }
    let [exact, once] = took;
    Ok(exact + estimating.repeats() as f64 * (once - exact).max(0.0))
}

/// Seconds per step, from the times after 0, 1, 2, … steps.
fn step_seconds(ends: &[Duration]) -> f64 {
    let later = if ends.len() > 2 { &ends[1..] } else { ends };
    match (later.first(), later.last()) {
        (Some(first), Some(last)) if later.len() > 1 => (*last - *first).as_secs_f64() / (later.len() - 1) as f64,
        _ => 0.0,
    }
}

/// Peak memory of this process in bytes, from `/proc`.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_timed_only_if_it_is_the_only_one() {
        let at = |millis: &[u64]| millis.iter().map(|millis| Duration::from_millis(*millis)).collect::<Vec<_>>();
        assert_eq!(step_seconds(&at(&[0, 900, 1000, 1100])), 0.1);
        assert_eq!(step_seconds(&at(&[0, 900])), 0.9);
        assert_eq!(step_seconds(&at(&[0])), 0.0);
    }
}
