//! EfficientNet: M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
//! (arXiv 1905.11946).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{BATCH_NORM_EPSILON, divisible_by_8, same_size};
use super::family::{Family, require_images, require_probability, require_size, rgb, takes_images};
use super::inverted_residual::{InvertedResidual, MobileStage, Squeeze, push_conv_norm};
use crate::Result;
use crate::layer::{ConvSizes, GlobalAvgPool, Sequential};
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
    #[serde(default = "two")]
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

fn two() -> usize {
    2
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
            stem_stride: two(),
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
        let valid = factor.is_finite() && factor > 0.0;
        let scaled = |width: usize| if valid { divisible_by_8(width as f64 * factor) } else { 0 };
        self.stem_channels = scaled(self.stem_channels);
        self.stages.iter_mut().for_each(|stage| stage.channels = scaled(stage.channels));
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier.1".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("stem_channels", self.stem_channels)?;
        require_size("stem_stride", self.stem_stride)?;
        require_probability(self.stochastic_depth)?;
        let mut body = Sequential::default();
        let form = (self.activation, BATCH_NORM_EPSILON);
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.stem_channels, kernel: 3 };
        push_conv_norm(&mut body, &mut builder, "features.0", (sizes, same_size(3, self.stem_stride, 1)), form)?;
        let total: usize = self.stages.iter().map(|stage| stage.blocks).sum();
        let (mut channels, mut done) = (self.stem_channels, 0);
        for (index, stage) in self.stages.iter().enumerate() {
            stage.require()?;
            for block in 0..stage.blocks {
                let squeeze =
                    Squeeze { channels: (channels / 4).max(1), activation: self.activation, gate: Activation::Sigmoid };
                let residual = InvertedResidual {
                    container: "block",
                    inputs: channels,
                    expanded: channels * stage.expansion,
                    outputs: stage.channels,
                    kernel: stage.kernel,
                    stride: if block == 0 { stage.stride } else { 1 },
                    squeeze: Some(squeeze),
                    activation: self.activation,
                    epsilon: BATCH_NORM_EPSILON,
                    flat_end: false,
                    stochastic_depth: self.stochastic_depth * done as f64 / total as f64,
                };
                residual.push(&mut body, &mut builder, &format!("features.{}.{block}", index + 1))?;
                (channels, done) = (stage.channels, done + 1);
            }
        }
        let sizes = ConvSizes { inputs: channels, outputs: 4 * channels, kernel: 1 };
        let name = format!("features.{}", self.stages.len() + 1);
        push_conv_norm(&mut body, &mut builder, &name, (sizes, same_size(1, 1, 1)), form)?;
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), 4 * channels, self.classes)
    }
}
