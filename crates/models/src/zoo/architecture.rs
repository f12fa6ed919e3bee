//! An architecture as data: one family and its sizes.

use serde::{Deserialize, Serialize};

use super::{MlpConfig, Parts, ResNetConfig, VggConfig};
use crate::names::nearest;
use crate::params::Builder;
use crate::{Error, Result};

/// A family of networks and its sizes, as a TOML table with the key `family` describes it.
///
/// ```
/// use models::Architecture;
/// let vgg = Architecture::named("vgg13")?.with_classes(100).with_input(1, [28, 28]);
/// assert_eq!((vgg.classes(), vgg.in_channels()), (100, 1));
/// assert!(Architecture::named("vgg12").is_err());
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Architecture {
    /// Fully connected layers.
    Mlp(MlpConfig),
    /// Stages of 3×3 convolutions, each closed by max pooling.
    Vgg(VggConfig),
    /// Residual blocks.
    #[serde(rename = "resnet")]
    ResNet(ResNetConfig),
}

const NAMES: [&str; 13] = [
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg-small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet18-cifar",
    "resnet34-cifar",
    "resnet50-cifar",
];

impl Architecture {
    /// The architecture of this name, for 3×32×32 images (224×224 for ImageNet stems) and 10 classes (1000).
    ///
    /// **Errors** [`Error::UnknownName`] with the nearest names.
    pub fn named(name: &str) -> Result<Self> {
        VggConfig::named(name)
            .map(Architecture::Vgg)
            .or_else(|| ResNetConfig::named(name).map(Architecture::ResNet))
            .ok_or_else(|| Error::UnknownName {
                what: "architecture",
                name: name.to_owned(),
                nearest: nearest(name, NAMES.into_iter()),
            })
    }

    /// The known names.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// The same architecture for another number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        match &mut self {
            Architecture::Mlp(config) => config.classes = classes,
            Architecture::Vgg(config) => config.classes = classes,
            Architecture::ResNet(config) => config.classes = classes,
        }
        self
    }

    /// The same architecture for images of other channels and `[height, width]`; an MLP takes them flattened.
    pub fn with_input(mut self, in_channels: usize, input_size: [usize; 2]) -> Self {
        match &mut self {
            Architecture::Mlp(config) => config.inputs = in_channels * input_size[0] * input_size[1],
            Architecture::Vgg(config) => (config.in_channels, config.input_size) = (in_channels, input_size),
            Architecture::ResNet(config) => (config.in_channels, config.input_size) = (in_channels, input_size),
        }
        self
    }

    /// The same convolutional architecture with every width times `factor` (at least one channel); an MLP likewise.
    pub fn with_width(mut self, factor: f64) -> Self {
        let scale = |width: &mut usize| *width = ((*width as f64 * factor).round() as usize).max(1);
        match &mut self {
            Architecture::Mlp(config) => config.hidden.iter_mut().for_each(scale),
            Architecture::Vgg(config) => config.stages.iter_mut().flatten().for_each(scale),
            Architecture::ResNet(config) => {
                config.stages.iter_mut().for_each(|stage| scale(&mut stage.channels));
                config.stem_channels.iter_mut().for_each(scale);
            }
        }
        self
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Architecture::Mlp(config) => config.classes,
            Architecture::Vgg(config) => config.classes,
            Architecture::ResNet(config) => config.classes,
        }
    }

    /// Channels of the input images (the number of inputs for an MLP).
    pub fn in_channels(&self) -> usize {
        match self {
            Architecture::Mlp(config) => config.inputs,
            Architecture::Vgg(config) => config.in_channels,
            Architecture::ResNet(config) => config.in_channels,
        }
    }

    /// Shape of one input: `[c, h, w]`, or `[d]` for an MLP.
    pub fn input_shape(&self) -> Vec<usize> {
        match self {
            Architecture::Mlp(config) => vec![config.inputs],
            Architecture::Vgg(config) => vec![config.in_channels, config.input_size[0], config.input_size[1]],
            Architecture::ResNet(config) => vec![config.in_channels, config.input_size[0], config.input_size[1]],
        }
    }

    /// Whether the network holds batch norm, so that training and evaluation differ.
    pub fn has_batch_norm(&self) -> bool {
        match self {
            Architecture::Mlp(_) => false,
            Architecture::Vgg(config) => config.batch_norm,
            Architecture::ResNet(_) => true,
        }
    }

    pub(crate) fn build(&self, builder: Builder<'_>) -> Result<Parts> {
        match self {
            Architecture::Mlp(config) => config.build(builder),
            Architecture::Vgg(config) => config.build(builder),
            Architecture::ResNet(config) => config.build(builder),
        }
    }
}

/// Refuses a size of zero, which no layer has.
pub(super) fn require_positive(name: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::Setting { op: "architecture", name, value: value.to_string(), rule: "it is at least 1" })
}
