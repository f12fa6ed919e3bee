//! Wide ResNet: S. Zagoruyko and N. Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv 1605.07146).

use ops::{Activation, ConvSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::family::{
    Family, cifar_size, is_relu, relu, require_count, require_images, require_probability, require_size, rgb, scaled,
    takes_images, ten,
};
use crate::layer::{ActivationLayer, BatchNorm2d, Conv2d, ConvSizes, Dropout, GlobalAvgPool, Sequential, Sum};
use crate::params::Builder;
use crate::{Error, Result};

/// Three groups of pre-activation blocks, `widen_factor` times as wide as the base, the mean over all pixels, then the head.
///
/// **Features** the mean over all pixels after the last batch norm and activation.
///
/// **Conventions** a depth of 6n + 4 has n blocks per group. The names are those of the common PyTorch implementations of the
/// paper: `conv1`, `block1.layer.0.bn1`, `block2.layer.0.convShortcut`, `bn1`, `fc`. A block that changes the number of channels
/// normalises before both paths; any other block normalises only before its branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WideResNetConfig {
    /// Layers with weights along the longest path: 6n + 4.
    pub depth: usize,
    /// The width of the groups as a multiple of the base.
    pub widen_factor: usize,
    /// Channels of the stem, and of the first group before widening; the groups after it have two and four times as many.
    #[serde(default = "sixteen")]
    pub base_channels: usize,
    /// Probability with which dropout between the convolutions of a block drops a value.
    #[serde(default)]
    pub dropout: f64,
    /// The activation after each batch norm.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
    pub activation: Activation,
    /// Channels of the images.
    #[serde(default = "rgb")]
    pub in_channels: usize,
    /// `[height, width]` of the images.
    #[serde(default = "cifar_size")]
    pub input_size: [usize; 2],
    /// Outputs of the head.
    #[serde(default = "ten")]
    pub classes: usize,
}

fn sixteen() -> usize {
    16
}

/// The sizes of one residual block.
struct BlockSizes {
    /// Channels of its input.
    inputs: usize,
    /// Channels of its output.
    outputs: usize,
    stride: usize,
}

impl WideResNetConfig {
    /// `wide-resnet28-4` and the like: `wide-resnet<depth>-<widen factor>`.
    fn named(name: &str) -> Option<Self> {
        let (depth, widen_factor) = match name {
            "wide-resnet16-4" => (16, 4),
            "wide-resnet28-4" => (28, 4),
            "wide-resnet28-10" => (28, 10),
            _ => return None,
        };
        Some(Self {
            depth,
            widen_factor,
            base_channels: sixteen(),
            dropout: 0.0,
            activation: relu(),
            in_channels: rgb(),
            input_size: cifar_size(),
            classes: ten(),
        })
    }

    fn blocks(&self) -> Result<usize> {
        if self.depth >= 10 && self.depth % 6 == 4 {
            return Ok((self.depth - 4) / 6);
        }
        let rule = "a wide ResNet has a depth of 6n + 4, n at least 1: 10, 16, 22, 28, …";
        Err(Error::Setting { op: "architecture", name: "depth", value: self.depth.to_string(), rule })
    }

    fn push_block(
        &self,
        body: &mut Sequential,
        name: &str,
        mut builder: Builder<'_>,
        BlockSizes { inputs, outputs, stride }: BlockSizes,
    ) -> Result<()> {
        let mut before = Sequential::default();
        before.push("bn1", BatchNorm2d::new(builder.under("bn1"), inputs)?);
        before.push("relu1", ActivationLayer(self.activation));
        let (mut branch, mut shortcut) = (Sequential::default(), Sequential::default());
        if inputs == outputs {
            branch = before;
        } else {
            for (inside, layer) in before {
                body.push_shared(format!("{name}.{inside}"), layer);
            }
            let settings = ConvSettings::new(stride, 0);
            let sizes = ConvSizes { inputs, outputs, kernel: 1 };
            let conv = Conv2d::new(builder.under("convShortcut"), sizes, settings, false)?;
            shortcut.push("convShortcut", conv);
        }
        let settings = ConvSettings::new(stride, 1);
        let sizes = ConvSizes { inputs, outputs, kernel: 3 };
        branch.push("conv1", Conv2d::new(builder.under("conv1"), sizes, settings, false)?);
        branch.push("bn2", BatchNorm2d::new(builder.under("bn2"), outputs)?);
        branch.push("relu2", ActivationLayer(self.activation));
        if self.dropout > 0.0 {
            branch.push("dropout", Dropout { name: format!("{name}.dropout"), probability: self.dropout });
        }
        let settings = ConvSettings::new(1, 1);
        let sizes = ConvSizes { inputs: outputs, ..sizes };
        branch.push("conv2", Conv2d::new(builder.under("conv2"), sizes, settings, false)?);
        body.push(name, Sum { branch, shortcut });
        Ok(())
    }
}

impl Family for WideResNetConfig {
    const NAME: &'static str = "wide_resnet";
    const PRESETS: &'static [&'static str] = &["wide-resnet16-4", "wide-resnet28-4", "wide-resnet28-10"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        self.base_channels = scaled(self.base_channels, factor);
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "fc".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("base_channels", self.base_channels)?;
        require_size("widen_factor", self.widen_factor)?;
        require_count("depth", self.depth)?;
        require_probability(self.dropout)?;
        let blocks = self.blocks()?;
        let mut body = Sequential::default();
        let mut channels = self.base_channels;
        let settings = ConvSettings::new(1, 1);
        let sizes = ConvSizes { inputs: self.in_channels, outputs: channels, kernel: 3 };
        body.push("conv1", Conv2d::new(builder.under("conv1"), sizes, settings, false)?);
        for (group, multiple) in [1, 2, 4].into_iter().enumerate() {
            let outputs = self.base_channels * multiple * self.widen_factor;
            for block in 0..blocks {
                let name = format!("block{}.layer.{block}", group + 1);
                let stride = if block == 0 && group > 0 { 2 } else { 1 };
                let sizes = BlockSizes { inputs: channels, outputs, stride };
                self.push_block(&mut body, &name, builder.under(&name), sizes)?;
                channels = outputs;
            }
        }
        body.push("bn1", BatchNorm2d::new(builder.under("bn1"), channels)?);
        body.push("relu", ActivationLayer(self.activation));
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), channels, self.classes)
    }
}
