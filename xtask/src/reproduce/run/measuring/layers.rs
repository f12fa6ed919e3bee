//! GC, neural collapse and probe accuracy of single layers, on few images.

use anyhow::{Context, Result};
use datasets::LabelledImages;
use fewshot::{Episode, EpisodeSampler, Head, LabelledFeatures, Task};
use models::Network;

use super::chunks::Chunks;
use super::transfer::ridge_head;
use super::{estimate, report};
use crate::reproduce::run::images::Images;
use crate::reproduce::run::network::check_layers;
use crate::study::configuration::{Configuration, FewShot};
use crate::study::measurement::{LayerMeasures, Measured};

/// Training images, and test images, per class.
const IMAGES_PER_CLASS: usize = 8;

/// Largest number of few-shot episodes.
const EPISODES: usize = 100;

/// The layers that are measured, and the images for it.
pub(super) struct Layers {
    names: Vec<String>,
    seed: u64,
    probes: usize,
    few_shot: FewShot,
    classes: usize,
    train: Chunks,
    complexity: Chunks,
    /// Images of the target classes; without target classes, test images.
    probe: Chunks,
    transfer: bool,
}

impl Layers {
    /// None if no layers are configured.
    pub(super) fn new(configuration: &Configuration, images: &Images) -> Result<Option<Self>> {
        let measure = &configuration.measure;
        if measure.layers.is_empty() {
            return Ok(None);
        }
        let device = configuration.train.device.open()?;
        let few = |part: &LabelledImages, per_class: usize| {
            Chunks::of(&part.limit_per_class(per_class, configuration.seed), &images.normalisation, &device)
        };
        let FewShot { shot, query, .. } = measure.few_shot;
        let per_class = IMAGES_PER_CLASS.min(measure.feature_images_per_class);
        Ok(Some(Self {
            names: measure.layers.clone(),
            seed: configuration.seed,
            probes: measure.gc_probes,
            few_shot: measure.few_shot.clone(),
            classes: images.train.class_count(),
            train: few(&images.train, per_class)?,
            complexity: few(&images.train, measure.gc_images_per_class)?,
            probe: match &images.target {
                Some(target) => few(target, shot + query)?,
                None => few(&images.test, IMAGES_PER_CLASS)?,
            },
            transfer: images.target.is_some(),
        }))
    }

    /// Refuses layers that the network does not have.
    pub(super) fn check(&self, network: &Network) -> Result<()> {
        check_layers(network, &self.names)
    }

    /// Measures every layer.
    pub(super) fn measure(&self, network: &Network) -> Result<Vec<LayerMeasures>> {
        let of = |layer: &String| self.of(network, layer).with_context(|| format!("layer `{layer}`"));
        self.names.iter().map(of).collect()
    }

    fn of(&self, network: &Network, layer: &str) -> Result<LayerMeasures> {
        let (gc, _) = estimate(network, &self.complexity, Some(layer), self.probes, self.seed, self.classes)?;
        let train = self.train.features(network, Some(layer))?;
        let probe = self.probe.features(network, Some(layer))?;
        let (train_labels, probe_labels) = (self.train.labels(), self.probe.labels());
        let unbiased = |report: Option<collapse::CollapseReport>, images: usize| {
            let value = report.as_ref().and_then(|report| report.cdnv.unbiased).unwrap_or(f64::NAN);
            Measured::new(value, report.and_then(|report| report.cdnv.unbiased_std_error), images)
        };
        let classes = probe_labels.iter().max().map_or(0, |last| *last as usize + 1);
        let target = || unbiased(report(&probe, &probe_labels, classes, None, None), self.probe.images);
        let probe_features = LabelledFeatures::from_tensor(&probe, &probe_labels)?;
        Ok(LayerMeasures {
            layer: layer.to_owned(),
            outputs: train.dim(1)?,
            gc,
            nc_unbiased: unbiased(report(&train, &train_labels, self.classes, None, None), self.train.images),
            target_nc_unbiased: self.transfer.then(target),
            probe_accuracy: if self.transfer {
                self.few_shot_accuracy(&probe_features)?
            } else {
                let both = candle_core::Tensor::cat(&[&train, &probe], 0)?;
                self.accuracy(&LabelledFeatures::from_tensor(&both, &[train_labels, probe_labels].concat())?)?
            },
        })
    }

    fn few_shot_accuracy(&self, features: &LabelledFeatures) -> Result<Measured> {
        let FewShot { way, shot, query, episodes, ridge } = self.few_shot;
        let episodes = episodes.min(EPISODES);
        let sampler = EpisodeSampler::fixed(features.labels(), way, shot, query, self.seed)?;
        let evaluation = fewshot::evaluate(features, &sampler, episodes, &[ridge_head(ridge)?])?;
        let accuracy = &evaluation.heads.first().context("the evaluation has no head")?.accuracy;
        Ok(Measured::new(accuracy.mean, Some(accuracy.standard_error), episodes))
    }

    /// Accuracy on the probe images, which follow the training images, of the ridge head fitted to the latter.
    fn accuracy(&self, features: &LabelledFeatures) -> Result<Measured> {
        let labels = features.labels();
        let of_class = |range: std::ops::Range<usize>, class: usize| {
            range.filter(|row| labels[*row] as usize == class).collect::<Vec<_>>()
        };
        let (first, all) = (self.train.images, labels.len());
        let support = (0..self.classes).map(|class| of_class(0..first, class)).collect();
        let queries = (0..self.classes).map(|class| of_class(first..all, class)).collect();
        let episode = Episode::new((0..self.classes as u32).collect(), support, queries)?;
        let guesses = ridge_head(self.few_shot.ridge)?.scores(&Task::new(features, &episode)?)?.predictions();
        let right = guesses.iter().zip(episode.query_classes()).filter(|(guess, class)| guess == class).count();
        let share = right as f64 / guesses.len() as f64;
        Ok(Measured::new(share, Some((share * (1.0 - share) / guesses.len() as f64).sqrt()), guesses.len()))
    }
}
