//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use damaged_inputs::{Reader, read_damaged, replay};
use fewshot::{EpisodeSampler, FeatureCache, FeatureView, TaskListWriter};

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 2] = [("task_list", readers::task_list), ("feature_cache", readers::feature_cache)];

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), &READERS);
}

#[test]
fn damaged_task_lists_are_errors_or_values() {
    let labels = readers::labels();
    let sampler = EpisodeSampler::fixed(&labels, 3, 2, 4, 9).unwrap();
    let mut writer = TaskListWriter::new(Vec::new(), &labels, Some(&sampler)).unwrap();
    sampler.episodes().take(3).for_each(|episode| writer.write(&episode).unwrap());
    read_damaged("fewshot/damaged/task list", &writer.finish().unwrap(), 3000, readers::task_list);
}

#[test]
fn damaged_files_of_cached_features_are_errors_or_values() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let features = FeatureView::from_f64(&[0.5, 1.5, 2.5, 3.5], 2, &[0, 1]).unwrap();
    cache.put(&readers::key(), features).unwrap();
    let seed = std::fs::read(cache.path(&readers::key())).unwrap();
    assert!(cache.get(&readers::key()).unwrap().is_some());
    read_damaged("fewshot/damaged/feature cache", &seed, 3000, readers::feature_cache);
}
