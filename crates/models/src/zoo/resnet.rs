//! ResNet: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv 1512.03385).

use ops::{Activation, ConvSettings, PoolSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::blocks::ConvNorm;
use super::family::{
    Family, cifar_size, is_relu, relu, require_count, require_images, require_size, rgb, scaled, takes_images, ten,
};
use crate::layer::{ActivationLayer, AvgPool, BatchNorm2d, Conv2d, ConvSizes, GlobalAvgPool, MaxPool, Sequential, Sum};
use crate::params::Builder;
use crate::{Error, Result};

/// The form of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Block {
    /// Two 3×3 convolutions.
    #[default]
    Basic,
    /// 1×1, 3×3 (which carries the stride, as in torchvision), 1×1 with four times the channels.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stem {
    /// One 3×3 convolution with stride 1, for small images.
    #[default]
    Cifar,
    /// A 7×7 convolution with stride 2 and 3×3 max pooling with stride 2.
    Imagenet,
    /// Three 3×3 convolutions, the first with stride 2, and 3×3 max pooling with stride 2 (ResNet-D).
    Deep,
}

/// Blocks of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetStage {
    /// Channels inside the blocks; the output of a bottleneck block has four times as many.
    pub channels: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
}

/// A stem, stages of residual blocks with batch norm, the mean over all pixels, then the head.
///
/// **Features** the mean over all pixels, torchvision's `avgpool`.
///
/// **Conventions** torchvision's names: `conv1`, `bn1`, `layer1.0.conv1`, `layer2.0.downsample.0`, `fc`. State dicts with the names
/// `shortcut.0`, `shortcut.1` and `linear` of many CIFAR ResNets load too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// The form of the blocks.
    #[serde(default)]
    pub block: Block,
    /// The layers before the first stage.
    #[serde(default)]
    pub stem: Stem,
    /// Channels of the stem; those of the first stage by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem_channels: Option<usize>,
    /// The stages.
    pub stages: Vec<ResNetStage>,
    /// Groups of the 3×3 convolution of a bottleneck block (ResNeXt).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Channels of each group of a block of 64 channels: 64, 4 for ResNeXt-50 32x4d, 128 for Wide ResNet-50-2.
    #[serde(default = "sixty_four", skip_serializing_if = "is_sixty_four")]
    pub group_width: usize,
    /// Whether a shortcut with stride averages 2×2 pixels before its convolution with stride 1 (ResNet-D).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub average_down: bool,
    /// The activation after each batch norm of the stem and inside the blocks, and after each sum.
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

fn one() -> usize {
    1
}

fn is_one(groups: &usize) -> bool {
    *groups == one()
}

fn sixty_four() -> usize {
    64
}

fn is_sixty_four(width: &usize) -> bool {
    *width == sixty_four()
}

