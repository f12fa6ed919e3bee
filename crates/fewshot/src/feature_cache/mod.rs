//! Features on disk, so that heads and episodes are explored without running the network again.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::atomic_file::AtomicFile;
use crate::checksum::hexadecimal;
use crate::features::Values;
use crate::{Error, LabelledFeatures, Result};

/// The version of the file layout; files of another are refused.
const VERSION: &str = "fewshot-features-1";

/// The SHA-256 of something that features depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of bytes in memory: weights, or a description of the preprocessing.
    ///
    /// ```
    /// let empty = fewshot::Fingerprint::of_bytes(b"");
    /// assert!(empty.as_str().starts_with("e3b0c44298fc1c14"));
    /// ```
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hexadecimal(&Sha256::digest(bytes)))
    }

    /// Of a file's content, read block by block.
    ///
    /// **Errors** [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut file = fs::File::open(path).map_err(Error::io(path))?;
        let mut hash = Sha256::new();
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block).map_err(Error::io(path))? {
                0 => return Ok(Self(hexadecimal(&hash.finalize()))),
                count => hash.update(&block[..count]),
            }
        }
    }

    /// In hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything that a set of features depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeatureKey {
    /// The network's weights.
    pub weights: Fingerprint,
    /// The data set, split and order.
    pub data: Fingerprint,
    /// What is done to an image before the network, and which layer is read.
    pub preprocessing: Fingerprint,
}

impl FeatureKey {
    /// The fingerprint of the three together, which names the file.
    fn fingerprint(&self) -> Fingerprint {
        let Self { weights, data, preprocessing } = self;
        Fingerprint::of_bytes(format!("{}\n{}\n{}\n", weights.0, data.0, preprocessing.0).as_bytes())
    }
}

/// A folder of features, one safetensors file for each key.
///
/// **Conventions** a file holds `features` `[n, p]` (f32 or f64, as they came), `labels` `[n]` u32 and, where attached,
/// `base_mean` `[p]` f64; its metadata hold the three fingerprints and a checksum of the content. Files are written
/// beside their place and renamed, so that a killed process leaves no half of one.
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
    /// The cache in this folder, which is made where it is missing.
    ///
    /// **Errors** [`Error::Io`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self { folder })
    }

    /// Where the features of a key are or would be.
    pub fn path(&self, key: &FeatureKey) -> PathBuf {
        self.folder.join(format!("{}.safetensors", key.fingerprint().0))
    }

    /// The features of a key, or none.
    ///
    /// **Errors** [`Error::Io`]; [`Error::CacheEntry`] where the file is damaged or of another key.
    pub fn get(&self, key: &FeatureKey) -> Result<Option<LabelledFeatures>> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes, key).map(Some).map_err(|reason| Error::CacheEntry { path, reason }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// Stores the features of a key in place of what was there.
    ///
    /// **Errors** [`Error::Io`].
    pub fn put(&self, key: &FeatureKey, features: &LabelledFeatures) -> Result<()> {
        let path = self.path(key);
        let bytes = encode(features, key).map_err(|reason| Error::CacheEntry { path: path.clone(), reason })?;
        let mut file = AtomicFile::create(&path)?;
        file.write_all(&bytes).map_err(Error::io(&path))?;
        file.commit()
    }

    /// The features of a key, computed and stored where they are missing.
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

fn encode(features: &LabelledFeatures, key: &FeatureKey) -> std::result::Result<Vec<u8>, String> {
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
    let [_, dimension] = *features.shape() else { return Err("its features are no matrix".to_owned()) };
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

/// The numbers of `SIZE` bytes each.
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
