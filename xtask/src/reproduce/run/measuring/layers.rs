//! The images on which single layers are measured: few, because outputs of layers are large.

use anyhow::Result;
use assess::{LayerImages, LayerOptions};
use datasets::LabelledImages;
use models::Network;

use super::chunks::Chunks;
use super::ridge_head;
use crate::reproduce::run::images::Images;
use crate::reproduce::run::network::check_layers;
use crate::study::configuration::{Configuration, FewShot};

/// Training images, and test images, per class.
const IMAGES_PER_CLASS: usize = 8;

/// Largest number of few-shot episodes.
const EPISODES: usize = 100;

/// The layers that are measured, and the images for it.
pub(super) struct Layers {
    /// What is measured of them.
    pub(super) options: LayerOptions,
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
            options: LayerOptions {
                names: measure.layers.clone(),
                head: ridge_head(measure.few_shot.ridge)?,
                most_episodes: EPISODES,
            },
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
        check_layers(network, &self.options.names)
    }

    /// The images as an assessment takes them.
    pub(super) fn images(&self) -> LayerImages<'_> {
        let of = if self.transfer { LayerImages::with_target } else { LayerImages::new };
        of(&self.train.0, &self.complexity.0, &self.probe.0)
    }
}
