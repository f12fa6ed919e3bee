//! An architecture as data: one family and its sizes.

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::family::Family;
use super::{BodyAndHead, Conv4Config, MlpConfig, ResNetConfig, VggConfig, WideResNetConfig};
use crate::params::Builder;
use crate::similar_names::most_similar;
use crate::{Error, Result};

/// A family of networks with its sizes, from a name or from a TOML table (see [`Architecture::from_toml`]).
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
    /// Stages of 3×3 convolutions, each followed by max pooling.
    Vgg(VggConfig),
    /// Residual blocks.
    #[serde(rename = "resnet")]
    ResNet(ResNetConfig),
    /// Wide residual blocks with batch norm before the convolutions (pre-activation).
    #[serde(rename = "wide_resnet")]
    WideResNet(WideResNetConfig),
    /// The four convolutions of few-shot learning.
    Conv4(Conv4Config),
}

const NAMES: [&str; 24] = [
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg11-imagenet",
    "vgg11_bn-imagenet",
    "vgg13-imagenet",
    "vgg13_bn-imagenet",
    "vgg16-imagenet",
    "vgg16_bn-imagenet",
    "vgg-small",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet18-cifar",
    "resnet34-cifar",
    "resnet50-cifar",
    "wide-resnet16-4",
    "wide-resnet28-4",
    "wide-resnet28-10",
    "conv4",
    "mlp",
];

impl Architecture {
    /// The architecture of this name, for 3×32×32 images and 10 classes; the ImageNet forms are for 224×224 images and 1000 classes.
    ///
    /// **Errors** [`Error::UnknownName`] with the nearest names.
    pub fn named(name: &str) -> Result<Self> {
        VggConfig::named(name)
            .map(Architecture::Vgg)
            .or_else(|| ResNetConfig::named(name).map(Architecture::ResNet))
            .or_else(|| WideResNetConfig::named(name).map(Architecture::WideResNet))
            .or_else(|| MlpConfig::named(name).map(Architecture::Mlp))
            .or_else(|| (name == "conv4").then(|| Architecture::Conv4(Conv4Config::default())))
            .ok_or_else(|| Error::UnknownName {
                what: "architecture",
                name: name.to_owned(),
                nearest: most_similar(name, NAMES),
            })
    }

    /// The known names.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    pub(super) fn family(&self) -> &dyn Family {
        match self {
            Architecture::Mlp(config) => config,
            Architecture::Vgg(config) => config,
            Architecture::ResNet(config) => config,
            Architecture::WideResNet(config) => config,
            Architecture::Conv4(config) => config,
        }
    }

    fn family_mut(&mut self) -> &mut dyn Family {
        match self {
            Architecture::Mlp(config) => config,
            Architecture::Vgg(config) => config,
            Architecture::ResNet(config) => config,
            Architecture::WideResNet(config) => config,
            Architecture::Conv4(config) => config,
        }
    }

    /// The same architecture for another number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.family_mut().set_classes(classes);
        self
    }

    /// The same architecture for images of other channels and `[height, width]`; an MLP flattens them.
    pub fn with_input(mut self, in_channels: usize, input_size: [usize; 2]) -> Self {
        self.family_mut().set_input(in_channels, input_size);
        self
    }

    /// The same architecture with every width times `factor`, rounded, at least one channel. A factor that is not finite and
    /// positive gives widths that [`Network::new`](crate::Network::new) refuses.
    pub fn with_width(mut self, factor: f64) -> Self {
        self.family_mut().scale_width(factor);
        self
    }

    /// The same architecture with another activation.
    ///
    /// ```
    /// use models::{Architecture, ops::Activation};
    /// let smooth = Architecture::named("resnet18-cifar")?.with_activation(Activation::Silu);
    /// assert!(smooth.to_toml()?.contains("activation = \"silu\""));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.family_mut().set_activation(activation);
        self
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.family().classes()
    }

    /// Channels of the input images; for an MLP, the numbers in one input.
    pub fn in_channels(&self) -> usize {
        self.family().input_shape().first().copied().unwrap_or(0)
    }

    /// Shape of one input: `[c, h, w]`, or `[d]` for an MLP.
    pub fn input_shape(&self) -> Vec<usize> {
        self.family().input_shape()
    }

    /// Whether the network holds batch norm, so that training and evaluation differ.
    pub fn has_batch_norm(&self) -> bool {
        self.family().has_batch_norm()
    }

    /// The name of the head, the last linear layer: its parameters are `<name>.weight` and `<name>.bias`.
    pub fn head_name(&self) -> String {
        self.family().head_name()
    }

    pub(crate) fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead> {
        self.family().build(builder)
    }
}
