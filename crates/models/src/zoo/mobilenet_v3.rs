//! MobileNetV3: A. Howard et al., "Searching for MobileNetV3", ICCV 2019 (arXiv 1905.02244).

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::divisible_by_8;
use super::family::{Family, require_count, require_images, require_size, rgb, takes_images};
use super::inverted_residual::{InvertedResidual, MobileBody, Squeeze, scaled_by_8};
use crate::Result;
use crate::layer::{ActivationLayer, Linear};
use crate::params::Builder;

/// torchvision's ε of the batch norms of MobileNetV3.
const EPSILON: f64 = 1e-3;

/// One inverted residual block of a MobileNetV3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileBlock {
    /// Side of the depthwise window.
    pub kernel: usize,
    /// Channels inside the block.
    pub expanded: usize,
    /// Channels of the output.
    pub channels: usize,
    /// Whether it has squeeze-and-excitation, with the nearest multiple of 8 to a quarter of `expanded` in between.
    pub squeeze: bool,
    /// The activation after each batch norm but the last.
    pub activation: Activation,
    /// Stride of the depthwise convolution.
    pub stride: usize,
}

/// A stem with stride 2, inverted residual blocks, a 1×1 convolution to six times the channels, the mean over all pixels, a linear
/// layer, then the head.
///
/// **Features** the activated output of the linear layer in front of the head, as timm's `forward_head(pre_logits=True)`.
///
/// **Conventions** torchvision's names: `features.0.0`, `features.1.block.0.0`, `features.1.block.1.fc1`, `classifier.0`,
/// `classifier.3`. Batch norm has ε = 1e-3. torchvision's momentum is 0.01, this crate's 0.1. The dropout in front of torchvision's
/// head is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileNetV3Config {
    /// Channels of the stem.
    #[serde(default = "stem_channels")]
    pub stem_channels: usize,
    /// Stride of the stem: 2, or 1 for small images.
    #[serde(default = "super::family::two")]
    pub stem_stride: usize,
    /// The blocks.
    pub blocks: Vec<MobileBlock>,
    /// Outputs of the linear layer in front of the head: the number of features.
    pub last_channels: usize,
    /// The activation of the stem, the last convolution and the linear layer in front of the head.
    #[serde(default = "hard_swish")]
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
    16
}

fn hard_swish() -> Activation {
    Activation::HardSwish
}

/// Blocks from rows of kernel, expanded, channels, squeeze (0 or 1), hard swish (0 or 1) and stride.
fn blocks(rows: &[[usize; 6]]) -> Vec<MobileBlock> {
    let block = |&[kernel, expanded, channels, squeeze, hard, stride]: &[usize; 6]| MobileBlock {
        kernel,
        expanded,
        channels,
        squeeze: squeeze == 1,
        activation: if hard == 1 { Activation::HardSwish } else { Activation::Relu },
        stride,
    };
    rows.iter().map(block).collect()
}

const SMALL: [[usize; 6]; 11] = [
    [3, 16, 16, 1, 0, 2],
    [3, 72, 24, 0, 0, 2],
    [3, 88, 24, 0, 0, 1],
    [5, 96, 40, 1, 1, 2],
    [5, 240, 40, 1, 1, 1],
    [5, 240, 40, 1, 1, 1],
    [5, 120, 48, 1, 1, 1],
    [5, 144, 48, 1, 1, 1],
    [5, 288, 96, 1, 1, 2],
    [5, 576, 96, 1, 1, 1],
    [5, 576, 96, 1, 1, 1],
];

const LARGE: [[usize; 6]; 15] = [
    [3, 16, 16, 0, 0, 1],
    [3, 64, 24, 0, 0, 2],
    [3, 72, 24, 0, 0, 1],
    [5, 72, 40, 1, 0, 2],
    [5, 120, 40, 1, 0, 1],
    [5, 120, 40, 1, 0, 1],
    [3, 240, 80, 0, 1, 2],
    [3, 200, 80, 0, 1, 1],
    [3, 184, 80, 0, 1, 1],
    [3, 184, 80, 0, 1, 1],
    [3, 480, 112, 1, 1, 1],
    [3, 672, 112, 1, 1, 1],
    [5, 672, 160, 1, 1, 2],
    [5, 960, 160, 1, 1, 1],
    [5, 960, 160, 1, 1, 1],
];

impl MobileNetV3Config {
    /// torchvision's names.
    fn named(name: &str) -> Option<Self> {
        let (blocks, last_channels) = match name {
            "mobilenet_v3_small" => (blocks(&SMALL), 1024),
            "mobilenet_v3_large" => (blocks(&LARGE), 1280),
            _ => return None,
        };
        Some(Self {
            stem_channels: stem_channels(),
            stem_stride: super::family::two(),
            blocks,
            last_channels,
            activation: hard_swish(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }
}

impl Family for MobileNetV3Config {
    const NAME: &'static str = "mobilenet_v3";
    const PRESETS: &'static [&'static str] = &["mobilenet_v3_small", "mobilenet_v3_large"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    /// Widths are multiples of 8, as in torchvision.
    fn scale_width(&mut self, factor: f64) {
        let scaled = |width: usize| scaled_by_8(width, factor);
        self.stem_channels = scaled(self.stem_channels);
        self.last_channels = scaled(self.last_channels);
        for block in &mut self.blocks {
            (block.expanded, block.channels) = (scaled(block.expanded), scaled(block.channels));
        }
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier.3".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("last_channels", self.last_channels)?;
        require_count("blocks", self.blocks.len())?;
        let stem = [self.in_channels, self.stem_channels, self.stem_stride];
        let mut layers = MobileBody::with_stem(&mut builder, stem, (self.activation, EPSILON))?;
        for (index, block) in self.blocks.iter().enumerate() {
            let sizes = [("kernel", block.kernel), ("expanded", block.expanded), ("channels", block.channels)];
            sizes.into_iter().try_for_each(|(name, size)| require_size(name, size))?;
            require_size("stride", block.stride)?;
            let squeeze = block.squeeze.then(|| Squeeze {
                channels: divisible_by_8((block.expanded / 4) as f64),
                activation: Activation::Relu,
                gate: Activation::HardSigmoid,
            });
            let residual = InvertedResidual {
                container: "block",
                inputs: layers.channels,
                expanded: block.expanded,
                outputs: block.channels,
                kernel: block.kernel,
                stride: block.stride,
                squeeze,
                activation: block.activation,
                epsilon: EPSILON,
                flat_end: false,
                stochastic_depth: 0.0,
            };
            layers.push(residual, &format!("features.{}", index + 1))?;
        }
        let channels = layers.channels;
        let mut body = layers.end(self.blocks.len() + 1, 6 * channels)?;
        let last = Linear::new(builder.under("classifier.0"), 6 * channels, self.last_channels)?;
        body.push("classifier.0", last);
        body.push("classifier.1", ActivationLayer(self.activation));
        BodyAndHead::new(body, builder, &self.head_name(), self.last_channels, self.classes)
    }
}
