//! The measurements at one point of training, on images that are fixed before training starts.

mod chunks;
mod decomposition;
mod held_out;
mod jackknife;
mod layers;
mod training_batches;
mod transfer;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use collapse::{CdnvConvention, ClassMoments, CollapseReport, ReportOptions, Scatter};
use datasets::LabelledImages;
use gc_core::{GeometricComplexity, Probe};
use models::{Network, Pass};

use super::images::Images;
use crate::study::configuration::{Configuration, FewShot, Protocol};
use crate::study::measurement::{LayerMeasures, Measured};
use crate::study::metric::Metric;
use crate::task::Task;
use chunks::{Chunks, SplitImages, moments};
use decomposition::{Decomposed, variances};
use layers::Layers;
use training_batches::TrainingBatches;

/// The measured values by metric.
type Values = BTreeMap<Metric, Measured>;

/// The normalised images on which a run measures, and its settings.
pub(super) struct Measuring {
    task: Task,
    seed: u64,
    probes: usize,
    few_shot: FewShot,
    classes: usize,
    train: SplitImages,
    test: SplitImages,
    target: Option<SplitImages>,
    /// The training batches of the protocol "batches".
    batches: Option<TrainingBatches>,
    layers: Option<Layers>,
}

/// Features, moments and GC of images.
struct MeasuredFeatures {
    rows: Tensor,
    labels: Vec<u32>,
    moments: ClassMoments,
    /// All collapse measures, where they are defined.
    report: Option<CollapseReport>,
    gc: Measured,
    gc_per_class: Vec<f64>,
}

impl Measuring {
    /// Takes the first images of each class; the configuration has their numbers.
    pub(super) fn new(configuration: &Configuration, images: &Images) -> Result<Self> {
        let measure = &configuration.measure;
        let seed = configuration.seed;
        let device = configuration.train.device.open()?;
        let chunks = |part: &LabelledImages| Chunks::of(part, &images.normalisation, &device);
        let split = |features: &LabelledImages| -> Result<SplitImages> {
            let complexity = features.limit_per_class(measure.gc_images_per_class, seed);
            Ok(SplitImages { features: chunks(features)?, complexity: chunks(&complexity)? })
        };
        let part = |part: &LabelledImages, per_class: usize| -> Result<SplitImages> {
            split(&part.limit_per_class(per_class, seed))
        };
        let batches = (measure.protocol == Protocol::Batches).then(|| TrainingBatches::new(configuration, images));
        Ok(Self {
            task: configuration.task,
            seed,
            probes: measure.gc_probes,
            few_shot: measure.few_shot.clone(),
            classes: images.train.class_count(),
            train: part(&images.train, measure.feature_images_per_class)?,
            test: part(&images.test, configuration.data.test_images_per_class)?,
            target: images.target.as_ref().map(split).transpose()?,
            batches: batches.transpose()?,
            layers: Layers::new(configuration, images)?,
        })
    }

    /// Refuses settings that contradict the network.
    pub(super) fn check(&self, network: &Network) -> Result<()> {
        self.layers.as_ref().map_or(Ok(()), |layers| layers.check(network))
    }

    /// Measures the network in evaluation mode.
    pub(super) fn measure(&self, network: &Network) -> Result<Values> {
        let mut values = Values::new();
        let train = self.features(network, &self.train, self.classes).context("training images")?;
        let constant = training(&train, &mut values)?;
        values.insert(Metric::EvaluationLoss, evaluation_loss(network, &train)?);
        let test = self.features(network, &self.test, self.classes).context("test images")?;
        testing(&test, constant, &mut values);
        held_out::enter(&train, &test, constant, &mut values)?;
        if self.task == Task::Classification {
            values.insert(Metric::TestAccuracy, self.accuracy(network)?);
        }
        if let Some(target) = &self.target {
            let classes = target.features.labels().iter().max().map_or(0, |last| *last as usize + 1);
            let measured = self.features(network, target, classes).context("target classes")?;
            transfer::enter(&measured, &self.few_shot, self.seed, &mut values).context("target classes")?;
        }
        if let Some(batches) = &self.batches {
            batches.enter(network, &mut values).context("training batches")?;
        }
        Ok(values)
    }

    /// Measures the configured layers in evaluation mode.
    pub(super) fn measure_layers(&self, network: &Network) -> Result<Vec<LayerMeasures>> {
        self.layers.as_ref().map_or(Ok(Vec::new()), |layers| layers.measure(network))
    }

