//! Standard output and exit codes: closed pipes, full disks, and which errors are errors in the command line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod tiny;

use std::fs;
use std::process::Stdio;

use tiny::{command, read, reproduce, text, xtask};

/// Commands that print, which need a results folder `out` with finished runs.
fn printing() -> Vec<Vec<&'static str>> {
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["reproduce", "--help"],
        vec!["completions", "bash"],
        vec!["data", "list", "--long"],
        vec!["reproduce", "--list"],
        reproduce("out", &[]),
        reproduce("new", &[]),
        reproduce("out", &["--dry-run"]),
    ]
}

#[test]
fn a_pipe_that_is_closed_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("out", &[])), 0);
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

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_on_standard_output_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("out", &[])), 0);
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
    let wrong: [&[&str]; 14] = [
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
    ];
    for args in wrong {
        let printed = text(&xtask(root, args), 2);
        assert!(!printed.is_empty(), "{args:?}");
    }
    let failing: [&[&str]; 6] = [
        &["reproduce", "missing.toml"],
        &["reproduce", "bad.toml"],
        &["reproduce", "--out", "file"],
        &["reproduce", "--out", "newer"],
        &["run", "file"],
        &["rank", "--runs", "missing"],
    ];
    for args in failing {
        let printed = text(&xtask(root, args), 1);
        assert!(printed.contains("error: "), "{args:?}: {printed}");
    }
    assert!(!root.join("results").exists());
}
