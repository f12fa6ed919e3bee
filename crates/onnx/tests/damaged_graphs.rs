//! Damaged graphs: no panic, and bounded memory.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::path::Path;

use damaged_inputs::{is_limited, read_damaged, run_in_limited_memory};

/// The number of damaged copies of each seed.
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

#[test]
#[ignore = "the test below starts it in a process of limited memory"]
fn damaged_graphs_are_read() {
    if !is_limited() {
        return;
    }
    for (number, seed) in seeds().iter().enumerate() {
        let rounds = if number < 7 { ROUNDS } else { ROUNDS / 8 };
        read_damaged(&format!("onnx/damaged/{number}"), seed, rounds, onnx_graph::fuzzing::model);
    }
}

#[test]
fn damaged_graphs_neither_panic_nor_fill_the_memory() {
    run_in_limited_memory("damaged_graphs_are_read", KILOBYTES);
}
