//! MobileNetV2: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (arXiv 1801.04381).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::BATCH_NORM_EPSILON;
use super::family::{Family, require_images, require_size, rgb, takes_images};
use super::inverted_residual::{InvertedResidual, MobileBody, MobileStage, scaled_by_8};
use crate::Result;
use crate::params::Builder;

/// A stem with stride 2, stages of inverted residual blocks, a 1×1 convolution, the mean over all pixels, then the head.
///
/// **Features** the mean over all pixels.
///
/// **Conventions** torchvision's names: `features.0.0`, `features.1.conv.0.0`, `features.18.1`, `classifier.1`. The dropout in front
/// of torchvision's head is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV2Config {
    /// Channels of the stem.
    #[serde(default = "stem_channels")]
    pub stem_channels: usize,
    /// Stride of the stem: 2, or 1 for small images.
    #[serde(default = "super::family::two")]
    pub stem_stride: usize,
    /// The stages.
    #[serde(default = "stages")]
    pub stages: Vec<MobileStage>,
    /// Channels of the last convolution: the number of features.
    #[serde(default = "last_channels")]
    pub last_channels: usize,
    /// The activation after each batch norm but the last of a block.
    #[serde(default = "relu6")]
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

fn last_channels() -> usize {
    1280
}

fn relu6() -> Activation {
    Activation::Relu6
}

fn stages() -> Vec<MobileStage> {
    MobileStage::rows(&[
        [1, 16, 1, 1, 3],
        [6, 24, 2, 2, 3],
        [6, 32, 3, 2, 3],
        [6, 64, 4, 2, 3],
        [6, 96, 3, 1, 3],
        [6, 160, 3, 2, 3],
        [6, 320, 1, 1, 3],
    ])
}

impl MobileNetV2Config {
    /// torchvision's `mobilenet_v2`.
    fn named(name: &str) -> Option<Self> {
        (name == "mobilenet_v2").then(|| Self {
            stem_channels: stem_channels(),
            stem_stride: super::family::two(),
            stages: stages(),
            last_channels: last_channels(),
            activation: relu6(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }
}

impl Family for MobileNetV2Config {
    const NAME: &'static str = "mobilenet_v2";
    const PRESETS: &'static [&'static str] = &["mobilenet_v2"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    /// Widths are multiples of 8, and the last convolution never becomes narrower, as in torchvision.
    fn scale_width(&mut self, factor: f64) {
        self.stem_channels = scaled_by_8(self.stem_channels, factor);
        self.stages.iter_mut().for_each(|stage| stage.channels = scaled_by_8(stage.channels, factor));
        self.last_channels = scaled_by_8(self.last_channels, factor.max(1.0));
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier.1".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("last_channels", self.last_channels)?;
        let stem = [self.in_channels, self.stem_channels, self.stem_stride];
        let mut layers = MobileBody::with_stem(&mut builder, stem, (self.activation, BATCH_NORM_EPSILON))?;
        layers.push_stages(&self.stages, |layers, common, _| {
            let block = InvertedResidual { container: "conv", flat_end: true, ..common };
            (block, format!("features.{}", layers.blocks + 1))
        })?;
        let last = layers.blocks + 1;
        let body = layers.end(last, self.last_channels)?;
        BodyAndHead::new(body, builder, &self.head_name(), self.last_channels, self.classes)
    }
}
