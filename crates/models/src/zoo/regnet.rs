//! RegNet: I. Radosavovic et al., "Designing Network Design Spaces", CVPR 2020 (arXiv 2003.13678).

use ops::{Activation, ConvSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::{BATCH_NORM_EPSILON, ConvNorm, same_size};
use super::family::{Family, is_relu, relu, require_count, require_images, require_size, rgb, scaled, takes_images};
use super::inverted_residual::{Squeeze, push_conv_norm};
use crate::layer::{ActivationLayer, ConvSizes, GlobalAvgPool, Sequential, Sum};
use crate::params::Builder;
use crate::{Error, Result};

/// Blocks of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegNetStage {
    /// Channels of the blocks.
    pub channels: usize,
    /// Number of blocks.
    pub blocks: usize,
}

/// A stem with stride 2, stages of residual blocks with a grouped 3×3 convolution whose first block has stride 2, the mean over all
/// pixels, then the head.
///
/// **Features** the mean over all pixels.
///
/// **Conventions** torchvision's names: `stem.0`, `trunk_output.block1.block1-0.f.a.0`, `trunk_output.block1.block1-0.f.se.fc1`,
/// `trunk_output.block1.block1-0.proj.0`, `fc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegNetConfig {
    /// Channels of the stem.
    #[serde(default = "stem_channels")]
    pub stem_channels: usize,
    /// The stages.
    pub stages: Vec<RegNetStage>,
    /// Channels of each group of the 3×3 convolutions; a narrower stage has one group.
    pub group_width: usize,
    /// Whether the blocks have squeeze-and-excitation (RegNetY), with a quarter of the channels of the block's input in between.
    #[serde(default)]
    pub squeeze: bool,
    /// The activation after each batch norm but the last of a block, and after each sum.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
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

impl RegNetConfig {
    /// torchvision's names.
    fn named(name: &str) -> Option<Self> {
        let (channels, blocks, group_width, squeeze) = match name {
            "regnet_x_400mf" => ([32, 64, 160, 400], [1, 2, 7, 12], 16, false),
            "regnet_y_400mf" => ([48, 104, 208, 440], [1, 3, 6, 6], 8, true),
            _ => return None,
        };
        let stages = channels.into_iter().zip(blocks).map(|(channels, blocks)| RegNetStage { channels, blocks });
        Some(Self {
            stem_channels: stem_channels(),
            stages: stages.collect(),
            group_width,
            squeeze,
            activation: relu(),
            in_channels: rgb(),
            input_size: [224; 2],
            classes: 1000,
        })
    }

    /// The groups of a stage.
    fn groups(&self, channels: usize) -> Result<usize> {
        let width = self.group_width.min(channels);
        if channels.is_multiple_of(width) {
            return Ok(channels / width);
        }
        let (value, rule) = (format!("{width} for {channels} channels"), "the width of a group divides the channels");
        Err(Error::Setting { op: "architecture", name: "group_width", value, rule })
    }

    fn push_block(
        &self,
        body: &mut Sequential,
        mut builder: Builder<'_>,
        name: String,
        [inputs, outputs, stride]: [usize; 3],
    ) -> Result<()> {
        let conv = |names, inputs, kernel, settings: ConvSettings, activation| ConvNorm {
            names,
            sizes: ConvSizes { inputs, outputs, kernel },
            settings,
            epsilon: BATCH_NORM_EPSILON,
            activation,
        };
        let mut branch = Sequential::default();
        let inner = Some(self.activation);
        conv(["f.a.0", "f.a.1"], inputs, 1, same_size(1, 1, 1), inner).push(&mut branch, &mut builder)?;
        let grouped = same_size(3, stride, self.groups(outputs)?);
        conv(["f.b.0", "f.b.1"], outputs, 3, grouped, inner).push(&mut branch, &mut builder)?;
        if self.squeeze {
            // torchvision rounds half to even, as IEEE arithmetic does.
            let channels = ((0.25 * inputs as f64).round_ties_even() as usize).max(1);
            let squeeze = Squeeze { channels, activation: self.activation, gate: Activation::Sigmoid };
            branch.push("f.se", squeeze.layer(builder.under("f.se"), outputs)?);
        }
        conv(["f.c.0", "f.c.1"], outputs, 1, same_size(1, 1, 1), None).push(&mut branch, &mut builder)?;
        let mut shortcut = Sequential::default();
        if inputs != outputs || stride != 1 {
            let settings = ConvSettings::new(stride, 0);
            conv(["proj.0", "proj.1"], inputs, 1, settings, None).push(&mut shortcut, &mut builder)?;
        }
        body.push(name.clone(), Sum { branch, shortcut });
        body.push(format!("{name}.activation"), ActivationLayer(self.activation));
        Ok(())
    }
}

impl Family for RegNetConfig {
    const NAME: &'static str = "regnet";
    const PRESETS: &'static [&'static str] = &["regnet_x_400mf", "regnet_y_400mf"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    /// The widths of stages stay multiples of the width of a group.
    fn scale_width(&mut self, factor: f64) {
        self.stem_channels = scaled(self.stem_channels, factor);
        for stage in &mut self.stages {
            stage.channels = super::blocks::scaled_in_steps(stage.channels, factor, self.group_width);
        }
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "fc".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_size("stem_channels", self.stem_channels)?;
        require_size("group_width", self.group_width)?;
        require_count("stages", self.stages.len())?;
        let mut body = Sequential::default();
        let sizes = ConvSizes { inputs: self.in_channels, outputs: self.stem_channels, kernel: 3 };
        let form = (self.activation, BATCH_NORM_EPSILON);
        push_conv_norm(&mut body, &mut builder, "stem", (sizes, same_size(3, 2, 1)), form)?;
        let mut channels = self.stem_channels;
        for (index, stage) in self.stages.iter().enumerate() {
            require_size("channels", stage.channels)?;
            require_count("blocks", stage.blocks)?;
            for block in 0..stage.blocks {
                let name = format!("trunk_output.block{0}.block{0}-{block}", index + 1);
                let stride = if block == 0 { 2 } else { 1 };
                let sizes = [channels, stage.channels, stride];
                self.push_block(&mut body, builder.under(&name), name, sizes)?;
                channels = stage.channels;
            }
        }
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), channels, self.classes)
    }
}
