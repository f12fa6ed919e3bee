//! The protocol "batches": measures of the training images are averages over training batches, as the paper is reported to
//! compute them.
//!
//! Every measure is computed on the images of one batch alone, and then averaged over batches. Classes with one image in a batch
//! have no variance, and are left out of its collapse.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;
use datasets::Position;
use gc_core::{GeometricComplexity, Probe};
use models::{Network, Pass};

use super::chunks::moments;
use super::decomposition::Decomposed;
use super::{Values, plain};
use crate::reproduce::run::images::Images;
use crate::reproduce::run::training;
use crate::study::configuration::Configuration;
use crate::study::measurement::Measured;
use crate::study::metric::Metric;

/// The measures that are averaged.
const AVERAGED: [Metric; 10] = [
    Metric::Gc,
    Metric::GeometricCollapse,
    Metric::PairwiseGeometricCollapse,
    Metric::GeometricCollapseUnbiased,
    Metric::Nc,
    Metric::NcUnbiased,
    Metric::MeanVariance,
    Metric::MeanInverseSquaredDistance,
    Metric::GcOverVariance,
    Metric::GcOverTotalVariance,
];

/// The first training batches of the first epoch.
pub(super) struct TrainingBatches {
    batches: Vec<(Tensor, Vec<u32>)>,
    classes: usize,
    probes: usize,
    seed: u64,
}

impl TrainingBatches {
    /// As many batches as hold the images of the other protocol, at least one and at most those of an epoch.
    pub(super) fn new(configuration: &Configuration, images: &Images) -> Result<Self> {
        let classes = images.train.class_count();
        let all = training::batches(configuration, images)?;
        let wanted = configuration.measure.feature_images_per_class * classes;
        let count = wanted.div_ceil(configuration.train.batch_size).clamp(1, all.per_epoch().max(1));
        let batch = |index: usize| -> Result<(Tensor, Vec<u32>)> {
            let batch = all.get(Position { epoch: 0, index })?;
            Ok((batch.images, batch.labels.to_vec1::<u32>()?))
        };
        let batches = (0..count).map(batch).collect::<Result<Vec<_>>>()?;
        Ok(Self { batches, classes, probes: configuration.measure.gc_probes, seed: configuration.seed })
    }

    /// Replaces the measures of training images by their averages over the batches.
    pub(super) fn enter(&self, network: &Network, values: &mut Values) -> Result<()> {
        let map = network.frozen().feature_map(Pass::evaluation(), None)?;
        let batches = self.batches.iter().map(|batch| Ok::<_, gc_core::Error>(batch.clone()));
        let estimate = GeometricComplexity::projections(Probe::Rademacher, self.probes)
            .seed(self.seed)
            .per_sample()
            .measure(&map, batches)?;
        let per_sample = estimate.per_sample.context("GC has no values of single images")?;
        let (mut each, mut start) = (Vec::new(), 0);
        for (images, labels) in &self.batches {
            let own = per_sample.get(start..start + labels.len()).context("GC lacks values of single images")?;
            start += labels.len();
            let rows = network.frozen().features(images, &Pass::evaluation())?;
            each.push(self.of_batch(&rows, labels, own)?);
        }
        average(&each, start, values);
        Ok(())
    }

    fn of_batch(&self, rows: &Tensor, labels: &[u32], per_sample: &[f64]) -> Result<Values> {
        let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
        for (label, value) in labels.iter().zip(per_sample) {
            let sum = sums.entry(*label).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
        let of_class = |class: u32| sums.get(&class).map_or(f64::NAN, |(sum, count)| sum / *count as f64);
        let gc_per_class: Vec<f64> = (0..self.classes as u32).map(of_class).collect();
        let gc = per_sample.iter().sum::<f64>() / per_sample.len() as f64;
        let moments = moments(rows, labels, self.classes)?;
        let report = super::report(rows, labels, self.classes, None, None);
        let mut values = Values::new();
        Decomposed {
            moments: &moments,
            report: report.as_ref(),
            gc: Measured::new(gc, None, labels.len()),
            gc_per_class: &gc_per_class,
            samples: labels.len(),
        }
        .enter(None, &mut values);
        Ok(values)
    }
}

/// Enters the mean over batches of each measure, over the batches in which it is defined, with the standard error of this mean.
fn average(batches: &[Values], images: usize, values: &mut Values) {
    for metric in AVERAGED {
        let found: Vec<f64> = batches.iter().filter_map(|batch| batch.get(&metric)?.value).collect();
        let count = found.len() as f64;
        let mean = found.iter().sum::<f64>() / count;
        let squares = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let error = (found.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
        values.insert(metric, Measured::new(mean, error, images));
    }
    // The quotient of the averages, so that log NC remains the sum of its three terms.
    let of = |metric: Metric| values.get(&metric).and_then(|measured| measured.value);
    let product = of(Metric::Gc).zip(of(Metric::MeanInverseSquaredDistance)).map(|(gc, inverse)| gc * inverse);
    let quotient = of(Metric::Nc).zip(product).map(|(nc, product)| nc / product);
    values.insert(Metric::VarianceOverGc, plain(quotient, images));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_over_the_batches_that_have_a_value() {
        let batch = |gc: f64, nc: Option<f64>| -> Values {
            let all = [(Metric::Gc, Some(gc)), (Metric::Nc, nc), (Metric::MeanInverseSquaredDistance, Some(0.5))];
            all.into_iter().map(|(metric, value)| (metric, plain(value, 4))).collect()
        };
        let mut values = Values::new();
        average(&[batch(1.0, Some(0.2)), batch(3.0, None), batch(5.0, Some(0.4))], 12, &mut values);
        assert_eq!(values[&Metric::Gc].value, Some(3.0));
        // s = 2, over √3.
        assert!((values[&Metric::Gc].standard_error.unwrap() - 2.0 / 3f64.sqrt()).abs() < 1e-12);
        assert!((values[&Metric::Nc].value.unwrap() - 0.3).abs() < 1e-12);
        assert!((values[&Metric::VarianceOverGc].value.unwrap() - 0.3 / 1.5).abs() < 1e-12);
        assert_eq!(values[&Metric::MeanVariance].value, None);
    }
}
