//! The engine `slurm` on a real Slurm of one node, which `slurm/start.sh` starts from Debian's packages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Four short runs.
const TINY: [&str; 13] = [
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
    "sweeps.learning-rate.values=[0.05, 0.1]",
    "sweeps.batch-size.values=[8, 16]",
    "sweeps.l2.values=[0, 1e-2]",
];

/// A cluster that is stopped at the end of the test.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster; none, with a message, if the packages or the rights are missing.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/start.sh");
        let started = Command::new("sh").arg(script).arg(folder.path()).stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8_lossy(&started.stderr).into_owned();
        match started.status.code() {
            Some(0) => Some(Self { folder }),
            Some(3) => {
                // The test harness captures the output of macros, but not of this.
                let _ = writeln!(std::io::stderr(), "SKIPPED: the engine `slurm` was not tested: {words}");
                None
            }
            code => panic!("Slurm did not start ({code:?}): {words}"),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf")).stdin(Stdio::null());
        command
    }

    fn reproduce(&self, root: &Path, out: &str, more: &[&str]) -> Command {
        let mut command = self.command(program::PROGRAM);
        command.current_dir(root).args(["reproduce", "fig1", "--seed", "0", "--out", out]).args(more);
        TINY.iter().for_each(|setting| _ = command.args(["--set", setting]));
        command
    }

    /// The names of all tasks that have not ended.
    fn queue(&self) -> Vec<String> {
        let output = self.command("squeue").args(["--noheader", "--array", "--format=%i"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/start.sh");
        let _ = Command::new("sh").arg(script).arg("stop").arg(self.folder.path()).status();
    }
}

fn succeeded(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn numbers(root: &Path, out: &str) -> String {
    fs::read_to_string(root.join(out).join("measurements.csv")).unwrap()
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The process of a run, with the folder of the run.
fn at_work(results: &Path) -> Option<(u32, PathBuf)> {
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Ok(process) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        if let Some(run) = words.iter().find(|word| word.starts_with(&*results.to_string_lossy()))
            && words.iter().any(|word| word == "run")
        {
            return Some((process, PathBuf::from(run)));
        }
    }
    None
}

#[test]
fn an_array_gives_the_same_numbers_and_lost_runs_are_done_again() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&cluster.reproduce(root, "local", &[]).output().unwrap());
    let slurm = ["--engine", "slurm", "--jobs", "2", "--sbatch=--partition=all"];

    // One run is killed on its node: its task ends without a result, and it is submitted again.
    let mut watcher = cluster.reproduce(root, "killed-run", &slurm);
    let watcher = watcher.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (process, run) = until("a run at work", || at_work(&root.join("killed-run")));
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
    succeeded(&watcher.wait_with_output().unwrap());
    assert_eq!(numbers(root, "killed-run"), numbers(root, "local"));
    let arrays = fs::read_to_string(root.join("killed-run/slurm/arrays.jsonl")).unwrap();
    let times = arrays.lines().filter(|line| line.contains(&*run.to_string_lossy())).count();
    assert_eq!(times, 2, "{arrays}");

    // The watcher itself is killed: the tasks go on, and the next watcher finds them instead of submitting them twice.
    let mut watcher = cluster.reproduce(root, "killed-watcher", &["--engine", "slurm", "--jobs", "1"]);
    let mut watcher = watcher.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a run at work", || at_work(&root.join("killed-watcher")));
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    assert!(!cluster.queue().is_empty());
    succeeded(&cluster.reproduce(root, "killed-watcher", &["--engine", "slurm"]).output().unwrap());
    assert_eq!(numbers(root, "killed-watcher"), numbers(root, "local"));
    let arrays = fs::read_to_string(root.join("killed-watcher/slurm/arrays.jsonl")).unwrap();
    assert_eq!(arrays.lines().count(), 1, "{arrays}");

    // Ctrl-C takes what is waiting out of the queue.
    let mut watcher = cluster.reproduce(root, "stopped", &["--engine", "slurm", "--jobs", "1"]);
    let watcher = watcher.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("a run at work", || at_work(&root.join("stopped")));
    assert!(Command::new("kill").args(["-INT", &watcher.id().to_string()]).status().unwrap().success());
    let stopped = watcher.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    until("an empty queue", || cluster.queue().is_empty().then_some(()));
}

#[test]
fn without_slurm_the_engine_is_refused_by_name_and_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |code: i32, args: &[&str]| {
        let mut command = program::command(folder.path(), &["reproduce"]);
        let output = command.env("PATH", folder.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = refused(1, &["fig1", "--engine", "slurm"]);
    assert!(missing.contains("`slurm` needs the command `sbatch`") && missing.contains("--engine local"), "{missing}");
    let without = refused(2, &["fig1", "--sbatch=--partition=gpu"]);
    assert!(without.contains("--sbatch needs --engine slurm"), "{without}");
    for option in ["--array=0-3", "-a0-3", "-o", "partition=gpu"] {
        let own = refused(2, &["fig1", "--engine", "slurm", &format!("--sbatch={option}")]);
        assert!(own.contains(&format!("--sbatch {option}: expected an option for sbatch")), "{own}");
    }
}
