//! Standard output and exit codes: closed pipes, full disks, and which errors are errors in the command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod tiny;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use program::{command, printed, text, xtask};
use tiny::{read, reproduce};

/// Commands that print, which need a results folder `out` with finished runs.
fn printing() -> Vec<Vec<&'static str>> {
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["reproduce", "--help"],
        vec!["completions", "bash"],
        vec!["man"],
        vec!["man", "--out", "pages"],
        vec!["measure", "--list-models"],
        vec!["measure", "--help"],
        vec!["collapse", "--features", "f.csv"],
        vec!["collapse", "--features", "f.csv", "--json"],
        vec!["fewshot", "--features", "f.csv", "--ways", "2", "--shots", "1", "--queries", "1", "--episodes", "20"],
        vec!["rank", "--runs", "ranked"],
        vec!["rank", "--runs", "ranked", "--json"],
        vec!["data", "verify", "glyphs", "--faces", "1"],
        vec!["bench", "--help"],
        vec!["data", "list", "--long"],
        vec!["reproduce", "--list"],
        reproduce("out", &[]),
        reproduce("new", &[]),
        reproduce("out", &["--dry-run"]),
    ]
}

/// Makes what the commands of [`printing`] need.
fn prepare(root: &Path) {
    text(&xtask(root, &reproduce("out", &[])), 0);
    fs::create_dir(root.join("ranked")).unwrap();
    let columns = "seed,status,measuring_point,at,gc,gc_standard_error,ridge_accuracy,ridge_accuracy_standard_error\n";
    let rows: String = (1..6).map(|run| format!("{run},counted,schedule,1,{run},0.1,0.{run},0.01\n")).collect();
    fs::write(root.join("ranked/measurements.csv"), columns.to_owned() + &rows).unwrap();
    fs::write(root.join("f.csv"), "f0,f1,label\n0,0,0\n0,2,0\n1,1,0\n4,0,1\n4,3,1\n5,1,1\n").unwrap();
}

#[test]
fn a_pipe_that_is_closed_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    prepare(root);
    for args in printing() {
        for close_errors in [false, true] {
            let mut child = command(root, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            if close_errors {
                drop(child.stderr.take());
            }
            let output = child.wait_with_output().unwrap();
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{args:?}: {printed}");
            assert!(!printed.contains("panicked"), "{args:?}: {printed}");
        }
    }
    assert!(read(root.join("new/report.html")).ends_with("</html>"), "the work goes on without a reader");
}

#[test]
fn what_is_printed_fits_into_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    prepare(root);
    let commands: [&[&str]; 8] = [
        &["measure", "--list-models"],
        &["collapse", "--features", "f.csv"],
        &["fewshot", "--features", "f.csv", "--ways", "2", "--shots", "1", "--queries", "1", "--episodes", "20"],
        &["rank", "--runs", "ranked"],
        &["data", "list"],
        &["data", "list", "--long"],
        &["data", "verify", "glyphs", "--faces", "1"],
        &["reproduce", "--list"],
    ];
    for args in commands {
        let printed = printed(root, args);
        assert!(!printed.is_empty(), "{args:?}");
        for line in printed.lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_on_standard_output_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    prepare(root);
    for args in printing() {
        let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let output = command(root, &args).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let printed = text(&output, 1);
        assert!(
            printed.contains("error: cannot write to standard output") && printed.contains("(os error 28)"),
            "{args:?}: {printed}"
        );
        // Even without a place for the message.
        let output = command(root, &args).stdout(full()).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
    assert!(read(root.join("new/report.html")).ends_with("</html>"), "the report is written nevertheless");
}

#[test]
fn errors_in_the_command_line_end_with_2_and_others_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("file"), "").unwrap();
    fs::write(root.join("bad.toml"), "title = 1\n[presets.quick]\n").unwrap();
    fs::create_dir(root.join("newer")).unwrap();
    fs::write(root.join("newer/format"), "4000").unwrap();
    let wrong: [&[&str]; 32] = [
        &[],
        &["no-such-command"],
        &["reproduce", "--no-such-option"],
        &["reproduce", "no-such-experiment"],
        &["reproduce", "--preset", "no-such-preset"],
        &["reproduce", "--data", "no-such-data"],
        &["reproduce", "--data", "cifar10"],
        &["reproduce", "--set", "no.such=key"],
        &["reproduce", "--set", "train.epochs=-1"],
        &["reproduce", "--seed", "1,1"],
        &["reproduce", "--jobs", "0"],
        &["reproduce", "--sbatch=--partition=a"],
        &["reproduce", "all", "--data", "glyphs"],
        &["run"],
        &["measure"],
        &["measure", "--model", "resnet81", "--weights", "file", "--data", "glyphs"],
        &["measure", "--model", "resnet18", "--weights", "file", "--data", "gylphs"],
        &["measure", "--model", "resnet18", "--weights", "file", "--data", "glyphs:half"],
        &["measure", "--model", "resnet18", "--weights", "file"],
        &["measure", "--model", "resnet18", "--weights", "file", "--data", "glyphs", "--device", "cuda:9"],
        &["measure", "--model", "resnet18", "--weights", "file", "--inputs", "file", "--std", "1"],
        &["measure", "--model", "resnet18", "--weights", "file", "--data", "glyphs", "--mean", "0,0", "--std", "1"],
        &["measure", "--list-models", "--json"],
        &["fewshot", "--features", "file", "--heads", "no-such-head"],
        &["rank"],
        &["rank", "a.safetensors", "--data", "glyphs"],
        &["rank", "file", "--model", "resnet18", "--data", "glyphs", "--head", "no-such-head"],
        &["rank", "file", "--model", "resnet18", "--data", "glyphs", "--by", "gcc"],
        &["rank", "--list", "missing", "--data", "glyphs", "--by", "gcc"],
        &["rank", "file", "--model", "resnet18", "--data", "glyphs:half"],
        &["data", "show", "no-such-data"],
        &["man", "no-such-command"],
    ];
    for args in wrong {
        let printed = text(&xtask(root, args), 2);
        assert!(!printed.is_empty(), "{args:?}");
    }
    let failing: [&[&str]; 9] = [
        &["reproduce", "missing.toml"],
        &["reproduce", "bad.toml"],
        &["reproduce", "--out", "file"],
        &["reproduce", "--out", "newer"],
        &["run", "file"],
        &["rank", "--runs", "missing"],
        // Before any download.
        &["measure", "--model", "resnet18", "--weights", "missing", "--data", "cifar10"],
        &["measure", "--model", "resnet18", "--weights", "hub:owner/name", "--data", "folder:missing"],
        &["rank", "missing", "--model", "resnet18", "--data", "cifar10"],
    ];
    for args in failing {
        let printed = text(&xtask(root, args), 1);
        assert!(printed.contains("error: "), "{args:?}: {printed}");
    }
    assert!(!root.join("results").exists());
}
