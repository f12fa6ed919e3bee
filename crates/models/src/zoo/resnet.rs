//! ResNet: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv 1512.03385).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::architecture::require_positive;
use crate::layer::{
    ActivationLayer, BatchNorm2d, Conv2d, Cotangents, GlobalAvgPool, Layer, Linear, MaxPool, Record, Stack,
};
use crate::ops::{Activation, ConvSettings, PoolSettings, gate};
use crate::params::Builder;
use crate::{Error, Pass, Result};

/// The form of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// What comes before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// One 3×3 convolution with stride 1, for small images.
    #[default]
    Cifar,
    /// A 7×7 convolution with stride 2 and 3×3 max pooling with stride 2.
    Imagenet,
}

/// Blocks of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetStage {
    /// Channels inside the blocks; a bottleneck puts out four times as many.
    pub channels: usize,
    /// How many blocks.
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
}

/// A stem, stages of residual blocks with batch norm, and the mean over all pixels, which is the features.
///
/// **Conventions** torchvision's names: `conv1`, `bn1`, `layer1.0.conv1`, `layer2.0.downsample.0`, `fc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// The form of the blocks.
    #[serde(default)]
    pub block: Block,
    /// What comes before the first stage.
    #[serde(default)]
    pub stem: Stem,
    /// Channels of the stem; those of the first stage by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem_channels: Option<usize>,
    /// The stages.
    pub stages: Vec<ResNetStage>,
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

fn rgb() -> usize {
    3
}

fn cifar_size() -> [usize; 2] {
    [32, 32]
}

fn ten() -> usize {
    10
}

impl ResNetConfig {
    /// `resnet18`, `resnet34`, `resnet50` (ImageNet stem), with `-cifar` for the CIFAR stem.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (base, stem) = name.strip_suffix("-cifar").map_or((name, Stem::Imagenet), |base| (base, Stem::Cifar));
        let (block, counts) = match base {
            "resnet18" => (Block::Basic, [2, 2, 2, 2]),
            "resnet34" => (Block::Basic, [3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, [3, 4, 6, 3]),
            _ => return None,
        };
        let stages = [64, 128, 256, 512]
            .into_iter()
            .zip(counts)
            .enumerate()
            .map(|(index, (channels, blocks))| ResNetStage { channels, blocks, stride: if index == 0 { 1 } else { 2 } })
            .collect();
        let (input_size, classes) = match stem {
            Stem::Cifar => (cifar_size(), ten()),
            Stem::Imagenet => ([224, 224], 1000),
        };
        Some(Self { block, stem, stem_channels: None, stages, in_channels: rgb(), input_size, classes })
    }

    pub(super) fn build(&self, mut builder: Builder<'_>) -> Result<Parts> {
        require_positive("in_channels", self.in_channels)?;
        require_positive("classes", self.classes)?;
        let mut body = Stack::default();
        let mut channels = self.push_stem(&mut body, &mut builder)?;
        for (index, stage) in self.stages.iter().enumerate() {
            for (name, size) in [("channels", stage.channels), ("blocks", stage.blocks), ("stride", stage.stride)] {
                require_positive(name, size)?;
            }
            for block in 0..stage.blocks {
                let name = format!("layer{}.{block}", index + 1);
                let stride = if block == 0 { stage.stride } else { 1 };
                body.push(
                    name.clone(),
                    Residual::new(builder.under(&name), self.block, channels, stage.channels, stride)?,
                );
                channels = stage.channels * self.block.expansion();
            }
        }
        body.push("avgpool", GlobalAvgPool);
        let head = Linear::new(builder.under("fc"), channels, self.classes)?;
        Ok(Parts { body, head })
    }

    fn push_stem(&self, body: &mut Stack, builder: &mut Builder<'_>) -> Result<usize> {
        let Some(first) = self.stages.first() else {
            return Err(Error::Setting {
                op: "architecture",
                name: "stages",
                value: "[]".into(),
                rule: "there is at least one stage",
            });
        };
        let channels = self.stem_channels.unwrap_or(first.channels);
        require_positive("stem_channels", channels)?;
        let (kernel, settings) = match self.stem {
            Stem::Cifar => (3, ConvSettings::new(1, 1)),
            Stem::Imagenet => (7, ConvSettings::new(2, 3)),
        };
        body.push("conv1", Conv2d::new(builder.under("conv1"), (self.in_channels, channels), kernel, settings, false)?);
        body.push("bn1", BatchNorm2d::new(builder.under("bn1"), channels)?);
        body.push("relu", ActivationLayer(Activation::Relu));
        if self.stem == Stem::Imagenet {
            body.push("maxpool", MaxPool(PoolSettings { kernel: [3; 2], stride: [2; 2], padding: [1; 2] }));
        }
        Ok(channels)
    }
}

