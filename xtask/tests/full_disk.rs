//! A disk that becomes full during a sweep: a small tmpfs if one may be mounted, and a limit on file sizes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Settings of six short runs.
const TINY: [&str; 12] = [
    "data.classes=6",
    "data.train_images_per_class=8",
    "data.test_images_per_class=3",
    "train.epochs=2",
    "train.batch_size=8",
    "measure.schedule=[0, 1]",
    "measure.loss_window=16",
    "measure.feature_images_per_class=4",
    "measure.gc_images_per_class=2",
    "rules.resamples=100",
    "sweeps.learning-rate.values=[0.02, 0.05, 0.1]",
    "sweeps.l2.values=[0, 1e-3, 1e-2]",
];

/// The arguments of a sweep, one run after the other.
fn arguments(out: &Path) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["reproduce", "fig1", "--seed", "0", "--jobs", "1", "--threads", "1", "--out"].map(str::to_owned).to_vec();
    arguments.push(out.display().to_string());
    for setting in TINY.iter().chain(&["sweeps.batch-size.values=[8, 16]"]) {
        arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
    }
    arguments
}

fn xtask(out: &Path) -> Output {
    program::command(Path::new("."), &[]).args(arguments(out)).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let below = paths.flat_map(|path| if path.is_dir() { files(&path, name) } else { vec![path] });
    below.filter(|path| path.file_name().is_some_and(|own| own == name)).collect()
}

/// Bytes of all files below a folder, in whole pages, as a tmpfs counts them.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() { size(&path) } else { entry.metadata().unwrap().len().next_multiple_of(4096) }
    });
    bytes.sum()
}

/// A file system of this size at a folder, until it is dropped.
struct Small {
    at: PathBuf,
}

impl Small {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { at: at.to_owned() })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

#[test]
fn a_sweep_on_a_full_disk_stops_with_its_finished_runs_and_continues_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let finished = xtask(&whole);
    assert!(finished.status.success(), "{}", text(&finished));
    let runs = size(&whole.join("runs"));
    let total = size(&whole) + 2 * runs + (1 << 20);
    let Some(small) = Small::mount(&folder.path().join("small"), total) else {
        // The test harness captures the output of macros, but not of this.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no full disk was tested: this user may not mount a tmpfs");
        return;
    };
    // Space for half of the runs is left.
    let ballast = small.at.join("ballast");
    fs::write(&ballast, vec![0; usize::try_from(total - runs / 2 - 16_384).unwrap()]).unwrap();
    let out = small.at.join("out");
    let full = xtask(&out);
    let message = text(&full);
    assert_eq!(full.status.code(), Some(1), "{message}");
    assert!(message.contains("no space is left for") && message.contains("make space"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let done = files(&out, "done");
    assert!(!done.is_empty() && done.len() < files(&whole, "done").len(), "{message}");
    let before: Vec<Vec<u8>> =
        done.iter().map(|done| fs::read(done.with_file_name("metrics.jsonl")).unwrap()).collect();

    fs::remove_file(&ballast).unwrap();
    let again = xtask(&out);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains(&format!("{} of them finished before", done.len())), "{}", text(&again));
    for (done, before) in done.iter().zip(before) {
        assert_eq!(fs::read(done.with_file_name("metrics.jsonl")).unwrap(), before);
    }
    let numbers = |out: &Path| fs::read_to_string(out.join("measurements.csv")).unwrap();
    assert_eq!(numbers(&out), numbers(&whole));
}

#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_a_full_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // Two blocks of 512 bytes hold a configuration, and no measurement. The signal is ignored, so that writing fails.
    let script = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", program::PROGRAM]).args(arguments(&out)).stdin(Stdio::null());
    let limited = command.output().unwrap();
    let message = text(&limited);
    assert_eq!(limited.status.code(), Some(1), "{message}");
    assert!(message.contains("no space is left for") && !message.contains("panicked"), "{message}");
    assert!(files(&out, "done").is_empty());
    let again = xtask(&out);
    assert!(again.status.success(), "{}", text(&again));
}
