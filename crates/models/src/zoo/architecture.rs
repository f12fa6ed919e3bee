//! An architecture as data: one family and its sizes.

use ops::Activation;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::any_family::AnyFamily;
use super::registry::{self, Entry};
use super::{BodyAndHead, Family, ImagePositions};
use crate::Result;
use crate::params::Builder;
use crate::similar_names::most_similar;

/// A family of networks with its sizes, from a name, from a TOML table (see [`Architecture::from_toml`]) or from the sizes
/// themselves.
///
/// ```
/// use models::{Architecture, VggConfig};
/// let vgg = Architecture::named("vgg13")?.with_classes(100).with_input(1, [28, 28]);
/// assert_eq!((vgg.classes(), vgg.in_channels()), (100, 1));
/// assert_eq!(vgg.config::<VggConfig>().unwrap().stages.len(), 5);
/// assert!(Architecture::named("vgg12").is_err());
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug)]
pub struct Architecture(Box<dyn AnyFamily>);

impl Clone for Architecture {
    fn clone(&self) -> Self {
        Self(self.0.cloned())
    }
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(other.0.as_ref())
    }
}

/// As a table: the key `family`, then the keys of that family.
impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.to_json().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut table = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
        let name = match table.remove("family") {
            Some(serde_json::Value::String(name)) => name,
            _ => return Err(serde::de::Error::missing_field("family")),
        };
        let entry = registry::family(&name).map_err(serde::de::Error::custom)?;
        (entry.from_json)(table.into()).map_err(serde::de::Error::custom)
    }
}

impl Architecture {
    /// The architecture of a family with these sizes.
    pub fn of<F: Family>(config: F) -> Self {
        Self(Box::new(config))
    }

    /// Makes a family known by its name, so that it is read from descriptions and from checkpoints, with its presets. To be called
    /// once at the start of a program; a family of this crate is known already.
    ///
    /// **Errors** [`Error::Setting`](crate::Error::Setting) when another family has the name.
    pub fn register<F: Family>() -> Result<()> {
        registry::register(Entry::of::<F>())
    }

    /// The architecture of this name, for 3×32×32 images and 10 classes; the ImageNet forms are for 224×224 images and 1000 classes.
    ///
    /// **Errors** [`Error::UnknownName`](crate::Error::UnknownName) with the nearest names.
    pub fn named(name: &str) -> Result<Self> {
        registry::families().into_iter().find_map(|entry| (entry.preset)(name)).ok_or_else(|| {
            crate::Error::UnknownName {
                what: "architecture",
                name: name.to_owned(),
                nearest: most_similar(name, Self::names()),
            }
        })
    }

    /// The known names.
    pub fn names() -> Vec<&'static str> {
        registry::families().into_iter().flat_map(|entry| entry.presets).copied().collect()
    }

    /// The name of the family.
    pub fn family_name(&self) -> &'static str {
        self.0.name()
    }

    /// The sizes, if the family is `F`.
    pub fn config<F: Family>(&self) -> Option<&F> {
        self.0.as_any().downcast_ref()
    }

    /// The sizes, to be changed, if the family is `F`.
    pub fn config_mut<F: Family>(&mut self) -> Option<&mut F> {
        self.0.as_any_mut().downcast_mut()
    }

    /// The same architecture for another number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.0.set_classes(classes);
        self
    }

    /// The same architecture for images of other channels and `[height, width]`; an MLP flattens them.
    pub fn with_input(mut self, in_channels: usize, input_size: [usize; 2]) -> Self {
        self.0.set_input(in_channels, input_size);
        self
    }

    /// The same architecture with every width times `factor`, rounded, at least one channel. A factor that is not finite and
    /// positive gives widths that [`Network::new`](crate::Network::new) refuses.
    pub fn with_width(mut self, factor: f64) -> Self {
        self.0.scale_width(factor);
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
        self.0.set_activation(activation);
        self
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.0.classes()
    }

    /// Channels of the input images; for an MLP, the numbers in one input.
    pub fn in_channels(&self) -> usize {
        self.input_shape().first().copied().unwrap_or(0)
    }

    /// Shape of one input: `[c, h, w]`, `[t, d]` for tokens, or `[d]` for an MLP.
    pub fn input_shape(&self) -> Vec<usize> {
        self.0.input_shape()
    }

    /// Whether the network holds batch norm, so that training and evaluation differ.
    pub fn has_batch_norm(&self) -> bool {
        self.0.has_batch_norm()
    }

    /// The name of the head, the last linear layer: its parameters are `<name>.weight` and `<name>.bias`.
    pub fn head_name(&self) -> String {
        self.0.head_name()
    }

    /// The position embeddings of the patches of an image, if it has them.
    pub fn image_positions(&self) -> Option<ImagePositions> {
        self.0.image_positions()
    }

    pub(super) fn description(&self) -> std::result::Result<String, toml::ser::Error> {
        self.0.to_toml()
    }

    pub(crate) fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead> {
        self.0.build(builder)
    }
}
