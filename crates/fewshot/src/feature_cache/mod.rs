//! Features on disk: heads and episodes can be varied without another forward pass of the network.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use support::hexadecimal;

use crate::feature_view::Values;
use crate::{Error, FeatureView, LabelledFeatures, Result};

/// Version of the file layout; files of another version are refused.
const VERSION: &str = "fewshot-features-1";

/// SHA-256 of an input that features depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Fingerprint of bytes in memory, such as weights or a description of the preprocessing.
    ///
    /// ```
    /// let empty = fewshot::Fingerprint::of_bytes(b"");
    /// assert!(empty.as_str().starts_with("e3b0c44298fc1c14"));
    /// ```
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(support::sha256(bytes))
    }

    /// Fingerprint of a file's content, which is read in blocks.
    ///
    /// **Errors** [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self> {
        support::sha256_of_file(path).map(Self).map_err(Error::file)
    }

    /// The SHA-256 in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// All inputs that a set of features depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeatureKey {
    /// The network's weights.
    pub weights: Fingerprint,
    /// The data set, split and order.
    pub data: Fingerprint,
    /// The preprocessing of images, and the layer whose output is the features.
    pub preprocessing: Fingerprint,
}

impl FeatureKey {
    /// Fingerprint of all three; it is the name of the file.
    fn fingerprint(&self) -> Fingerprint {
        let Self { weights, data, preprocessing } = self;
        Fingerprint::of_bytes(format!("{}\n{}\n{}\n", weights.0, data.0, preprocessing.0).as_bytes())
    }
}

/// A folder of features with one safetensors file per key.
///
/// **Conventions** a file holds `features` `[n, p]` in their own precision (f32 or f64), `labels` `[n]` u32 and, where
/// attached, `base_mean` `[p]` f64. Its metadata hold the three fingerprints and a checksum of the content. Files are
/// written under a temporary name and renamed, so a killed process leaves no partial file.
///
/// ```
/// use fewshot::{FeatureCache, FeatureKey, Fingerprint, LabelledFeatures};
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let cache = FeatureCache::open(folder)?;
/// let key = FeatureKey {
///     weights: Fingerprint::of_bytes(b"weights"),
///     data: Fingerprint::of_bytes(b"glyphs, test classes"),
///     preprocessing: Fingerprint::of_bytes(b"mean 0.5, std 0.25"),
/// };
/// let compute = || LabelledFeatures::from_f32(vec![1.0, 2.0], 1, vec![0, 1]);
/// let first = cache.get_or_insert_with(&key, compute)?;
/// let again = cache.get_or_insert_with(&key, || -> fewshot::Result<_> { unreachable!("it is in the cache") })?;
/// assert_eq!(first, again);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct FeatureCache {
    folder: PathBuf,
}

impl FeatureCache {
    /// Opens the cache in this folder, and creates the folder where it is missing.
    ///
    /// **Errors** [`Error::Io`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self { folder })
    }

    /// Path of the file of a key, whether or not it exists.
    pub fn path(&self, key: &FeatureKey) -> PathBuf {
        self.folder.join(format!("{}.safetensors", key.fingerprint().0))
    }

    /// The features of a key; none where they are not cached.
    ///
    /// **Errors** [`Error::Io`]; [`Error::CacheEntry`] where the file is damaged or belongs to another key.
    pub fn get(&self, key: &FeatureKey) -> Result<Option<LabelledFeatures>> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes, key).map(Some).map_err(|reason| Error::CacheEntry { path, reason }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Stores the features of a key, and replaces an earlier file.
    ///
    /// **Errors** [`Error::Io`].
    pub fn put<'a>(&self, key: &FeatureKey, features: impl Into<FeatureView<'a>>) -> Result<()> {
        let path = self.path(key);
        let bytes = encode(features.into(), key).map_err(|reason| Error::CacheEntry { path: path.clone(), reason })?;
        support::write_file(&path, &bytes).map_err(Error::file)
    }

    /// The features of a key; where they are not cached, they are computed and stored.
    ///
    /// **Errors** those of `compute`, of [`FeatureCache::get`] and of [`FeatureCache::put`].
    pub fn get_or_insert_with<E: From<Error>>(
        &self,
        key: &FeatureKey,
        compute: impl FnOnce() -> std::result::Result<LabelledFeatures, E>,
    ) -> std::result::Result<LabelledFeatures, E> {
        if let Some(features) = self.get(key)? {
            return Ok(features);
        }
        let features = compute()?;
        self.put(key, &features)?;
        Ok(features)
    }
}

