//! MobileNetV2: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (arXiv 1801.04381).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{BATCH_NORM_EPSILON, divisible_by_8, same_size};
use super::family::{Family, require_images, require_size, rgb, takes_images};
use super::inverted_residual::{InvertedResidual, MobileStage, push_conv_norm};
use crate::Result;
use crate::layer::{ConvSizes, GlobalAvgPool, Sequential};
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
    #[serde(default = "two")]
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

fn two() -> usize {
    2
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
            stem_stride: two(),
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
        let valid = factor.is_finite() && factor > 0.0;
        let scaled = |width: usize, factor: f64| if valid { divisible_by_8(width as f64 * factor) } else { 0 };
        self.stem_channels = scaled(self.stem_channels, factor);
        self.stages.iter_mut().for_each(|stage| stage.channels = scaled(stage.channels, factor));
        self.last_channels = scaled(self.last_channels, factor.max(1.0));
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
        require_size("last_channels", self.last_channels)?;
        let mut body = Sequential::default();
        let form = (self.activation, BATCH_NORM_EPSILON);
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.stem_channels, kernel: 3 };
        push_conv_norm(&mut body, &mut builder, "features.0", (sizes, same_size(3, self.stem_stride, 1)), form)?;
        let (mut channels, mut index) = (self.stem_channels, 1);
        for stage in &self.stages {
            stage.require()?;
            for block in 0..stage.blocks {
                let residual = InvertedResidual {
                    container: "conv",
                    inputs: channels,
                    expanded: channels * stage.expansion,
                    outputs: stage.channels,
                    kernel: stage.kernel,
                    stride: if block == 0 { stage.stride } else { 1 },
                    squeeze: None,
                    activation: self.activation,
                    epsilon: BATCH_NORM_EPSILON,
                    flat_end: true,
                    stochastic_depth: 0.0,
                };
                residual.push(&mut body, &mut builder, &format!("features.{index}"))?;
                (channels, index) = (stage.channels, index + 1);
            }
        }
        let sizes = ConvSizes { inputs: channels, outputs: self.last_channels, kernel: 1 };
        let name = format!("features.{index}");
        push_conv_norm(&mut body, &mut builder, &name, (sizes, same_size(1, 1, 1)), form)?;
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), self.last_channels, self.classes)
    }
}
