//! Results that were altered or mixed up, files that killed processes left half written, children whose parent was killed, and
//! outputs that are not regular files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};

use program::{text, xtask};
use tiny::{copy, files, read, reproduce};

/// The run folders of a results folder, in the order of their names.
fn runs(results: &Path) -> Vec<PathBuf> {
    let mut runs: Vec<PathBuf> =
        fs::read_dir(results.join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

#[test]
fn altered_results_are_recognised_and_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("out", &[])), 0);
    text(&xtask(root, &reproduce("other-seed", &["--seed", "1"])), 0);
    let csv = read(root.join("out/measurements.csv"));
    let own = runs(&root.join("out"));
    let again = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(again.contains("5 runs, 5 of them finished before") && !again.contains("unsigned"), "{again}");

    // A digit of a measurement, the measurements of another run, the outcome of another run, the folder of another seed, a digit of
    // the program's version.
    let metrics = own[0].join("metrics.jsonl");
    let line = read(&metrics);
    let at = line.find("\"gc\":{\"value\":").unwrap() + "\"gc\":{\"value\":".len();
    let digit = if line.as_bytes()[at] == b'1' { "2" } else { "1" };
    fs::write(&metrics, format!("{}{digit}{}", &line[..at], &line[at + 1..])).unwrap();
    fs::copy(own[0].join("done"), own[1].join("done")).unwrap();
    fs::copy(own[3].join("metrics.jsonl"), own[2].join("metrics.jsonl")).unwrap();
    let last = own[3].clone();
    fs::remove_dir_all(&last).unwrap();
    copy(&runs(&root.join("other-seed"))[0], &last);

    let record = own[4].join("record.json");
    let altered = read(&record).replacen("\"version\": \"0", "\"version\": \"9", 1);
    assert_ne!(altered, read(&record));
    fs::write(&record, altered).unwrap();

    let plan = text(&xtask(root, &reproduce("out", &["--dry-run"])), 0);
    assert_eq!(plan.matches("unusable, to be done again").count(), 5, "{plan}");
    let printed = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(printed.contains("5 runs, 0 of them finished before"), "{printed}");
    assert_eq!(printed.matches("do not match their signature").count(), 4, "{printed}");
    assert_eq!(printed.matches("belongs to another run: `seed` is 1, expected 0").count(), 1, "{printed}");
    assert_eq!(read(root.join("out/measurements.csv")), csv);
    let again = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(again.contains("5 runs, 5 of them finished before"), "{again}");
}

#[test]
fn a_checkpoint_of_another_configuration_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("out", &[])), 0);
    let run = runs(&root.join("out"))[0].clone();
    let expected = [read(run.join("done")), read(run.join("metrics.jsonl"))];
    // A run with other measurements, but the same training, killed after a checkpoint.
    let other = root.join("other");
    fs::create_dir(&other).unwrap();
    let configuration = read(run.join("run.toml")).replace("gc_probes = 1", "gc_probes = 3");
    fs::write(other.join("run.toml"), configuration).unwrap();
    let checkpoint =
        || files(&other.join("checkpoints")).into_iter().find(|path| path.extension().unwrap() == "safetensors");
    let found = (0..50).find_map(|_| {
        let mut child = program::command(root, &["run", "other", "--checkpoint-every", "1"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let found = loop {
            match (checkpoint(), child.try_wait().unwrap()) {
                (Some(path), _) => break Some(path),
                (None, Some(_)) => break None,
                (None, None) => {}
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        found.filter(|path| path.exists()).or_else(|| {
            _ = fs::remove_file(other.join("done"));
            None
        })
    });
    let checkpoint = found.unwrap();
    fs::remove_file(run.join("done")).unwrap();
    fs::create_dir(run.join("checkpoints")).unwrap();
    fs::copy(&checkpoint, run.join("checkpoints").join(checkpoint.file_name().unwrap())).unwrap();
    let printed = text(&xtask(root, &["run", run.to_str().unwrap()]), 0);
    assert!(printed.contains("is ignored: it belongs to a run with another configuration"), "{printed}");
    assert_eq!([read(run.join("done")), read(run.join("metrics.jsonl"))], expected);
}

#[test]
fn a_run_that_diverges_before_its_first_measurement_is_diverged() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // Of any size, so that it diverges at once or after some steps, and with measuring points at the end or at each step.
    for (rate, schedule) in [("1e30", "[1]"), ("1e38", "[0.08, 0.17, 1]"), ("1e6", "[0.08, 0.17, 0.25, 0.34, 1]")] {
        let values = format!("sweeps.learning-rate.values=[0.05, {rate}]");
        let schedule = format!("measure.schedule={schedule}");
        let settings = ["--set", &values, "--set", &schedule, "--set", "model.batch_norm=false"];
        let printed = text(&xtask(root, &reproduce("out", &settings)), 0);
        assert!(printed.contains("DIVERGED at step") && printed.contains("diverged at step"), "{rate}: {printed}");
        assert!(!printed.contains("failed"), "{rate}: {printed}");
        let csv = read(root.join("out/claims.csv"));
        assert!(csv.lines().count() > 10, "{csv}");
        let page = read(root.join("out/report.html"));
        assert!(page.contains("diverged at step") && !page.contains("NaN"), "{rate}");
        let again = text(&xtask(root, &reproduce("out", &settings)), 0);
        assert!(again.contains("6 runs, 6 of them finished before"), "{again}");
        fs::remove_dir_all(root.join("out")).unwrap();
    }
}

#[test]
fn temporary_files_of_killed_processes_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("out", &[])), 0);
    let run = runs(&root.join("out"))[0].clone();
    fs::remove_file(run.join("done")).unwrap();
    for path in
        [root.join("out/.report.html.4242.partial"), run.join(".done.4242.partial"), run.join(".run.toml.x.partial")]
    {
        fs::write(path, "half").unwrap();
    }
    fs::create_dir(run.join("checkpoints")).unwrap();
    fs::write(run.join("checkpoints/step-000000000001.safetensors.4242.part"), "half").unwrap();
    let printed = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(printed.contains("5 runs, 4 of them finished before"), "{printed}");
    let left: Vec<PathBuf> = files(&root.join("out"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "partial" || end == "part"))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[cfg(unix)]