    /// Whether the weights and the features of the measured images are finite.
    pub(super) fn is_finite(&self, network: &Network) -> Result<bool> {
        let images = [Some(&self.train), Some(&self.test), self.target.as_ref()];
        for part in images.into_iter().flatten() {
            let rows = part.features.features(network, None)?;
            let total = rows.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
            if !total.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn features(&self, network: &Network, part: &SplitImages, classes: usize) -> Result<MeasuredFeatures> {
        let (gc, gc_per_class) = estimate(network, &part.complexity, None, self.probes, self.seed, classes)?;
        let (rows, labels) = (part.features.features(network, None)?, part.features.labels());
        Ok(MeasuredFeatures {
            moments: moments(&rows, &labels, classes)?,
            report: report(&rows, &labels, classes, gc.value, Some(&gc_per_class)),
            rows,
            labels,
            gc,
            gc_per_class,
        })
    }

    fn accuracy(&self, network: &Network) -> Result<Measured> {
        let mut right = 0usize;
        for (images, labels) in &self.test.features.batches {
            let logits = network.frozen().logits(images, &Pass::evaluation())?;
            let guesses = logits.argmax(1)?.to_vec1::<u32>()?;
            right += guesses.iter().zip(labels).filter(|(guess, label)| guess == label).count();
        }
        let count = self.test.features.images;
        let share = right as f64 / count as f64;
        // The standard error of a share: √(p(1−p)/n).
        Ok(Measured::new(share, Some((share * (1.0 - share) / count as f64).sqrt()), count))
    }
}

/// The measures of training images; returns the effective Poincaré constant, if it is defined.
fn training(train: &MeasuredFeatures, values: &mut Values) -> Result<Option<f64>> {
    let parts = jackknife::moments_without_groups(&train.rows, &train.labels, train.moments.class_count())?;
    let parts: Option<Vec<[f64; 3]>> = parts.iter().map(variances).collect();
    let errors = parts.and_then(|parts| jackknife::standard_errors(&parts));
    Decomposed {
        moments: &train.moments,
        report: train.report.as_ref(),
        gc: train.gc,
        gc_per_class: &train.gc_per_class,
        samples: train.labels.len(),
    }
    .enter(errors, values);
    Ok(values.get(&Metric::PoincareConstant).and_then(|constant| constant.value))
}

/// The measures of test images alone.
fn testing(test: &MeasuredFeatures, constant: Option<f64>, values: &mut Values) {
    values.insert(Metric::TestGc, test.gc);
    values.insert(Metric::TestNc, neural_collapse(test));
    let pairwise = defined(collapse::pairwise_geometric_collapse(&test.moments, &test.gc_per_class));
    let bound = constant.zip(pairwise).map(|(constant, form)| constant * form.value);
    values.insert(Metric::TestBound, plain(bound, test.labels.len()));
}

/// Mean cross-entropy of the network in evaluation mode on the images of these features, in nats.
fn evaluation_loss(network: &Network, measured: &MeasuredFeatures) -> Result<Measured> {
    let logits = network.frozen().head(&measured.rows, &Pass::evaluation())?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let loss = |(scores, label): (&Vec<f64>, &u32)| {
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        scores.get(*label as usize).map(|own| highest + sum.ln() - own)
    };
    let losses: Vec<f64> = logits.iter().zip(&measured.labels).filter_map(loss).collect();
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Ok(Measured::new(mean, Some((variance / count).sqrt()), losses.len()))
}

/// GC of the features, or of the outputs of a layer, in total and of each class.
fn estimate(
    network: &Network,
    images: &Chunks,
    layer: Option<&str>,
    probes: usize,
    seed: u64,
    classes: usize,
) -> Result<(Measured, Vec<f64>)> {
    let map = network.frozen().feature_map(Pass::evaluation(), layer)?;
    let batches = images.batches.iter().map(|batch| Ok::<_, gc_core::Error>(batch.clone()));
    let estimate =
        GeometricComplexity::projections(Probe::Rademacher, probes).seed(seed).per_class().measure(&map, batches)?;
    let mut per_class = vec![f64::NAN; classes];
    for class in estimate.per_class.iter().flatten() {
        if let Some(slot) = per_class.get_mut(class.label as usize) {
            *slot = class.value;
        }
    }
    Ok((Measured::new(estimate.value, estimate.standard_error.total, estimate.samples), per_class))
}

/// All collapse measures of features, with GC where it is given and finite; none where they are undefined.
fn report(
    rows: &Tensor,
    labels: &[u32],
    classes: usize,
    gc: Option<f64>,
    gc_per_class: Option<&[f64]>,
) -> Option<CollapseReport> {
    let plain = ReportOptions::default().with_class_count(classes).with_scatter(Scatter::Trace);
    let with_gc = plain.clone().with_gc(gc).with_gc_per_class(gc_per_class.map(<[f64]>::to_vec));
    defined(collapse::report(rows, labels, None, &with_gc).or_else(|_| collapse::report(rows, labels, None, &plain)))
}

fn neural_collapse(measured: &MeasuredFeatures) -> Measured {
    let found = defined(collapse::cdnv(&measured.moments, CdnvConvention::default()));
    let error = measured.report.as_ref().and_then(|report| report.cdnv.std_error);
    Measured::new(found.map_or(f64::NAN, |cdnv| cdnv.mean), error, measured.labels.len())
}

fn unbiased_collapse(measured: &MeasuredFeatures) -> Measured {
    let report = measured.report.as_ref();
    let value = report.and_then(|report| report.cdnv.unbiased).unwrap_or(f64::NAN);
    Measured::new(value, report.and_then(|report| report.cdnv.unbiased_std_error), measured.labels.len())
}

/// A measure that is not defined on these features (coinciding class means, overflow) has no value, and the run continues.
/// Divergence is decided from the loss, or from features that are not finite ([`Measuring::is_finite`]).
fn defined<T>(measured: collapse::Result<T>) -> Option<T> {
    measured.ok()
}

/// A value without a standard error.
fn plain(value: Option<f64>, samples: usize) -> Measured {
    Measured::new(value.unwrap_or(f64::NAN), None, samples)
}

#[cfg(test)]
mod tests;
