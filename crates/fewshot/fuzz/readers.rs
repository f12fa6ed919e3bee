//! The readers of this crate, for fuzzers and for the test `damaged_files`: any bytes give a value or an error.

use fewshot::{FeatureCache, FeatureKey, Fingerprint, TaskListReader};

/// The labels of the task lists.
pub(crate) fn labels() -> Vec<u32> {
    (0..60).map(|row| row % 5 + 10).collect()
}

/// The key of the cached features.
pub(crate) fn key() -> FeatureKey {
    let part = |text: &str| Fingerprint::of_bytes(text.as_bytes());
    FeatureKey { weights: part("weights"), data: part("data"), preprocessing: part("preprocessing") }
}

/// A task list.
pub(crate) fn task_list(bytes: &[u8]) {
    let labels = labels();
    let Ok(episodes) = TaskListReader::new(bytes, &labels) else { return };
    episodes.for_each(drop);
}

/// A file of cached features.
pub(crate) fn feature_cache(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = FeatureCache::open(folder.path()).expect("a cache");
    std::fs::write(cache.path(&key()), bytes).expect("a written file");
    let _ = cache.get(&key());
}
