//! The trait of all families of architectures, their common defaults and checks.

use std::fmt::Debug;

use ops::Activation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::BodyAndHead;
use crate::params::Builder;
use crate::{Error, Result};

/// A family of networks: sizes as data, and the layers that they describe.
///
/// The struct's fields are the keys of its TOML description (see [`Architecture::from_toml`](crate::Architecture::from_toml)). With
/// [`Architecture::of`](crate::Architecture::of) any family is an architecture; one that is
/// [registered](crate::Architecture::register) is also read from descriptions and checkpoints.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::layer::{ActivationLayer, Flatten, Linear, Sequential};
/// use models::ops::Activation;
/// use models::{Architecture, BodyAndHead, Builder, Family, Initialisation, Network, Pass, takes_images};
/// use serde::{Deserialize, Serialize};
///
/// /// One hidden layer on flattened images.
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Shallow {
///     width: usize,
///     activation: Activation,
///     in_channels: usize,
///     input_size: [usize; 2],
///     classes: usize,
/// }
///
/// impl Family for Shallow {
///     const NAME: &'static str = "shallow";
///     takes_images!();
///
///     fn scale_width(&mut self, factor: f64) {
///         self.width = (self.width as f64 * factor).round() as usize;
///     }
///
///     fn has_batch_norm(&self) -> bool {
///         false
///     }
///
///     fn head_name(&self) -> String {
///         "head".into()
///     }
///
///     fn build(&self, mut builder: Builder<'_>) -> models::Result<BodyAndHead> {
///         let inputs = self.in_channels * self.input_size[0] * self.input_size[1];
///         let mut body = Sequential::default();
///         body.push("flatten", Flatten);
///         body.push("hidden", Linear::new(builder.under("hidden"), inputs, self.width)?);
///         body.push("act", ActivationLayer(self.activation));
///         BodyAndHead::new(body, builder, &self.head_name(), self.width, self.classes)
///     }
/// }
///
/// Architecture::register::<Shallow>()?;
/// let text = "family = 'shallow'\nwidth = 5\nactivation = 'gelu'\nin_channels = 1\ninput_size = [4, 4]\nclasses = 3";
/// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
/// let images = Tensor::zeros((2, 1, 4, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.frozen().features(&images, &Pass::evaluation())?.dims(), [2, 5]);
/// # Ok::<(), models::Error>(())
/// ```
pub trait Family: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the family, the value of the key `family`.
    const NAME: &'static str;

    /// The names of its presets.
    const PRESETS: &'static [&'static str] = &[];

    /// The preset of this name.
    fn preset(_name: &str) -> Option<Self> {
        None
    }

    /// Outputs of the head.
    fn classes(&self) -> usize;

    /// Sets the outputs of the head.
    fn set_classes(&mut self, classes: usize);

    /// Shape of one input, without the batch: `[c, h, w]`, `[t, d]` or `[d]`.
    fn input_shape(&self) -> Vec<usize>;

    /// Sets the channels and the `[height, width]` of the images.
    fn set_input(&mut self, channels: usize, size: [usize; 2]);

    /// Multiplies every width.
    fn scale_width(&mut self, factor: f64);

    /// Sets the activation.
    fn set_activation(&mut self, activation: Activation);

    /// Whether it has batch norm.
    fn has_batch_norm(&self) -> bool;

    /// The name of the head.
    fn head_name(&self) -> String;

    /// The position embeddings of the patches of an image, if it has them: they belong to one image size, and
    /// [`WeightsFile::interpolate_positions`](crate::WeightsFile::interpolate_positions) resamples them for another.
    fn image_positions(&self) -> Option<ImagePositions> {
        None
    }

    /// The layers, with parameters from `builder`.
    ///
    /// # Errors
    /// [`Error::Setting`] for impossible sizes.
    fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead>;
}

/// Position embeddings `[1, tokens, width]` of which all but the first belong to a grid of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagePositions {
    /// The name of the parameter.
    pub name: &'static str,
    /// Tokens before the patches: 1 with a class token.
    pub tokens_before: usize,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
}

pub(super) fn relu() -> Activation {
    Activation::Relu
}

pub(super) fn is_relu(activation: &Activation) -> bool {
    *activation == relu()
}

pub(super) fn gelu() -> Activation {
    Activation::Gelu
}

pub(super) fn imagenet_size() -> [usize; 2] {
    [224, 224]
}

pub(super) fn thousand() -> usize {
    1000
}

pub(super) fn rgb() -> usize {
    3
}

pub(super) fn two() -> usize {
    2
}

pub(super) fn four() -> usize {
    4
}

pub(super) fn cifar_size() -> [usize; 2] {
    [32, 32]
}

pub(super) fn ten() -> usize {
    10
}

