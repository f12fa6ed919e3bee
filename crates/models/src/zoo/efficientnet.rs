//! EfficientNet: M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
//! (arXiv 1905.11946).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::BATCH_NORM_EPSILON;
use super::family::{Family, require_images, require_probability, rgb, takes_images};
use super::inverted_residual::{InvertedResidual, MobileBody, MobileStage, Squeeze, scaled_by_8};
use crate::Result;
use crate::params::Builder;

/// A stem with stride 2, stages of inverted residual blocks with squeeze-and-excitation, a 1×1 convolution to four times the
/// channels, the mean over all pixels, then the head.
///
/// **Features** the mean over all pixels.
///
/// **Conventions** torchvision's names: `features.0.0`, `features.1.0.block.0.0`, `features.1.0.block.1.fc1`, `features.8.1`,
/// `classifier.1`. The dropout in front of torchvision's head is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNetConfig {
    /// Channels of the stem.
    #[serde(default = "stem_channels")]
    pub stem_channels: usize,
    /// Stride of the stem: 2, or 1 for small images.
    #[serde(default = "super::family::two")]
    pub stem_stride: usize,
    /// The stages.
    #[serde(default = "stages")]
    pub stages: Vec<MobileStage>,
    /// Probability with which the last block is dropped in training; it grows linearly with the index of the block.
    #[serde(default)]
    pub stochastic_depth: f64,
    /// The activation after each batch norm but the last of a block.
    #[serde(default = "silu")]
    pub activation: Activation,
    /// Channels of the images.
    #[serde(default = "rgb")]
    pub in_channels: usize,
    /// `[height, width]` of the images.
    #[serde(default = "super::family::imagenet_size")]
    pub input_size: [usize; 2],
    /// Outputs of the head.
    #[serde(default = "super::family::thousand")]
    pub classes: usize,
}

fn stem_channels() -> usize {
    32
}

fn silu() -> Activation {
    Activation::Silu
}

fn stages() -> Vec<MobileStage> {
    MobileStage::rows(&[
        [1, 16, 1, 1, 3],
        [6, 24, 2, 2, 3],
        [6, 40, 2, 2, 5],
        [6, 80, 3, 2, 3],
        [6, 112, 3, 1, 5],
        [6, 192, 4, 2, 5],
        [6, 320, 1, 1, 3],
    ])
}

impl EfficientNetConfig {
    /// torchvision's `efficientnet_b0`, without stochastic depth.
    fn named(name: &str) -> Option<Self> {
        (name == "efficientnet_b0").then(|| Self {
            stem_channels: stem_channels(),
            stem_stride: super::family::two(),
            stages: stages(),
            stochastic_depth: 0.0,
            activation: silu(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }
}

impl Family for EfficientNetConfig {
    const NAME: &'static str = "efficientnet";
    const PRESETS: &'static [&'static str] = &["efficientnet_b0"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    /// Widths are multiples of 8, as in torchvision.
    fn scale_width(&mut self, factor: f64) {
        self.stem_channels = scaled_by_8(self.stem_channels, factor);
        self.stages.iter_mut().for_each(|stage| stage.channels = scaled_by_8(stage.channels, factor));
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier.1".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_probability(self.stochastic_depth)?;
        let stem = [self.in_channels, self.stem_channels, self.stem_stride];
        let mut layers = MobileBody::with_stem(&mut builder, stem, (self.activation, BATCH_NORM_EPSILON))?;
        let total: usize = self.stages.iter().map(|stage| stage.blocks).sum();
        layers.push_stages(&self.stages, |layers, common, [stage, block]| {
            let squeeze = Squeeze {
                channels: (common.inputs / 4).max(1),
                activation: self.activation,
                gate: Activation::Sigmoid,
            };
            let stochastic_depth = self.stochastic_depth * layers.blocks as f64 / total as f64;
            let residual = InvertedResidual { squeeze: Some(squeeze), stochastic_depth, ..common };
            (residual, format!("features.{}.{block}", stage + 1))
        })?;
        let features = 4 * layers.channels;
        let body = layers.end(self.stages.len() + 1, features)?;
        BodyAndHead::new(body, builder, &self.head_name(), features, self.classes)
    }
}