/// relu(branch(x) + shortcut(x)).
struct Residual {
    branch: Stack,
    shortcut: Stack,
}

impl Residual {
    fn new(mut builder: Builder<'_>, block: Block, inputs: usize, width: usize, stride: usize) -> Result<Self> {
        let outputs = width * block.expansion();
        let convolutions: Vec<(usize, usize, usize, ConvSettings)> = match block {
            Block::Basic => {
                vec![(inputs, width, 3, ConvSettings::new(stride, 1)), (width, width, 3, ConvSettings::new(1, 1))]
            }
            Block::Bottleneck => vec![
                (inputs, width, 1, ConvSettings::new(1, 0)),
                (width, width, 3, ConvSettings::new(stride, 1)),
                (width, outputs, 1, ConvSettings::new(1, 0)),
            ],
        };
        let mut branch = Stack::default();
        for (index, (from, to, kernel, settings)) in convolutions.into_iter().enumerate() {
            if index > 0 {
                branch.push(format!("relu{index}"), ActivationLayer(Activation::Relu));
            }
            let (conv, norm) = (format!("conv{}", index + 1), format!("bn{}", index + 1));
            branch.push(conv.clone(), Conv2d::new(builder.under(&conv), (from, to), kernel, settings, false)?);
            branch.push(norm.clone(), BatchNorm2d::new(builder.under(&norm), to)?);
        }
        let mut shortcut = Stack::default();
        if stride != 1 || inputs != outputs {
            let mut builder = builder.under("downsample");
            let conv = Conv2d::new(builder.under("0"), (inputs, outputs), 1, ConvSettings::new(stride, 0), false)?;
            shortcut.push("0", conv);
            shortcut.push("1", BatchNorm2d::new(builder.under("1"), outputs)?);
        }
        Ok(Self { branch, shortcut })
    }
}

impl Layer for Residual {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let branch = self.branch.forward(x, pass, self.branch.len())?;
        let shortcut = self.shortcut.forward(x, pass, self.shortcut.len())?;
        Activation::Relu.forward(&(branch + shortcut)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        let (branch, d_branch) = self.branch.jvp(x, dx, pass, self.branch.len())?;
        let (shortcut, d_shortcut) = self.shortcut.jvp(x, dx, pass, self.shortcut.len())?;
        Activation::Relu.jvp(&(branch + shortcut)?, &(d_branch + d_shortcut)?)
    }

    fn record(&self, x: &Tensor, pass: &Pass) -> Result<Record> {
        let branch = self.branch.record(x, pass, self.branch.len())?;
        let shortcut = self.shortcut.record(x, pass, self.shortcut.len())?;
        let output = |records: &[Record]| records.last().map_or(x, |record| &record.y).clone();
        let y = Activation::Relu.forward(&(output(&branch) + output(&shortcut))?)?;
        Ok(Record { x: x.clone(), y, inner: vec![branch, shortcut] })
    }

    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let [branch, shortcut] = both(&record.inner)?;
        let at_sum = gate(g, &record.y)?;
        let (branch, through_branch) = self.branch.pullback(branch, &at_sum, pass)?;
        let (shortcut, through_shortcut) = self.shortcut.pullback(shortcut, &at_sum, pass)?;
        let input = (through_branch + through_shortcut)?;
        Ok(Cotangents { output: g.clone(), input, inner: vec![branch, shortcut] })
    }

    fn pair(
        &self,
        record: &Record,
        cotangents: &Cotangents,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let ([branch, shortcut], [at_branch, at_shortcut]) = (both(&record.inner)?, both(&cotangents.inner)?);
        let through_branch = self.branch.pair(branch, at_branch, t, pass, pairings)?;
        let through_shortcut = self.shortcut.pair(shortcut, at_shortcut, t, pass, pairings)?;
        gate(&(through_branch + through_shortcut)?, &record.y)
    }
}

/// What a residual block recorded of its branch and of its shortcut.
fn both<T>(inner: &[Vec<T>]) -> Result<[&[T]; 2]> {
    match inner {
        [branch, shortcut] => Ok([branch, shortcut]),
        other => Err(Error::Setting {
            op: "residual block",
            name: "recorded paths",
            value: other.len().to_string(),
            rule: "a block records its branch and its shortcut",
        }),
    }
}