impl ResNetConfig {
    /// `resnet18`, `resnet34`, `resnet50` (ImageNet stem), with `-cifar` for the CIFAR stem; torchvision's `resnext50_32x4d` and
    /// `wide_resnet50_2`; timm's `resnet18d` and `resnet50d`.
    fn named(name: &str) -> Option<Self> {
        let (base, stem) = name.strip_suffix("-cifar").map_or((name, Stem::Imagenet), |base| (base, Stem::Cifar));
        let stem = if matches!(base, "resnet18d" | "resnet50d") { Stem::Deep } else { stem };
        let (block, counts) = match base {
            "resnet18" => (Block::Basic, [2, 2, 2, 2]),
            "resnet34" => (Block::Basic, [3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, [3, 4, 6, 3]),
            "resnext50_32x4d" | "wide_resnet50_2" | "resnet50d" if name == base => (Block::Bottleneck, [3, 4, 6, 3]),
            "resnet18d" if name == base => (Block::Basic, [2, 2, 2, 2]),
            _ => return None,
        };
        let (groups, group_width) = match base {
            "resnext50_32x4d" => (32, 4),
            "wide_resnet50_2" => (1, 128),
            _ => (one(), sixty_four()),
        };
        let stages = [64, 128, 256, 512]
            .into_iter()
            .zip(counts)
            .enumerate()
            .map(|(index, (channels, blocks))| ResNetStage { channels, blocks, stride: if index == 0 { 1 } else { 2 } })
            .collect();
        let (input_size, classes) = match stem {
            Stem::Cifar => (cifar_size(), ten()),
            Stem::Imagenet | Stem::Deep => ([224, 224], 1000),
        };
        Some(Self {
            block,
            stem,
            stem_channels: None,
            stages,
            groups,
            group_width,
            average_down: stem == Stem::Deep,
            activation: relu(),
            in_channels: rgb(),
            input_size,
            classes,
        })
    }

    fn push_stem(&self, body: &mut Sequential, builder: &mut Builder<'_>) -> Result<usize> {
        let Some(first) = self.stages.first() else {
            return Err(Error::Setting {
                op: "architecture",
                name: "stages",
                value: "[]".into(),
                rule: "there is at least one stage",
            });
        };
        let channels = self.stem_channels.unwrap_or(first.channels);
        require_size("stem_channels", channels)?;
        if self.stem == Stem::Deep {
            self.push_deep_stem(body, builder, channels)?;
        }
        let (kernel, settings) = match self.stem {
            Stem::Cifar => (3, ConvSettings::new(1, 1)),
            Stem::Imagenet => (7, ConvSettings::new(2, 3)),
            Stem::Deep => return Ok(channels),
        };
        let sizes = ConvSizes { inputs: self.in_channels, outputs: channels, kernel };
        body.push("conv1", Conv2d::new(builder.under("conv1"), sizes, settings, false)?);
        body.push("bn1", BatchNorm2d::new(builder.under("bn1"), channels)?);
        body.push("relu", ActivationLayer(self.activation));
        if self.stem == Stem::Imagenet {
            body.push(
                "maxpool",
                MaxPool(PoolSettings { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ..Default::default() }),
            );
        }
        Ok(channels)
    }

    /// timm's names of the three convolutions: `conv1.0`, `conv1.3`, `conv1.6`; the first two have half of the channels.
    fn push_deep_stem(&self, body: &mut Sequential, builder: &mut Builder<'_>, channels: usize) -> Result<()> {
        let half = (channels / 2).max(1);
        let layers = [
            ("conv1.0", "conv1.1", [self.in_channels, half], 2),
            ("conv1.3", "conv1.4", [half, half], 1),
            ("conv1.6", "bn1", [half, channels], 1),
        ];
        for (conv, norm, [inputs, outputs], stride) in layers {
            let (sizes, settings) = (ConvSizes { inputs, outputs, kernel: 3 }, ConvSettings::new(stride, 1));
            let epsilon = super::blocks::BATCH_NORM_EPSILON;
            let activation = Some(self.activation);
            ConvNorm { names: [conv, norm], sizes, settings, epsilon, activation }.push(body, builder)?;
        }
        let pool = PoolSettings { kernel: [3; 2], stride: [2; 2], padding: [1; 2], ..Default::default() };
        body.push("maxpool", MaxPool(pool));
        Ok(())
    }
}

impl Family for ResNetConfig {
    const NAME: &'static str = "resnet";
    const PRESETS: &'static [&'static str] = &[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet18-cifar",
        "resnet34-cifar",
        "resnet50-cifar",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "resnet18d",
        "resnet50d",
    ];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for stage in &mut self.stages {
            stage.channels = scaled(stage.channels, factor);
        }
        self.stem_channels = self.stem_channels.map(|channels| scaled(channels, factor));
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "fc".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        let mut body = Sequential::default();
        let mut channels = self.push_stem(&mut body, &mut builder)?;
        for (index, stage) in self.stages.iter().enumerate() {
            require_size("channels", stage.channels)?;
            require_size("stride", stage.stride)?;
            require_count("blocks", stage.blocks)?;
            for block in 0..stage.blocks {
                let name = format!("layer{}.{block}", index + 1);
                let stride = if block == 0 { stage.stride } else { 1 };
                let sizes = BlockSizes {
                    inputs: channels,
                    width: stage.channels,
                    inside: self.width_inside(stage.channels)?,
                    groups: self.groups,
                    stride,
                    average_down: self.average_down,
                };
                channels = self.block.push(&mut body, &name, builder.under(&name), sizes, self.activation)?;
            }
        }
        body.push("avgpool", GlobalAvgPool);
        BodyAndHead::new(body, builder, &self.head_name(), channels, self.classes)
    }
}