#[test]
fn outputs_that_are_links_or_pipes_are_refused_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pipe = root.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(root.join("target"), "kept").unwrap();
    std::os::unix::fs::symlink(root.join("target"), root.join("link")).unwrap();

    // As the results folder.
    for out in ["pipe", "link"] {
        let printed = text(&xtask(root, &reproduce(out, &[])), 1);
        assert!(printed.contains(out) && printed.contains("--out"), "{printed}");
    }
    text(&xtask(root, &reproduce("out", &[])), 0);
    let run = runs(&root.join("out"))[0].clone();
    // As a file of the report, of a run, and of the run's log.
    for (path, code) in [
        (root.join("out/report.html"), 1),
        (root.join("out/measurements.csv"), 1),
        (root.join("out/lock"), 1),
        (run.join("log.txt"), 1),
        (run.join("run.toml"), 1),
        (run.join("lock"), 1),
    ] {
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(run.join("done")).unwrap();
        std::os::unix::fs::symlink(root.join("target"), &path).unwrap();
        let output = xtask(root, &reproduce("out", &[]));
        if code == 1 {
            let printed = text(&output, 1);
            assert!(
                printed.contains("it is a symbolic link, expected a regular file"),
                "{}: {printed}",
                path.display()
            );
        }
        assert_eq!(read(root.join("target")), "kept", "{}", path.display());
        fs::remove_file(&path).unwrap();
        fs::write(&path, before).unwrap();
        text(&xtask(root, &reproduce("out", &[])), 0);
    }
    // As an input in the results folder: it is not opened, which would wait for its writer.
    let finished = ["done", "metrics.jsonl", "record.json", "run.toml"].map(|name| run.join(name));
    for path in finished.into_iter().chain([root.join("out/experiment-before-runs.toml"), root.join("out/format")]) {
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let output = xtask(root, &reproduce("out", &[]));
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {:?}", path.display(), output.status);
        if fs::symlink_metadata(&path).unwrap().is_file() {
            continue;
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, before).unwrap();
    }
    text(&xtask(root, &reproduce("out", &[])), 0);
    // As the file of another command.
    for chart in ["pipe", "link"] {
        let printed =
            text(&xtask(root, &["data", "show", "glyphs", "--classes", "2", "--per-class", "1", "--out", chart]), 1);
        assert!(printed.contains("expected a regular file"), "{printed}");
    }
    assert_eq!(read(root.join("target")), "kept");
    assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
}

#[cfg(target_os = "linux")]
mod children {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    /// The processes whose command line contains a text.
    fn processes(part: &str) -> Vec<u32> {
        let line = |process: u32| fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let all = fs::read_dir("/proc").unwrap().map_while(Result::ok);
        let all = all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        all.filter(|process| String::from_utf8_lossy(&line(*process)).contains(part)).collect()
    }

    fn until(what: &str, mut happened: impl FnMut() -> bool) {
        let since = Instant::now();
        while !happened() {
            assert!(since.elapsed() < Duration::from_secs(60), "waited too long: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the command with SIGKILL while a child is at work, and waits for the end of the child.
    fn child_ends(root: &Path, args: &[&str], child: impl Fn(u32) -> String) {
        let mut parent = program::command(root, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = child(parent.id());
        until("a child is at work", || {
            assert!(parent.try_wait().unwrap().is_none(), "the command ended before a child was seen");
            !processes(&child).is_empty()
        });
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the child ends", || processes(&child).is_empty());
    }

    #[test]
    fn runs_end_when_their_parent_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("out/runs").display().to_string();
        let long = ["--set", "train.epochs=1000000", "--set", "measure.loss_levels=[0.9]"];
        child_ends(folder.path(), &reproduce("out", &long), |_| runs.clone());
        // Their locks are released: the next command can start them again.
        let printed = text(&xtask(folder.path(), &["run", "out/runs"]), 1);
        assert!(printed.contains("is no run folder"), "{printed}");
    }

    #[test]
    fn pilots_end_when_their_parent_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let large = ["reproduce", "fig4", "--dry-run", "--seed", "0", "--threads", "1", "--jobs", "1"];
        let settings = ["model.architecture=resnet18-cifar", "train.batch_size=64", "measure.layers=[]"];
        let settings = settings.map(|setting| ["--set", setting]).concat();
        child_ends(folder.path(), &[&large[..], &settings].concat(), |parent| format!("reproduce-pilot-{parent}-"));
    }
}
