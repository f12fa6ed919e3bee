//! Estimators of GC compared with its exact value on the same images, as in the paper's Fig. 2.

use anyhow::{Result, bail};
use candle_core::Tensor;
use gc_core::{GeometricComplexity, Population};
use models::{Network, Pass};

use super::images::Images;
use crate::study::configuration::{Configuration, Estimators};
use crate::study::estimator::{GcEstimate, GcEstimator, STATED_LEVEL};

/// The images and the settings of the estimators.
pub(super) struct Estimating {
    images: Tensor,
    count: usize,
    settings: Estimators,
    seed: u64,
}

impl Estimating {
    /// Takes evenly spaced training images, so that all classes are represented; none if no estimators are configured.
    ///
    /// # Errors
    /// Fewer training images than configured.
    pub(super) fn new(configuration: &Configuration, images: &Images) -> Result<Option<Self>> {
        let Some(settings) = configuration.measure.estimators.clone() else { return Ok(None) };
        let all = images.train.len();
        let count = settings.images;
        if count > all {
            bail!("measure.estimators.images = {count}: there are only {all} training images");
        }
        let positions: Vec<usize> = (0..count).map(|index| index * all / count).collect();
        let batch = images.train.batch(&positions, &images.normalisation, &configuration.train.device.open()?)?;
        Ok(Some(Self { images: batch.images, count, settings, seed: configuration.seed }))
    }

    /// Configured number of independent estimates per estimator.
    pub(super) fn repeats(&self) -> usize {
        self.settings.repeats
    }

    /// The exact value, then this number of independent estimates per estimator.
    pub(super) fn estimate(&self, network: &Network, repeats: usize) -> Result<Vec<GcEstimate>> {
        let map = network.frozen().feature_map(Pass::evaluation(), None)?;
        let mut estimates = Vec::new();
        let repeats = 0..repeats;
        let drawn = GcEstimator::all(&self.settings);
        let drawn = drawn.into_iter().flat_map(|how| repeats.clone().map(move |repeat| (how, repeat)));
        for (how, repeat) in std::iter::once((GcEstimator::Exact, 0)).chain(drawn) {
            let found = self
                .with(how)
                .population(Population::DataSet { size: self.count })
                .confidence(STATED_LEVEL)
                .seed(draw_seed(self.seed, repeat))
                .measure_inputs(&map, &self.images)?;
            let finite = |number: &f64| number.is_finite();
            estimates.push(GcEstimate {
                how,
                repeat,
                value: Some(found.value).filter(finite),
                standard_error: found.standard_error.total.filter(finite),
                interval: found.interval.map(|interval| (interval.low, interval.high)),
                passes: found.passes.total(),
            });
        }
        Ok(estimates)
    }

    fn with(&self, how: GcEstimator) -> GeometricComplexity {
        match how {
            GcEstimator::Exact => GeometricComplexity::exact(),
            GcEstimator::BatchSample { samples } => GeometricComplexity::exact().batch_sample(samples, self.count),
            GcEstimator::EntryMask { rate } => GeometricComplexity::entry_mask(rate),
            GcEstimator::OutputSample { outputs } => GeometricComplexity::output_sample(outputs),
        }
    }
}

/// The seed of a repeat. Repeats of one run and runs of other seeds must not share random numbers: 2^20 repeats fit between
/// two seeds.
fn draw_seed(seed: u64, repeat: usize) -> u64 {
    seed.wrapping_shl(20).wrapping_add(repeat as u64)
}