/// The sizes of one residual block.
struct BlockSizes {
    /// Channels of its input.
    inputs: usize,
    /// Channels of its stage.
    width: usize,
    /// Channels of the 3×3 convolution of a bottleneck block.
    inside: usize,
    /// Groups of that convolution.
    groups: usize,
    stride: usize,
    average_down: bool,
}

impl ResNetConfig {
    /// torchvision's width of the 3×3 convolution of a bottleneck block, with at least one channel in a group.
    fn width_inside(&self, channels: usize) -> Result<usize> {
        require_size("groups", self.groups)?;
        require_size("group_width", self.group_width)?;
        if self.block == Block::Basic && !(is_one(&self.groups) && is_sixty_four(&self.group_width)) {
            let rule = "only bottleneck blocks have groups or another width inside";
            return Err(Error::Setting { op: "architecture", name: "groups", value: self.groups.to_string(), rule });
        }
        let in_group = (channels as f64 * (self.group_width as f64 / 64.0)) as usize;
        let inside = in_group.max(1) * self.groups;
        require_size("group_width", inside)?;
        Ok(inside)
    }
}

impl Block {
    /// Pushes one block under `name` and returns its output channels.
    fn push(
        self,
        body: &mut Sequential,
        name: &str,
        mut builder: Builder<'_>,
        BlockSizes { inputs, width, inside, groups, stride, average_down }: BlockSizes,
        activation: Activation,
    ) -> Result<usize> {
        let outputs = width * self.expansion();
        let conv = |inputs, outputs, kernel, stride| {
            (ConvSizes { inputs, outputs, kernel }, ConvSettings::new(stride, kernel / 2))
        };
        let convolutions: Vec<(ConvSizes, ConvSettings)> = match self {
            Block::Basic => vec![conv(inputs, width, 3, stride), conv(width, width, 3, 1)],
            Block::Bottleneck => {
                let (sizes, settings) = conv(inside, inside, 3, stride);
                let grouped = (sizes, ConvSettings { groups, ..settings });
                vec![conv(inputs, inside, 1, 1), grouped, conv(inside, outputs, 1, 1)]
            }
        };
        let mut branch = Sequential::default();
        for (index, (sizes, settings)) in convolutions.into_iter().enumerate() {
            if index > 0 {
                branch.push(format!("relu{index}"), ActivationLayer(activation));
            }
            let (conv, norm) = (format!("conv{}", index + 1), format!("bn{}", index + 1));
            branch.push(conv.clone(), Conv2d::new(builder.under(&conv), sizes, settings, false)?);
            branch.push(norm.clone(), BatchNorm2d::new(builder.under(&norm), sizes.outputs)?);
        }
        let mut shortcut = Sequential::default();
        if stride != 1 || inputs != outputs {
            // timm numbers an average pool before the convolution, which then has stride 1.
            let (mut conv, mut norm, mut settings) = ("downsample.0", "downsample.1", ConvSettings::new(stride, 0));
            if average_down {
                (conv, norm, settings) = ("downsample.1", "downsample.2", ConvSettings::new(1, 0));
                if stride > 1 {
                    let pool = PoolSettings { ceil_mode: true, ..PoolSettings::square(stride) };
                    shortcut.push("downsample.0", AvgPool(pool));
                }
            }
            let sizes = ConvSizes { inputs, outputs, kernel: 1 };
            shortcut.push(conv, Conv2d::new(builder.under(conv), sizes, settings, false)?);
            shortcut.push(norm, BatchNorm2d::new(builder.under(norm), outputs)?);
        }
        body.push(name, Sum { branch, shortcut });
        body.push(format!("{name}.relu"), ActivationLayer(activation));
        Ok(outputs)
    }
}
