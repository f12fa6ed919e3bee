//! The families that are known by their names.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

use super::keys::keys_of;
use super::own_layers::OwnLayers;
use super::{
    Architecture, Conv4Config, ConvNextConfig, DecoderConfig, DenseNetConfig, EfficientNetConfig, EncoderConfig,
    Family, MixerConfig, MlpConfig, MobileNetV2Config, MobileNetV3Config, ResNetConfig, VggConfig, VitConfig,
    WideResNetConfig,
};
use crate::similar_names::most_similar;
use crate::{Error, Result};

/// The families of this crate, in the order in which their presets are listed. A new one is a line here.
const FAMILIES: &[Entry] = &[
    Entry::of::<VggConfig>(),
    Entry::of::<ResNetConfig>(),
    Entry::of::<WideResNetConfig>(),
    Entry::of::<Conv4Config>(),
    Entry::of::<MlpConfig>(),
    Entry::of::<VitConfig>(),
    Entry::of::<ConvNextConfig>(),
    Entry::of::<MixerConfig>(),
    Entry::of::<MobileNetV2Config>(),
    Entry::of::<MobileNetV3Config>(),
    Entry::of::<EfficientNetConfig>(),
    Entry::of::<DenseNetConfig>(),
    Entry::of::<DecoderConfig>(),
    Entry::of::<EncoderConfig>(),
    Entry::of::<OwnLayers>(),
];

/// The families that other code registered.
static REGISTERED: RwLock<Vec<Entry>> = RwLock::new(Vec::new());

/// One family, without its type.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// The identity of its type.
    id: fn() -> TypeId,
    pub(super) presets: &'static [&'static str],
    /// The preset of a name.
    pub(super) preset: fn(&str) -> Option<Architecture>,
    /// The keys of a description, without `family`.
    pub(super) keys: fn() -> &'static [&'static str],
    pub(super) from_json: fn(serde_json::Value) -> serde_json::Result<Architecture>,
    pub(super) from_toml: fn(toml::Table) -> std::result::Result<Architecture, toml::de::Error>,
}

impl Entry {
    pub(super) const fn of<F: Family>() -> Self {
        Self {
            name: F::NAME,
            id: TypeId::of::<F>,
            presets: F::PRESETS,
            preset: |name| F::preset(name).map(Architecture::of),
            keys: keys_of::<F>,
            from_json: |value| F::deserialize(value).map(Architecture::of),
            from_toml: |table| F::deserialize(table).map(Architecture::of),
        }
    }
}

/// All known families.
pub(super) fn families() -> Vec<Entry> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    FAMILIES.iter().chain(registered.iter()).copied().collect()
}

/// The family of this name.
pub(super) fn family(name: &str) -> Result<Entry> {
    let families = families();
    families.iter().find(|entry| entry.name == name).copied().ok_or_else(|| Error::UnknownName {
        what: "architecture family",
        name: name.to_owned(),
        nearest: most_similar(name, families.iter().map(|entry| entry.name)),
    })
}

/// Adds a family; adding it again changes nothing.
pub(super) fn register(entry: Entry) -> Result<()> {
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let same = |known: &&Entry| known.name == entry.name;
    match FAMILIES.iter().chain(registered.iter()).find(same) {
        None => registered.push(entry),
        Some(known) if (known.id)() == (entry.id)() => {}
        Some(_) => {
            let rule = "another family has this name; choose another `Family::NAME`";
            return Err(Error::Setting { op: "register", name: "family", value: entry.name.to_owned(), rule });
        }
    }
    Ok(())
}
