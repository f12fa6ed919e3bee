//! Commands in a limited address space (`ulimit -v`): they work with as many threads as fit, or refuse with the reason.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod program;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use candle_core::{Device, Tensor, safetensors};
use program::{PROGRAM, document, text};
use serde_json::Value;

/// The program with many threads in an address space of this many KiB.
fn limited(folder: &Path, kilobytes: &str, args: &[&str]) -> Output {
    let script = "ulimit -v $0 && exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, kilobytes, PROGRAM]).args(args).current_dir(folder).stdin(Stdio::null());
    command.env("RAYON_NUM_THREADS", "16").output().unwrap()
}

/// Features of enough samples for every thread to multiply matrices.
fn save_features(path: &Path) {
    let (samples, features) = (1200, 600);
    let draws = streams::standard_normal(&mut streams::stream(1, "xtask/tests/address_space", 0), samples * features);
    let x = Tensor::from_vec(draws, (samples, features), &Device::Cpu).unwrap();
    let y = Tensor::from_iter((0..samples as u32).map(|at| at % 3), &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", x), ("labels", y)]), path).unwrap();
}

fn collapse(document: &Value) -> &Value {
    &document["collapse"]
}

#[test]
fn as_many_threads_are_started_as_fit_and_the_result_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    save_features(&folder.path().join("f.safetensors"));
    let args = ["collapse", "--features", "f.safetensors", "--json"];
    let free = document(&limited(folder.path(), "unlimited", &args));
    assert!(collapse(&free).is_object(), "{free}");
    for kilobytes in ["4194304", "6291456", "16777216"] {
        let output = limited(folder.path(), kilobytes, &args);
        // Processors with caches of gibibytes need more for one thread.
        if output.status.code() == Some(1) {
            assert!(text(&output, 1).contains("raise the limit"));
            continue;
        }
        assert_eq!(collapse(&document(&output)), collapse(&free), "{kilobytes}");
    }
}

#[test]
fn a_limit_that_is_too_small_for_one_thread_is_refused_with_its_size() {
    let folder = tempfile::tempdir().unwrap();
    save_features(&folder.path().join("f.safetensors"));
    let features = ["--features", "f.safetensors"];
    for command in [&["collapse"][..], &["fewshot", "--ways", "2", "--shots", "1", "--queries", "1"]] {
        let message = text(&limited(folder.path(), "1000000", &[command, &features[..]].concat()), 1);
        assert!(message.contains("address space is limited to 1.0 GiB (`ulimit -v`)"), "{message}");
        assert!(message.contains("raise the limit"), "{message}");
    }
    // Commands that measure nothing need no threads.
    text(&limited(folder.path(), "1000000", &["measure", "--list-models"]), 0);
    text(&limited(folder.path(), "1000000", &["data", "list"]), 0);
}
