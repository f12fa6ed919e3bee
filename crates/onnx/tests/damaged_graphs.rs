//! Damaged graphs: no panic, and bounded memory.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::path::Path;

use damaged_inputs::{is_limited, read_damaged, replay, run_in_limited_memory};

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

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), &[("model", onnx_graph::fuzzing::model)]);
}

#[test]
fn a_size_of_zero_does_not_hide_sizes_that_overflow() {
    let found = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found/model-of-no-numbers-with-huge-sizes");
    let model = onnx_graph::Model::from_bytes(std::fs::read(found).unwrap()).unwrap();
    let device = candle_core::Device::Cpu;
    let refused = model.graph(&onnx_graph::Layer::Output, candle_core::DType::F32, &device).err().unwrap();
    assert!(refused.to_string().contains("the tensor `w` has a size of ["), "{refused}");
}
