//! The measurements at one point of training, on images that are fixed before training starts.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use collapse::{CdnvConvention, ClassMoments, Scatter, Symmetry, nearest_mean_bound};
use datasets::{LabelledImages, Normalisation};
use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures};
use gc_core::{GeometricComplexity, Probe};
use models::{Network, Pass};

use super::images::Images;
use crate::study::configuration::{Configuration, FewShot};
use crate::study::measurement::Measured;
use crate::study::metric::Metric;
use crate::task::Task;

/// Images per forward pass.
const CHUNK: usize = 128;

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
    target: Option<Chunks>,
}

/// The training or the test images that are measured: some for the moments of the features, fewer for GC.
struct SplitImages {
    features: Chunks,
    complexity: Chunks,
}

/// Labelled batches.
struct Chunks {
    batches: Vec<(Tensor, Vec<u32>)>,
    images: usize,
}

/// Features, moments and GC of the training or the test images.
struct Collapse {
    rows: Tensor,
    labels: Vec<u32>,
    moments: ClassMoments,
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
        let part = |part: &LabelledImages, per_class: usize| -> Result<SplitImages> {
            let features = part.limit_per_class(per_class, seed);
            let complexity = features.limit_per_class(measure.gc_images_per_class, seed);
            Ok(SplitImages { features: chunks(&features)?, complexity: chunks(&complexity)? })
        };
        Ok(Self {
            task: configuration.task,
            seed,
            probes: measure.gc_probes,
            few_shot: measure.few_shot.clone(),
            classes: images.train.class_count(),
            train: part(&images.train, measure.feature_images_per_class)?,
            test: part(&images.test, configuration.data.test_images_per_class)?,
            target: images.target.as_ref().map(chunks).transpose()?,
        })
    }

    /// Measures the network in evaluation mode.
    pub(super) fn measure(&self, network: &Network) -> Result<Values> {
        let mut values = Values::new();
        let train = self.collapse(network, &self.train).context("training images")?;
        let constant = self.training(&train, &mut values)?;
        let test = self.collapse(network, &self.test).context("test images")?;
        self.testing(&test, constant, &mut values)?;
        self.nearest_mean(&train, &test, constant, &mut values)?;
        if self.task == Task::Classification {
            values.insert(Metric::TestAccuracy, self.accuracy(network)?);
        }
        if let Some(target) = &self.target {
            self.transfer(network, target, &mut values).context("target classes")?;
        }
        Ok(values)
    }

    /// Whether the weights and the features of the measured images are finite.
    pub(super) fn is_finite(&self, network: &Network) -> Result<bool> {
        let images = [Some(&self.train.features), Some(&self.test.features), self.target.as_ref()];
        for chunks in images.into_iter().flatten() {
            let (rows, _) = features(network, chunks)?;
            let total = rows.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
            if !total.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn collapse(&self, network: &Network, part: &SplitImages) -> Result<Collapse> {
        let map = network.frozen().feature_map(Pass::evaluation(), None)?;
        let batches = part.complexity.batches.iter().map(|batch| Ok::<_, gc_core::Error>(batch.clone()));
        let estimate = GeometricComplexity::projections(Probe::Rademacher, self.probes)
            .seed(self.seed)
            .per_class()
            .measure(&map, batches)?;
        let mut gc_per_class = vec![f64::NAN; self.classes];
        for class in estimate.per_class.iter().flatten() {
            if let Some(slot) = gc_per_class.get_mut(class.label as usize) {
                *slot = class.value;
            }
        }
        let (rows, labels) = features(network, &part.features)?;
        Ok(Collapse {
            moments: moments(&rows, &labels, self.classes)?,
            rows,
            labels,
            gc: Measured::new(estimate.value, estimate.standard_error.total, estimate.samples),
            gc_per_class,
        })
    }

    /// The measures of training images; returns the effective Poincaré constant, if it is defined.
    fn training(&self, train: &Collapse, values: &mut Values) -> Result<Option<f64>> {
        values.insert(Metric::Gc, train.gc);
        let samples = self.train.features.images;
        let mixture = train
            .gc
            .value
            .and_then(|gc| defined(collapse::geometric_collapse(&train.moments, gc)))
            .map(|form| form.value);
        values.insert(Metric::GeometricCollapse, plain(mixture, samples));
        let pairwise = defined(collapse::pairwise_geometric_collapse(&train.moments, &train.gc_per_class));
        values.insert(Metric::PairwiseGeometricCollapse, plain(pairwise.map(|form| form.value), samples));
        values.insert(Metric::Nc, neural_collapse(&train.moments, samples));
        let constant = defined(collapse::effective_poincare_constant(&train.moments, &train.gc_per_class));
        let constant = constant.map(|constant| constant.max);
        values.insert(Metric::PoincareConstant, plain(constant, samples));
        Ok(constant)
    }

    fn testing(&self, test: &Collapse, constant: Option<f64>, values: &mut Values) -> Result<()> {
        let samples = self.test.features.images;
        values.insert(Metric::TestNc, neural_collapse(&test.moments, samples));
        let pairwise = defined(collapse::pairwise_geometric_collapse(&test.moments, &test.gc_per_class));
        let bound = constant.zip(pairwise).map(|(constant, form)| constant * form.value);
        values.insert(Metric::TestBound, plain(bound, samples));
        Ok(())
    }

    /// The test error of the nearest-mean classifier with the training means, and its bounds: from the NC of the test images,
    /// and from c times their geometric collapse, with c measured on the training images.
    fn nearest_mean(
        &self,
        train: &Collapse,
        test: &Collapse,
        constant: Option<f64>,
        values: &mut Values,
    ) -> Result<()> {
        let samples = self.test.features.images;
        let error = defined(collapse::nearest_mean_error(&train.moments, &test.rows, &test.labels));
        let error = error.map_or_else(|| plain(None, samples), |e| Measured::new(e.error, Some(e.std_error), samples));
        values.insert(Metric::NearestMeanError, error);
        let nc = defined(collapse::cdnv(&test.moments, CdnvConvention::default())).map(|cdnv| cdnv.mean);
        let form = test.gc.value.and_then(|gc| defined(collapse::geometric_collapse(&test.moments, gc)));
        let by_gc = constant.zip(form).map(|(constant, form)| constant * form.value);
        let shots = self.train.features.images / self.classes;
        let spherical = Symmetry::Spherical(test.rows.dim(1)?);
        for (metric, nc, symmetry) in [
            (Metric::NearestMeanBound, nc, Symmetry::General),
            (Metric::NearestMeanGcBound, by_gc, Symmetry::General),
            (Metric::SphericalBound, nc, spherical),
            (Metric::SphericalGcBound, by_gc, spherical),
        ] {
            let bound = nc.and_then(|nc| defined(nearest_mean_bound(nc, self.classes, shots, symmetry)));
            values.insert(metric, plain(bound.map(|bound| bound.bound), samples));
        }
        Ok(())
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

    fn transfer(&self, network: &Network, target: &Chunks, values: &mut Values) -> Result<()> {
        let classes = target.batches.iter().flat_map(|(_, labels)| labels).max().map_or(0, |last| *last as usize + 1);
        let rows = features(network, target)?;
        let moments = moments(&rows.0, &rows.1, classes)?;
        values.insert(Metric::TargetNc, neural_collapse(&moments, target.images));
        let FewShot { way, shot, query, episodes, ridge } = self.few_shot;
        let ridge: HeadKind = format!("ridge:{ridge}*gram").parse()?;
        let metrics = [Metric::NearestMeanAccuracy, Metric::RidgeAccuracy];
        let heads = ["ncm".parse::<HeadKind>()?, ridge];
        let features = LabelledFeatures::from_tensor(&rows.0, &rows.1)?;
        let sampler = EpisodeSampler::fixed(&rows.1, way, shot, query, self.seed)?;
        let evaluation = fewshot::evaluate(&features, &sampler, episodes, &heads)?;
        for (metric, head) in metrics.into_iter().zip(&evaluation.heads) {
            let accuracy = &head.accuracy;
            values.insert(metric, Measured::new(accuracy.mean, Some(accuracy.standard_error), episodes));
        }
        Ok(())
    }
}

impl Chunks {
    fn of(images: &LabelledImages, normalisation: &Normalisation, device: &Device) -> Result<Self> {
        let positions: Vec<usize> = (0..images.len()).collect();
        let batch = |positions: &[usize]| -> Result<(Tensor, Vec<u32>)> {
            let batch = images.batch(positions, normalisation, device)?;
            Ok((batch.images, batch.labels.to_vec1::<u32>()?))
        };
        Ok(Self { batches: positions.chunks(CHUNK).map(batch).collect::<Result<_>>()?, images: images.len() })
    }
}

fn moments(rows: &Tensor, labels: &[u32], classes: usize) -> Result<ClassMoments> {
    let mut moments = ClassMoments::new(classes, rows.dim(1)?, Scatter::Trace);
    moments.update(rows, labels)?;
    Ok(moments)
}

fn features(network: &Network, chunks: &Chunks) -> Result<(Tensor, Vec<u32>)> {
    ensure!(chunks.images > 0, "there are no images to measure on");
    let rows = chunks.batches.iter().map(|(images, _)| network.frozen().features(images, &Pass::evaluation()));
    let rows = rows.collect::<models::Result<Vec<_>>>()?;
    let labels = chunks.batches.iter().flat_map(|(_, labels)| labels.iter().copied());
    Ok((Tensor::cat(&rows, 0)?, labels.collect()))
}

fn neural_collapse(moments: &ClassMoments, samples: usize) -> Measured {
    let found = defined(collapse::cdnv(moments, CdnvConvention::default()));
    match found {
        Some(cdnv) => Measured::new(cdnv.mean, cdnv.std_error, samples),
        None => plain(None, samples),
    }
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
