//! Architectures as small TOML texts.

use std::path::Path;

use toml::{Table, Value};

use super::Architecture;
use super::registry::{families, family};
use crate::similar_names::most_similar;
use crate::{Error, Result};

impl Architecture {
    /// The architecture that a TOML text describes: the key `family`, then the keys of that family and no others.
    ///
    /// | family | keys |
    /// |---|---|
    /// | `mlp` | `inputs`, `hidden`, `activation`, `activation_before_head` (default true), `classes` |
    /// | `vgg` | `stages` (channels of each convolution, stage by stage), `batch_norm`, `activation`, `hidden`, `pool`, `dropout` |
    /// | `resnet` | `block`, `stem` (`cifar`, `imagenet`, `deep`), `stem_channels`, `stages` (`channels`, `blocks`, `stride`), `groups` (1), `group_width` (64), `average_down`, `activation` |
    /// | `wide_resnet` | `depth`, `widen_factor`, `base_channels`, `dropout`, `activation` |
    /// | `conv4` | `channels`, `activation` |
    /// | `vit` | `patch`, `width`, `depth`, `heads`, `mlp_ratio` (4), `features` (`token` or `mean`), `layer_scale`, `stochastic_depth`, `activation` |
    /// | `swin` | `patch` (4), `width`, `blocks`, `heads`, `window`, `mlp_ratio` (4), `stochastic_depth`, `activation` |
    /// | `convnext` | `channels`, `blocks`, `conv_mlp`, `patch` (4), `layer_scale`, `stochastic_depth`, `activation` |
    /// | `mixer` | `patch`, `width`, `depth`, `token_width`, `channel_width`, `activation` |
    /// | `mobilenet_v2` | `stem_channels`, `stem_stride`, `stages` (`expansion`, `channels`, `blocks`, `stride`, `kernel`), `last_channels`, `activation` |
    /// | `mobilenet_v3` | `stem_channels`, `stem_stride`, `blocks` (`kernel`, `expanded`, `channels`, `squeeze`, `activation`, `stride`), `last_channels`, `activation` |
    /// | `efficientnet` | `stem_channels`, `stem_stride`, `stages`, `stochastic_depth`, `activation` |
    /// | `densenet` | `stem_channels`, `imagenet_stem`, `growth`, `bottleneck` (4), `blocks`, `activation` |
    /// | `regnet` | `stem_channels`, `stages` (`channels`, `blocks`), `group_width`, `squeeze`, `activation` |
    /// | `decoder`, `encoder` | `tokens`, `width`, `depth`, `heads`, `mlp_ratio` (4), `activation`, `classes` |
    ///
    /// All families but `mlp`, `decoder` and `encoder` also have `in_channels` (default 3), `input_size` and `classes`. The defaults of
    /// the last two are `[32, 32]` and 10, from `vit` on `[224, 224]` and 1000.
    ///
    /// Before the family `mlp` had the key `activation_before_head`, it had no activation before its head. A file without the key now
    /// means a network with one; set the key to `false` for the former meaning.
    ///
    /// **Errors** [`Error::Description`] when the text is no TOML table, a key is missing or a value has the wrong type;
    /// [`Error::UnknownName`] for an unknown family; [`Error::UnknownKey`] for a key that the family does not have.
    ///
    /// ```
    /// use models::{Architecture, Error};
    /// let text = "family = 'resnet'\nblock = 'bottleneck'\nstages = [{ channels = 4, blocks = 1, stride = 1 }]\n\
    ///             input_size = [8, 12]\nclasses = 3";
    /// let resnet = Architecture::from_toml(text)?;
    /// assert_eq!((resnet.input_shape(), resnet.classes()), (vec![3, 8, 12], 3));
    /// assert_eq!(Architecture::from_toml(&resnet.to_toml()?)?, resnet);
    /// let wrong = Architecture::from_toml("family = 'mlp'\ninputs = 6\nhidden = [5]\nclasses = 2\nbatch_norm = true");
    /// assert!(matches!(wrong, Err(Error::UnknownKey { key, family: "mlp", .. }) if key == "batch_norm"));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::parse(text, "the architecture")
    }

    /// As [`Architecture::from_toml`], from a file.
    ///
    /// **Errors** as there, with the file's name, and [`Error::Io`] when the file cannot be read, is no regular file, or has more than
    /// 16 MiB.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        const LIMIT: u64 = 16 << 20;
        let path = path.as_ref();
        let text = support::read_text(path, LIMIT).map_err(|error| {
            let action = "reading an architecture";
            Error::Io { path: path.to_owned(), action, source: error.into() }
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The TOML text that describes this architecture.
    ///
    /// **Errors** [`Error::Description`] for sizes that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        self.description().map_err(|error| refused("the architecture", &error.to_string()))
    }

    fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| refused(origin, &error.to_string()))?;
        let Some(Value::String(name)) = table.remove("family") else {
            let families = families().iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ");
            return Err(refused(origin, &format!("the key `family` is missing; it is one of {families}")));
        };
        let entry = family(&name)?;
        let keys = (entry.keys)();
        if let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) {
            let nearest = most_similar(key, keys.iter().copied());
            return Err(Error::UnknownKey { origin: origin.to_owned(), key: key.clone(), family: entry.name, nearest });
        }
        (entry.from_toml)(table).map_err(|error| refused(origin, &error.to_string()))
    }
}

fn refused(origin: &str, reason: &str) -> Error {
    Error::Description { origin: origin.to_owned(), reason: reason.trim().replace('\n', "; ") }
}
