//! A short run of mutated graphs, the same on every machine: no panic, and bounded memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests, which may panic"
)]

use std::path::Path;
use std::process::Command;

use rand::Rng;

/// The number of mutations of each seed.
const ROUNDS: u64 = 400;

/// The limit of the address space in KiB. Without the checks, one false size in a file takes more.
const KILOBYTES: u64 = 4 << 20;

/// Graphs with their weights inside, of many operators.
fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let names =
        ["tiny_vit_ts", "windows_ts", "pools_ts", "padded_ts", "lstm_ts", "upsampled_dynamo", "group_norm_dynamo"];
    let mut seeds: Vec<Vec<u8>> =
        names.iter().map(|name| std::fs::read(folder.join(name).with_extension("onnx")).unwrap()).collect();
    let cases = candle_core::safetensors::load(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standard/cases.safetensors"),
        &candle_core::Device::Cpu,
    )
    .unwrap();
    let mut models: Vec<(&String, Vec<u8>)> = cases
        .iter()
        .filter(|(key, _)| key.ends_with("//model"))
        .map(|(key, model)| (key, model.to_vec1::<u8>().unwrap()))
        .collect();
    models.sort();
    seeds.extend(models.into_iter().map(|(_, model)| model));
    seeds
}

/// The seed with bits flipped, numbers made extreme, pieces cut out, doubled or moved.
fn mutated(seed: &[u8], stream: &mut streams::Stream) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..stream.random_range(1..=4) {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        let at = stream.random_range(0..length);
        let end = (at + stream.random_range(1..=8)).min(length);
        match stream.random_range(0..6) {
            0 => bytes[at] ^= 1 << stream.random_range(0..8),
            1 => bytes[at] = stream.random(),
            2 => bytes[at..end].fill(if stream.random() { 0xff } else { 0x7f }),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                let to = stream.random_range(0..=length);
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

#[test]
#[ignore = "the test below starts it in a process of limited memory"]
fn as_limited_process() {
    if std::env::var_os("FUZZ_IN_LIMITED_PROCESS").is_none() {
        return;
    }
    for (number, seed) in seeds().iter().enumerate() {
        onnx_graph::fuzzing::model(seed);
        let rounds = if number < 7 { ROUNDS } else { ROUNDS / 8 };
        for round in 0..rounds {
            let purpose = format!("onnx/mutated/{number}");
            onnx_graph::fuzzing::model(&mutated(seed, &mut streams::stream(0, &purpose, round)));
        }
    }
    println!("ALL READ");
}

/// Runs the mutated inputs in a process whose memory is limited to [`KILOBYTES`]. A larger allocation aborts it.
#[test]
#[cfg(target_os = "linux")]
fn mutated_graphs_neither_panic_nor_fill_the_memory() {
    let script = format!("ulimit -v {KILOBYTES} && exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "as_limited_process", "--ignored", "--nocapture"])
        .env("FUZZ_IN_LIMITED_PROCESS", "1")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("ALL READ"), "{printed}");
}