/// A width times `factor`, at least one; 0, which is refused later, for a factor that is not finite and positive.
pub(super) fn scaled(width: usize, factor: f64) -> usize {
    if factor.is_finite() && factor > 0.0 { ((width as f64 * factor).round() as usize).max(1) } else { 0 }
}

/// The methods of [`Family`] that families for images share: `classes`, `set_classes`, `input_shape`, `set_input` and
/// `set_activation`, for a struct with the fields `classes`, `in_channels`, `input_size` and `activation`.
#[macro_export]
macro_rules! takes_images {
    () => {
        fn classes(&self) -> usize {
            self.classes
        }

        fn set_classes(&mut self, classes: usize) {
            self.classes = classes;
        }

        fn input_shape(&self) -> ::std::vec::Vec<usize> {
            ::std::vec![self.in_channels, self.input_size[0], self.input_size[1]]
        }

        fn set_input(&mut self, channels: usize, size: [usize; 2]) {
            (self.in_channels, self.input_size) = (channels, size);
        }

        fn set_activation(&mut self, activation: $crate::ops::Activation) {
            self.activation = activation;
        }
    };
}
pub(super) use crate::takes_images;

/// The methods of [`Family`] that the families for embedded sequences share, and the check of their sizes; they have fields of these
/// names.
macro_rules! takes_sequences {
    () => {
        fn classes(&self) -> usize {
            self.classes
        }

        fn set_classes(&mut self, classes: usize) {
            self.classes = classes;
        }

        fn input_shape(&self) -> Vec<usize> {
            vec![self.tokens, self.width]
        }

        /// The pixels become tokens, and the channels the numbers in each.
        fn set_input(&mut self, channels: usize, size: [usize; 2]) {
            (self.tokens, self.width) = (size[0].saturating_mul(size[1]), channels);
        }

        fn set_activation(&mut self, activation: Activation) {
            self.activation = activation;
        }

        fn has_batch_norm(&self) -> bool {
            false
        }

        fn scale_width(&mut self, factor: f64) {
            self.width = super::blocks::scaled_in_steps(self.width, factor, self.heads);
        }
    };
}
pub(super) use takes_sequences;

/// The sizes of a transformer of embedded sequences.
pub(super) struct SequenceSizes {
    pub(super) tokens: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) heads: usize,
    pub(super) mlp_ratio: usize,
    pub(super) classes: usize,
}

impl SequenceSizes {
    /// Refuses impossible sizes.
    pub(super) fn require(&self) -> Result<()> {
        let sizes = [("tokens", self.tokens), ("width", self.width), ("mlp_ratio", self.mlp_ratio)];
        sizes.into_iter().try_for_each(|(name, size)| require_size(name, size))?;
        require_size("classes", self.classes)?;
        require_count("depth", self.depth)?;
        crate::layer::require_heads(self.width, self.heads)
    }
}

/// Larger sizes are mistakes, and products of them would overflow.
const LARGEST_SIZE: usize = 1 << 24;

/// Refuses a size of zero and a size beyond [`LARGEST_SIZE`].
pub(super) fn require_size(name: &'static str, value: usize) -> Result<()> {
    if (1..=LARGEST_SIZE).contains(&value) {
        return Ok(());
    }
    let rule = "it lies between 1 and 16777216";
    Err(Error::Setting { op: "architecture", name, value: value.to_string(), rule })
}

/// Refuses impossible images and numbers of classes.
pub(super) fn require_images(in_channels: usize, input_size: [usize; 2], classes: usize) -> Result<()> {
    require_size("in_channels", in_channels)?;
    input_size.into_iter().try_for_each(|side| require_size("input_size", side))?;
    require_size("classes", classes)
}

/// Refuses a number of layers or blocks outside 1 to 4096.
pub(super) fn require_count(name: &'static str, value: usize) -> Result<()> {
    if (1..=4096).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting { op: "architecture", name, value: value.to_string(), rule: "it lies between 1 and 4096" })
}

/// Pixels of an image after halving its sides this number of times; an odd row or column is dropped each time.
pub(super) fn pixels_after_halving(size: [usize; 2], times: usize) -> Result<usize> {
    let halved = |size: usize| (0..times).fold(size, |size, _| size / 2);
    match halved(size[0]).saturating_mul(halved(size[1])) {
        0 => Err(Error::Setting {
            op: "architecture",
            name: "input_size",
            value: format!("{size:?}"),
            rule: "each stage halves both sides, and none may reach 0; pad or resize the images, or use fewer stages",
        }),
        pixels => Ok(pixels),
    }
}

/// Refuses a probability outside [0, 1).
pub(super) fn require_probability(dropout: f64) -> Result<()> {
    if (0.0..1.0).contains(&dropout) {
        return Ok(());
    }
    let value = dropout.to_string();
    Err(Error::Setting { op: "architecture", name: "dropout", value, rule: "it is a probability in [0, 1)" })
}
