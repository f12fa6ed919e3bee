//! A tiny experiment of five runs, each of which takes a fraction of a second.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// The program with these arguments, in a folder.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder).args(args).stdin(Stdio::null());
    command
}

/// The arguments of the tiny experiment, with more of them.
pub(crate) fn reproduce<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["reproduce", "fig4", "--seed", "0", "--jobs", "1", "--threads", "1", "--out", out];
    for setting in TINY {
        args.extend(["--set", setting]);
    }
    args.extend(more);
    args
}

/// Runs a command.
pub(crate) fn xtask(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// Standard output and standard error of a command, with its exit code checked.
pub(crate) fn text(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
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
