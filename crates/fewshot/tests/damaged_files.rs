//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use fewshot::{EpisodeSampler, FeatureCache, FeatureView, TaskListWriter};
use rand::Rng;

type Reader = fn(&[u8]);

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 2] = [("task_list", readers::task_list), ("feature_cache", readers::feature_cache)];

/// Runs a reader over the input and over damaged copies of it.
fn run(name: &str, seed: &[u8], rounds: u64, read: impl Fn(&[u8])) {
    read(seed);
    for round in 0..rounds {
        let mut stream = streams::stream(0, &format!("fewshot/damaged/{name}"), round);
        let mut below = |n: u64| stream.random_range(0..n);
        read(&support::damaged(seed, &mut below));
    }
}

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let read = READERS.iter().find(|(reader, _)| name.starts_with(reader));
        read.unwrap_or_else(|| panic!("{name} starts with no reader's name")).1(&bytes);
    }
}

#[test]
fn damaged_task_lists_are_errors_or_values() {
    let labels = readers::labels();
    let sampler = EpisodeSampler::fixed(&labels, 3, 2, 4, 9).unwrap();
    let mut writer = TaskListWriter::new(Vec::new(), &labels, Some(&sampler)).unwrap();
    sampler.episodes().take(3).for_each(|episode| writer.write(&episode).unwrap());
    run("task list", &writer.finish().unwrap(), 3000, readers::task_list);
}

#[test]
fn damaged_files_of_cached_features_are_errors_or_values() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let features = FeatureView::from_f64(&[0.5, 1.5, 2.5, 3.5], 2, &[0, 1]).unwrap();
    cache.put(&readers::key(), features).unwrap();
    let seed = std::fs::read(cache.path(&readers::key())).unwrap();
    assert!(cache.get(&readers::key()).unwrap().is_some());
    run("feature cache", &seed, 3000, readers::feature_cache);
}
