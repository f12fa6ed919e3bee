//! Averages over training batches, as the paper is reported to compute its measures.
//!
//! Every measure is computed on the images of one batch alone, and then averaged over batches. Classes with one image in a batch
//! have no variance, and are left out of its collapse.

use std::collections::BTreeMap;

use candle_core::Tensor;
use collapse::ReportOptions;

use super::Assembly;
use super::collapsed::moments;
use super::decomposed::Factors;
use crate::options::Stage;
use crate::{Batches, Decomposition, Error, Measured, Part, PartOf, Result};

/// The name of the batches in messages.
const NAME: &str = "training batches";

impl Assembly<'_> {
    /// Replaces the decomposition of training images by its average over batches.
    pub(super) fn average_over(&self, batches: &dyn Batches, train: &mut Part) -> Result<()> {
        let (Some(settings), Some(whole)) = (&self.options.complexity, &mut train.decomposition) else {
            let reason =
                "averages over training batches need geometric complexity and the decomposition; leave neither out";
            return Err(Error::Setting { setting: "Data::with_training_batches", reason: reason.into() });
        };
        let stage = Stage::TrainingBatches;
        let per_sample = settings.clone().per_sample();
        let estimate = self.complexity(PartOf::Train, self.network.map(), &per_sample, batches)?;
        let per_sample = estimate.per_sample.unwrap_or_default();
        let (mut each, mut start) = (Vec::new(), 0);
        for (index, batch) in batches.batches().enumerate() {
            self.watcher.see(stage, start)?;
            let batch = batch.map_err(|source| Error::Source { part: NAME, source })?;
            let labels = batch.labels.ok_or(Error::Unlabelled { part: NAME, what: "collapse", batch: index })?;
            let Some(own) = per_sample.get(start..start + labels.len()) else {
                let reason = "geometric complexity must be measured on all images of the batches; set no rule that ends it early";
                return Err(Error::Setting { setting: "Data::with_training_batches", reason: reason.into() });
            };
            start += labels.len();
            let rows = self.network.map().features(&batch.inputs);
            let rows = rows.map_err(|error| Error::Network { part: NAME, source: error.into() })?;
            each.push(self.of_batch(&rows.flatten_from(1)?, &labels, own, train.classes)?);
        }
        average(&each, start, whole);
        Ok(())
    }

    fn of_batch(&self, rows: &Tensor, labels: &[u32], per_sample: &[f64], classes: usize) -> Result<Decomposition> {
        let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
        for (label, value) in labels.iter().zip(per_sample) {
            let sum = sums.entry(*label).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
        let of_class = |class: u32| sums.get(&class).map_or(f64::NAN, |(sum, count)| sum / *count as f64);
        let gc_per_class: Vec<f64> = (0..classes as u32).map(of_class).collect();
        let gc = per_sample.iter().sum::<f64>() / per_sample.len() as f64;
        let failed = |source| Error::Collapse { part: NAME, source };
        let moments = moments(rows, labels, classes).map_err(failed)?;
        let options = ReportOptions::default().with_class_count(classes).with_scatter(collapse::Scatter::Trace);
        let report = collapse::report(rows, labels, None, &options).ok();
        let factors = Factors {
            moments: &moments,
            report: report.as_ref(),
            gc: Measured::new(gc, None, labels.len()),
            gc_per_class: &gc_per_class,
            samples: labels.len(),
        };
        Ok(factors.decomposition(None))
    }
}

/// Enters the mean over batches of each measure, over the batches in which it is defined, with the standard error of this mean.
fn average(batches: &[Decomposition], images: usize, whole: &mut Decomposition) {
    let mean = |read: fn(&Decomposition) -> Measured| {
        let found: Vec<f64> = batches.iter().filter_map(|batch| read(batch).value).collect();
        let count = found.len() as f64;
        let mean = found.iter().sum::<f64>() / count;
        let squares = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let error = (found.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
        Measured::new(mean, error, images)
    };
    *whole = Decomposition {
        gc: mean(|batch| batch.gc),
        geometric_collapse: mean(|batch| batch.geometric_collapse),
        pairwise_geometric_collapse: mean(|batch| batch.pairwise_geometric_collapse),
        geometric_collapse_unbiased: mean(|batch| batch.geometric_collapse_unbiased),
        nc: mean(|batch| batch.nc),
        nc_unbiased: mean(|batch| batch.nc_unbiased),
        mean_variance: mean(|batch| batch.mean_variance),
        mean_inverse_squared_distance: mean(|batch| batch.mean_inverse_squared_distance),
        gc_over_variance: mean(|batch| batch.gc_over_variance),
        gc_over_total_variance: mean(|batch| batch.gc_over_total_variance),
        ..*whole
    };
    // The quotient of the averages, so that log NC remains the sum of its three terms.
    let product = whole.gc.value.zip(whole.mean_inverse_squared_distance.value).map(|(gc, inverse)| gc * inverse);
    let quotient = whole.nc.value.zip(product).map(|(nc, product)| nc / product);
    whole.variance_over_gc = Measured::maybe(quotient, None, images);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_over_the_batches_that_have_a_value() {
        let none = Measured::maybe(None, None, 4);
        let batch = |gc: f64, nc: Option<f64>| Decomposition {
            gc: Measured::new(gc, None, 4),
            nc: Measured::maybe(nc, None, 4),
            mean_inverse_squared_distance: Measured::new(0.5, None, 4),
            geometric_collapse: none,
            pairwise_geometric_collapse: none,
            geometric_collapse_unbiased: none,
            nc_unbiased: none,
            mean_variance: none,
            variance_over_gc: none,
            gc_over_variance: none,
            gc_over_total_variance: none,
            poincare_constant: Measured::new(7.0, None, 12),
        };
        let mut whole = batch(9.0, Some(9.0));
        average(&[batch(1.0, Some(0.2)), batch(3.0, None), batch(5.0, Some(0.4))], 12, &mut whole);
        assert_eq!(whole.gc.value, Some(3.0));
        // s = 2, over √3.
        assert!((whole.gc.standard_error.unwrap() - 2.0 / 3f64.sqrt()).abs() < 1e-12);
        assert!((whole.nc.value.unwrap() - 0.3).abs() < 1e-12);
        assert!((whole.variance_over_gc.value.unwrap() - 0.3 / 1.5).abs() < 1e-12);
        assert_eq!(whole.mean_variance.value, None);
        // The constant is that of the fixed images.
        assert_eq!(whole.poincare_constant.value, Some(7.0));
    }
}