fn encode(features: FeatureView<'_>, key: &FeatureKey) -> std::result::Result<Vec<u8>, String> {
    let (dtype, values) = match features.values() {
        Values::F32(values) => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
        Values::F64(values) => (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    };
    let labels: Vec<u8> = features.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
    let mean: Option<Vec<u8>> =
        features.base_mean().map(|mean| mean.iter().flat_map(|value| value.to_le_bytes()).collect());
    let (samples, dimension) = (features.samples(), features.dimension());
    let content = content_checksum(&values, &labels, mean.as_deref());
    let view = |dtype, shape: &[usize], bytes| {
        TensorView::new(dtype, shape.to_vec(), bytes).map_err(|error| error.to_string())
    };
    let mut tensors = vec![
        ("features", view(dtype, &[samples, dimension], &values)?),
        ("labels", view(Dtype::U32, &[samples], &labels)?),
    ];
    if let Some(mean) = &mean {
        tensors.push(("base_mean", view(Dtype::F64, &[dimension], mean)?));
    }
    safetensors::serialize(tensors, Some(metadata(key, content))).map_err(|error| error.to_string())
}

fn decode(bytes: &[u8], key: &FeatureKey) -> std::result::Result<LabelledFeatures, String> {
    let text = |error: safetensors::SafeTensorError| error.to_string();
    let tensors = SafeTensors::deserialize(bytes).map_err(text)?;
    let (features, labels) = (tensors.tensor("features").map_err(text)?, tensors.tensor("labels").map_err(text)?);
    let mean = tensors.tensor("base_mean").ok();
    let content = content_checksum(features.data(), labels.data(), mean.as_ref().map(|mean| mean.data()));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(text)?;
    let found = header.metadata().clone().unwrap_or_default();
    for (name, expected) in metadata(key, content) {
        match found.get(&name) {
            Some(value) if *value == expected => {}
            other => return Err(format!("its `{name}` is {other:?}, but {expected} was expected")),
        }
    }
    let [_, dimension] = *features.shape() else { return Err("its features are not a matrix".to_owned()) };
    let labels = words(labels.data()).map(u32::from_le_bytes).collect();
    let loaded = match features.dtype() {
        Dtype::F32 => {
            LabelledFeatures::from_f32(words(features.data()).map(f32::from_le_bytes).collect(), dimension, labels)
        }
        Dtype::F64 => {
            LabelledFeatures::from_f64(words(features.data()).map(f64::from_le_bytes).collect(), dimension, labels)
        }
        other => return Err(format!("its features are {other:?}, but F32 or F64 was expected")),
    };
    let loaded = match mean {
        Some(mean) => {
            loaded.and_then(|loaded| loaded.with_base_mean(words(mean.data()).map(f64::from_le_bytes).collect()))
        }
        None => loaded,
    };
    loaded.map_err(|error| error.to_string())
}

/// Consecutive groups of `SIZE` bytes.
fn words<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    bytes.as_chunks().0.iter().copied()
}

fn metadata(key: &FeatureKey, content: String) -> HashMap<String, String> {
    [
        ("format", VERSION),
        ("weights", key.weights.as_str()),
        ("data", key.data.as_str()),
        ("preprocessing", key.preprocessing.as_str()),
        ("content", &content),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn content_checksum(features: &[u8], labels: &[u8], mean: Option<&[u8]>) -> String {
    let mut hash = Sha256::new();
    for part in [features, labels, mean.unwrap_or_default()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())
}

#[cfg(test)]
mod tests;
