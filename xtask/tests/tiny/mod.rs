//! A tiny experiment of five runs, each of which takes a fraction of a second.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Settings of `fig4`: a few classes, a few images, a narrow network, two epochs.
pub(crate) const TINY: [&str; 19] = [
    "data.classes=6",
    "data.train_images_per_class=8",
    "data.test_images_per_class=3",
    "data.target_classes=5",
    "data.target_images_per_class=8",
    "model.width=0.05",
    "train.epochs=2",
    "train.batch_size=8",
    "measure.schedule=[0, 1]",
    "measure.loss_window=16",
    "measure.feature_images_per_class=4",
    "measure.gc_images_per_class=2",
    "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
    "sweeps.learning-rate.values=[0.05, 0.1]",
    "sweeps.batch-size.values=[8, 16]",
    "sweeps.l2.values=[0, 1e-2]",
    "sweeps.gc-penalty.values=[0, 1e-2]",
    // As in the earlier version of the experiment, of which `old_results` has runs.
    "measure.loss_levels=[0.9, 0.75, 0.6, 0.45, 0.3]",
    "measure.layers=[]",
];

/// The arguments of the tiny experiment, with more of them.
pub(crate) fn reproduce<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["reproduce", "fig4", "--seed", "0", "--jobs", "1", "--threads", "1", "--out", out];
    for setting in TINY {
        args.extend(["--set", setting]);
    }
    args.extend(more);
    args
}

/// A file as text.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// All files below a folder, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { _ = fs::copy(&path, &target).unwrap() }
    }
}
