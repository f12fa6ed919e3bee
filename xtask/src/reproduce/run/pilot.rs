//! A few steps and one measurement, to foretell what a run takes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use models::Network;
use models::train::Progress;
use serde::{Deserialize, Serialize};

use super::estimating::Estimating;
use super::images::Images;
use super::measuring::Measuring;
use super::training;
use crate::reproduce::configuration::Configuration;

/// Steps of a pilot; the first, in which memory is taken, is not counted.
const STEPS: u64 = 9;

/// No further step is begun after this.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// What a few steps and one measurement took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pilot {
    /// Seconds until the images were there.
    load: f64,
    /// Seconds of a step.
    step: f64,
    /// Seconds of a measurement.
    measurement: f64,
    /// Images that are trained on.
    images: usize,
    /// Most memory that the process had, in bytes; none where the system does not tell.
    pub(crate) peak_bytes: Option<u64>,
}

impl Pilot {
    /// Tries a configuration out.
    pub(super) fn of(configuration: &Configuration, data_dir: Option<&std::path::Path>) -> Result<Self> {
        let since = Instant::now();
        let images = Images::load(configuration, data_dir)?;
        let measuring = Measuring::new(configuration, &images)?;
        let estimating = Estimating::new(configuration, &images)?;
        let load = since.elapsed().as_secs_f64();
        let network = training::network(configuration, &images)?;
        let batches = training::batches(configuration, &images)?;
        let fit = training::fit(configuration, STEPS);
        let mut ends = Vec::new();
        let mut batch = training::source(&batches);
        let since = Instant::now();
        fit.run(&network, &mut Progress::default(), &mut batch, |_, _| {
            ends.push(since.elapsed());
            Ok(if since.elapsed() > LONG_ENOUGH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let since = Instant::now();
        measuring.measure(&network)?;
        let mut measurement = since.elapsed().as_secs_f64();
        if let Some(estimating) = &estimating {
            measurement += foretold(estimating, &network)?;
        }
        let images = images.train.len();
        Ok(Self { load, step: step(&ends), measurement, images, peak_bytes: peak() })
    }

    /// Seconds that the whole run would take; every level of the loss counts as reached.
    pub(crate) fn seconds(&self, configuration: &Configuration) -> f64 {
        let steps = training::steps(configuration.train.epochs, self.images, configuration.train.batch_size);
        let measure = &configuration.measure;
        // One more for equal steps.
        let points = measure.schedule.len() + measure.loss_levels.len() + 1;
        self.load + steps as f64 * self.step + points as f64 * self.measurement
    }
}

/// Seconds that all repeats of the estimators would take, from the exact value alone and one repeat.
fn foretold(estimating: &Estimating, network: &Network) -> Result<f64> {
    let mut took = [0.0; 2];
    for (repeats, took) in took.iter_mut().enumerate() {
        let since = Instant::now();
        estimating.estimate(network, repeats)?;
        *took = since.elapsed().as_secs_f64();
    }
    let [exact, once] = took;
    Ok(exact + estimating.repeats() as f64 * (once - exact).max(0.0))
}

/// Seconds of a step, from the ends of the steps, the first being that of none.
fn step(ends: &[Duration]) -> f64 {
    let later = if ends.len() > 2 { &ends[1..] } else { ends };
    match (later.first(), later.last()) {
        (Some(first), Some(last)) if later.len() > 1 => (*last - *first).as_secs_f64() / (later.len() - 1) as f64,
        _ => 0.0,
    }
}

/// The most memory that this process had, where `/proc` tells it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_not_counted_where_there_are_more() {
        let at = |millis: &[u64]| millis.iter().map(|millis| Duration::from_millis(*millis)).collect::<Vec<_>>();
        assert_eq!(step(&at(&[0, 900, 1000, 1100])), 0.1);
        assert_eq!(step(&at(&[0, 900])), 0.9);
        assert_eq!(step(&at(&[0])), 0.0);
    }
}
