//! The measurements at one point of training, on images that are fixed before training starts.

mod chunks;
mod layers;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use assess::{Assessment, Data, FewShot, LayerMeasures, Measured, Needs, Network, Options, Slopes};
use candle_core::Tensor;
use collapse::{ReportOptions, Scatter};
use datasets::{LabelledImages, Position};
use fewshot::HeadKind;
use gc_core::{GeometricComplexity, Probe};

use super::images::Images;
use super::training;
use crate::study::configuration::{self, Configuration, Protocol};
use crate::study::metric::Metric;
use crate::task::Task;
use chunks::{Chunks, SplitImages};
use layers::Layers;

/// The measured values by metric.
type Values = BTreeMap<Metric, Measured>;

/// The normalised images on which a run measures, and its settings.
pub(super) struct Measuring {
    task: Task,
    /// Measures beyond the standard ones.
    also: Vec<Metric>,
    classes: usize,
    options: Options<'static>,
    train: SplitImages,
    test: SplitImages,
    target: Option<SplitImages>,
    /// The training batches of the protocol "batches".
    batches: Option<Vec<(Tensor, Vec<u32>)>>,
    layers: Option<Layers>,
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
        let batches = (measure.protocol == Protocol::Batches).then(|| training_batches(configuration, images));
        Ok(Self {
            task: configuration.task,
            also: measure.also.clone(),
            classes: images.train.class_count(),
            options: options(configuration, images.target.is_some())?,
            train: part(&images.train, measure.feature_images_per_class)?,
            test: part(&images.test, configuration.data.test_images_per_class)?,
            target: images.target.as_ref().map(split).transpose()?,
            batches: batches.transpose()?,
            layers: Layers::new(configuration, images)?,
        })
    }

    /// Refuses settings that contradict the network.
    pub(super) fn check(&self, network: &models::Network) -> Result<()> {
        self.layers.as_ref().map_or(Ok(()), |layers| layers.check(network))
    }

    /// Measures the network in evaluation mode.
    pub(super) fn measure(&self, network: &models::Network, slopes: Slopes) -> Result<Values> {
        let mut assessment = Assessment::of(&subject(network)?, &self.data(), &self.options)?;
        assessment.slopes = Some(slopes);
        let recorded = Metric::standard().into_iter().chain(self.also.iter().copied());
        Ok(assessment.values(recorded.filter(|metric| self.task.measures(*metric))))
    }

    /// Measures the configured layers in evaluation mode.
    pub(super) fn measure_layers(&self, network: &models::Network) -> Result<Vec<LayerMeasures>> {
        let Some(layers) = &self.layers else { return Ok(Vec::new()) };
        let options = self.options.clone().with_layers(layers.options.clone());
        Ok(LayerMeasures::of(&subject(network)?, &layers.images(), self.classes, &options)?)
    }

    /// Whether the features of the measured images are finite.
    pub(super) fn is_finite(&self, network: &models::Network) -> Result<bool> {
        Ok(subject(network)?.is_finite_on(&self.data())?)
    }

    fn data(&self) -> Data<'_> {
        let mut data = Data::new(self.train.images().with_classes(self.classes))
            .with_test(self.test.images().with_classes(self.classes));
        if let Some(target) = &self.target {
            data = data.with_target(target.images());
        }
        if let Some(batches) = &self.batches {
            data = data.with_training_batches(batches);
        }
        data
    }
}

fn subject(network: &models::Network) -> Result<Network<'_>> {
    Network::of_view(network.frozen()).map_err(|error| anyhow!(error))
}

/// What a run measures.
fn options(configuration: &Configuration, transfer: bool) -> Result<Options<'static>> {
    let measure = &configuration.measure;
    let complexity = GeometricComplexity::projections(Probe::Rademacher, measure.gc_probes).seed(configuration.seed);
    let needs = |what: Needs| measure.also.iter().any(|also| also.needs() == Some(what));
    let scatter = if needs(Needs::FullScatter) { Scatter::Full } else { Scatter::Trace };
    let report = ReportOptions::default().with_scatter(scatter);
    let mut options = Options::default().with_complexity(complexity).with_report(report);
    if needs(Needs::TransferScores) {
        options = options.with_transfer_scores();
    }
    if transfer {
        options = options.with_few_shot(few_shot(&measure.few_shot, configuration.seed)?);
    }
    Ok(options)
}

/// The episodes of a transfer, with the nearest mean and the ridge head.
fn few_shot(settings: &configuration::FewShot, seed: u64) -> Result<FewShot> {
    let configuration::FewShot { way, shot, query, episodes, ridge } = *settings;
    let heads = vec!["ncm".parse::<HeadKind>()?, ridge_head(ridge)?];
    Ok(FewShot { way, shot, query, episodes, seed, heads })
}

/// The ridge head with this penalty, a multiple of the mean diagonal entry of the support features' Gram matrix.
fn ridge_head(ridge: f64) -> Result<HeadKind> {
    Ok(format!("ridge:{ridge}*gram").parse()?)
}

/// The first training batches of the first epoch: as many as hold the images of the other protocol, at least one and at most
/// those of an epoch.
fn training_batches(configuration: &Configuration, images: &Images) -> Result<Vec<(Tensor, Vec<u32>)>> {
    let all = training::batches(configuration, images)?;
    let wanted = configuration.measure.feature_images_per_class * images.train.class_count();
    let count = wanted.div_ceil(configuration.train.batch_size).clamp(1, all.per_epoch().max(1));
    let batch = |index: usize| -> Result<(Tensor, Vec<u32>)> {
        let batch = all.get(Position { epoch: 0, index })?;
        Ok((batch.images, batch.labels.to_vec1::<u32>()?))
    };
    (0..count).map(batch).collect()
}

#[cfg(test)]
mod tests;
