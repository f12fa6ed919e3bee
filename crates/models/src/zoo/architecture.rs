//! An architecture as data: one family and its sizes.

use std::sync::OnceLock;

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::family::Family;
use super::{
    BodyAndHead, Conv4Config, ConvNextConfig, DecoderConfig, DenseNetConfig, EfficientNetConfig, EncoderConfig,
    MixerConfig, MlpConfig, MobileNetV2Config, MobileNetV3Config, ResNetConfig, VggConfig, VitConfig, WideResNetConfig,
};
use crate::params::Builder;
use crate::similar_names::most_similar;
use crate::{Error, Result};

/// Makes [`Architecture`] of one line for each family: its variant, its configuration and its name in descriptions.
macro_rules! families {
    ($($(#[$meta:meta])* $variant:ident($config:ident) = $name:literal,)*) => {
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
        #[serde(tag = "family")]
        #[non_exhaustive]
        pub enum Architecture {
            $($(#[$meta])* #[serde(rename = $name)] $variant($config),)*
        }

        /// The families by name, with the keys of each.
        pub(super) const FAMILIES: &[(&str, &[&str])] = &[$(($name, $config::KEYS),)*];

        /// The names of the architectures of every family.
        const NAMES: &[&[&str]] = &[$($config::NAMES,)*];

        impl Architecture {
            fn find(name: &str) -> Option<Self> {
                None$(.or_else(|| $config::named(name).map(Architecture::$variant)))*
            }

            pub(super) fn family(&self) -> &dyn Family {
                match self {
                    $(Architecture::$variant(config) => config,)*
                }
            }

            fn family_mut(&mut self) -> &mut dyn Family {
                match self {
                    $(Architecture::$variant(config) => config,)*
                }
            }
        }
    };
}

families! {
    /// Stages of 3×3 convolutions, each followed by max pooling.
    Vgg(VggConfig) = "vgg",
    /// Residual blocks.
    ResNet(ResNetConfig) = "resnet",
    /// Wide residual blocks with batch norm before the convolutions (pre-activation).
    WideResNet(WideResNetConfig) = "wide_resnet",
    /// The four convolutions of few-shot learning.
    Conv4(Conv4Config) = "conv4",
    /// Fully connected layers.
    Mlp(MlpConfig) = "mlp",
    /// Blocks of attention on patches (ViT, DeiT).
    Vit(VitConfig) = "vit",
    /// Stages of depthwise 7×7 convolutions with two linear layers.
    ConvNext(ConvNextConfig) = "convnext",
    /// Blocks of linear layers over patches and over channels.
    Mixer(MixerConfig) = "mixer",
    /// Inverted residual blocks with ReLU6.
    MobileNetV2(MobileNetV2Config) = "mobilenet_v2",
    /// Inverted residual blocks with squeeze-and-excitation and hard swish.
    MobileNetV3(MobileNetV3Config) = "mobilenet_v3",
    /// Inverted residual blocks with squeeze-and-excitation and SiLU.
    EfficientNet(EfficientNetConfig) = "efficientnet",
    /// Blocks whose layers append channels.
    DenseNet(DenseNetConfig) = "densenet",
    /// A GPT-like decoder of embedded sequences.
    Decoder(DecoderConfig) = "decoder",
    /// A BERT-like encoder of embedded sequences.
    Encoder(EncoderConfig) = "encoder",
}

impl Architecture {
    /// The architecture of this name, for 3×32×32 images and 10 classes; the ImageNet forms are for 224×224 images and 1000 classes.
    ///
    /// **Errors** [`Error::UnknownName`] with the nearest names.
    pub fn named(name: &str) -> Result<Self> {
        Self::find(name).ok_or_else(|| Error::UnknownName {
            what: "architecture",
            name: name.to_owned(),
            nearest: most_similar(name, Self::names().iter().copied()),
        })
    }

    /// The known names.
    pub fn names() -> &'static [&'static str] {
        static ALL: OnceLock<Vec<&'static str>> = OnceLock::new();
        ALL.get_or_init(|| NAMES.concat())
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

    /// Channels of the input images; for an MLP, the numbers in one input; for sequences, the number of tokens.
    pub fn in_channels(&self) -> usize {
        self.family().input_shape().first().copied().unwrap_or(0)
    }

    /// Shape of one input: `[c, h, w]`, `[d]` for an MLP, or `[t, d]` for embedded sequences.
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
