//! ConvNeXt: Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022 (arXiv 2201.03545).

use ops::{Activation, ConvSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{LAYER_NORM_EPSILON, push_mlp, push_stochastic_depth, same_size};
use super::family::{Family, gelu, require_count, require_images, require_size, rgb, scaled, takes_images};
use crate::layer::{ActivationLayer, Conv2d, ConvSizes, GlobalAvgPool, LayerScale, SampleNorm, Sequential, Sum};
use crate::params::Builder;
use crate::{Error, Result};

/// A stem of patches, stages of depthwise 7×7 convolutions with two linear layers, the norm of the mean over all pixels, then the
/// head.
///
/// **Features** timm's `forward_head(pre_logits=True)`: the mean over all pixels after `head.norm`.
///
/// **Conventions** timm's names: `stem.0`, `stages.1.downsample.1`, `stages.0.blocks.0.conv_dw`, `stages.0.blocks.0.gamma`,
/// `head.norm`, `head.fc`. Layer norms have ε = 1e-6.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvNextConfig {
    /// Channels of each stage.
    pub channels: Vec<usize>,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Whether the two linear layers of a block are 1×1 convolutions in the state dict (timm's atto to nano).
    #[serde(default)]
    pub conv_mlp: bool,
    /// Side of a patch of the stem in pixels; divides both sides of the images.
    #[serde(default = "super::family::four")]
    pub patch: usize,
    /// The initial factors of layer scale.
    #[serde(default = "small")]
    pub layer_scale: f64,
    /// Probability with which the last block is dropped in training; it grows linearly with the index of the block.
    #[serde(default)]
    pub stochastic_depth: f64,
    /// The activation between the two linear layers of a block.
    #[serde(default = "gelu")]
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

fn small() -> f64 {
    1e-6
}

impl ConvNextConfig {
    /// timm's names; `convnext-atto-cifar` has a stem of 1×1 patches for 32×32 images.
    fn named(name: &str) -> Option<Self> {
        let (first, blocks, conv_mlp) = match name {
            "convnext_atto" | "convnext-atto-cifar" => (40, [2, 2, 6, 2], true),
            "convnext_femto" => (48, [2, 2, 6, 2], true),
            "convnext_pico" => (64, [2, 2, 6, 2], true),
            "convnext_nano" => (80, [2, 2, 8, 2], true),
            "convnext_tiny" => (96, [3, 3, 9, 3], false),
            "convnext_small" => (96, [3, 3, 27, 3], false),
            "convnext_base" => (128, [3, 3, 27, 3], false),
            _ => return None,
        };
        let (patch, side, classes) = if name.ends_with("-cifar") { (1, 32, 10) } else { (4, 224, 1000) };
        Some(Self {
            channels: [1, 2, 4, 8].map(|multiple| first * multiple).into(),
            blocks: blocks.into(),
            conv_mlp,
            patch,
            layer_scale: small(),
            stochastic_depth: 0.0,
            activation: gelu(),
            in_channels: rgb(),
            input_size: [side; 2],
            classes,
        })
    }

    fn block(&self, builder: &mut Builder<'_>, name: &str, width: usize, numbers: [usize; 2]) -> Result<Sum> {
        let mut builder = builder.under(name);
        let mut branch = Sequential::default();
        let sizes = ConvSizes { inputs: width, outputs: width, kernel: 7 };
        branch.push("conv_dw", Conv2d::new(builder.under("conv_dw"), sizes, same_size(7, 1, width), true)?);
        branch.push("norm", SampleNorm::layer_norm(builder.under("norm"), width, LAYER_NORM_EPSILON)?);
        let (mut mlp, hidden) = (builder.under("mlp"), 4 * width);
        if self.conv_mlp {
            let pointwise = |builder: Builder<'_>, inputs, outputs| {
                Conv2d::new(builder, ConvSizes { inputs, outputs, kernel: 1 }, ConvSettings::new(1, 0), true)
            };
            branch.push("fc1", pointwise(mlp.under("fc1"), width, hidden)?);
            branch.push("act", ActivationLayer(self.activation));
            branch.push("fc2", pointwise(mlp.under("fc2"), hidden, width)?);
        } else {
            push_mlp(&mut branch, mlp, [width, hidden, width], self.activation)?;
        }
        branch.push("gamma", LayerScale::new(builder, "gamma", width, self.layer_scale)?);
        push_stochastic_depth(&mut branch, format!("{name}.drop_path"), numbers, self.stochastic_depth)?;
        Ok(Sum::residual(branch))
    }
}

/// Appends a convolution with bias whose stride is its kernel.
fn push_patch_conv(
    body: &mut Sequential,
    builder: Builder<'_>,
    name: String,
    [inputs, outputs, kernel]: [usize; 3],
) -> Result<()> {
    let sizes = ConvSizes { inputs, outputs, kernel };
    body.push(name, Conv2d::new(builder, sizes, ConvSettings::new(kernel, 0), true)?);
    Ok(())
}

impl Family for ConvNextConfig {
    const NAME: &'static str = "convnext";
    const PRESETS: &'static [&'static str] = &[
        "convnext_atto",
        "convnext_femto",
        "convnext_pico",
        "convnext_nano",
        "convnext_tiny",
        "convnext_small",
        "convnext_base",
        "convnext-atto-cifar",
    ];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for width in &mut self.channels {
            *width = scaled(*width, factor);
        }
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn head_name(&self) -> String {
        "head.fc".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        let (Some(first), true) = (self.channels.first(), self.channels.len() == self.blocks.len()) else {
            let value = format!("{} channels and {} blocks", self.channels.len(), self.blocks.len());
            let rule = "there is at least one stage, with one number of channels and of blocks for each";
            return Err(Error::Setting { op: "architecture", name: "channels", value, rule });
        };
        super::vit::patches(self.input_size, self.patch)?;
        let total: usize = self.blocks.iter().sum();
        require_count("blocks", total)?;
        let norm = |builder: Builder<'_>, width| SampleNorm::layer_norm(builder, width, LAYER_NORM_EPSILON);
        let mut body = Sequential::default();
        require_size("channels", *first)?;
        push_patch_conv(&mut body, builder.under("stem.0"), "stem.0".into(), [self.in_channels, *first, self.patch])?;
        body.push("stem.1", norm(builder.under("stem.1"), *first)?);
        let (mut channels, mut done) = (*first, 0);
        for (stage, (width, blocks)) in self.channels.iter().zip(&self.blocks).enumerate() {
            require_size("channels", *width)?;
            let name = format!("stages.{stage}");
            if stage > 0 {
                let [before, conv] = [0, 1].map(|index| format!("{name}.downsample.{index}"));
                body.push(before.clone(), norm(builder.under(&before), channels)?);
                push_patch_conv(&mut body, builder.under(&conv), conv.clone(), [channels, *width, 2])?;
            }
            channels = *width;
            for block in 0..*blocks {
                let name = format!("{name}.blocks.{block}");
                let block = self.block(&mut builder, &name, channels, [done, total])?;
                body.push(name, block);
                done += 1;
            }
        }
        body.push("head.global_pool", GlobalAvgPool);
        body.push("head.norm", norm(builder.under("head.norm"), channels)?);
        BodyAndHead::new(body, builder, &self.head_name(), channels, self.classes)
    }
}
