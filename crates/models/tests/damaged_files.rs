//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use candle_core::{DType, Device};
use models::train::{Checkpoint, Fit, GcPenalty, Progress, Sgd};
use models::{Architecture, Initialisation, Network, WeightsFile};
use rand::Rng;

type Reader = fn(&[u8]);

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 5] = [
    ("safetensors", readers::safetensors),
    ("pytorch", readers::pytorch),
    ("index", readers::index),
    ("checkpoint", readers::checkpoint),
    ("architecture", readers::architecture),
];

/// Runs a reader over the input and over damaged copies of it.
fn run(name: &str, seed: &[u8], rounds: u64, read: impl Fn(&[u8])) {
    read(seed);
    for round in 0..rounds {
        let mut stream = streams::stream(0, &format!("models/damaged/{name}"), round);
        let mut below = |n: u64| stream.random_range(0..n);
        read(&support::damaged(seed, &mut below));
    }
}

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let read = READERS.iter().find(|(reader, _)| name.starts_with(reader));
        read.unwrap_or_else(|| panic!("{name} starts with no reader's name")).1(&bytes);
    }
}

const MLP: &str = "family = 'mlp'\ninputs = 4\nhidden = [5, 3]\nclasses = 2";

fn network() -> Network {
    let architecture = Architecture::from_toml(MLP).unwrap();
    Network::new(&architecture, Initialisation::Pytorch, 1, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn damaged_safetensors_and_indices_are_errors_or_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    network().params().save(&path).unwrap();
    run("safetensors", &std::fs::read(&path).unwrap(), 3000, readers::safetensors);
    let index = br#"{"metadata": {"total_size": 12}, "weight_map": {"fc.weight": "a.safetensors", "fc.bias": "b.safetensors"}}"#;
    run("index", index, 3000, readers::index);
}

#[test]
fn damaged_files_of_pytorch_are_errors_or_values() {
    // Written by `torch.save` of PyTorch 2.15: a state dict of a linear layer, bare and in a training script's dictionary.
    for name in ["state_dict.pth", "wrapped.pth"] {
        let path = format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(WeightsFile::open(&path).unwrap().names().collect::<Vec<_>>(), ["bias", "weight"]);
        run(name, &std::fs::read(path).unwrap(), 3000, readers::pytorch);
    }
}

#[test]
fn damaged_checkpoints_and_descriptions_are_errors_or_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step-1.safetensors");
    let penalty = GcPenalty { strength: 0.1, estimator: gc_core::Penalty::exact() };
    let fit = Fit { penalty: Some(penalty), ..Fit::new(3, Sgd::new(0.1)) };
    Checkpoint::write(&path, &fit, &network(), &Progress::default(), Some(0.5), serde_json::json!({ "seen": 3 }))
        .unwrap();
    run("checkpoint", &std::fs::read(&path).unwrap(), 3000, readers::checkpoint);
    for name in ["vgg13_bn", "resnet18", "wide-resnet-28-10", "conv4"] {
        if let Ok(architecture) = Architecture::named(name) {
            run(name, architecture.to_toml().unwrap().as_bytes(), 1500, readers::architecture);
        }
    }
    run("mlp", MLP.as_bytes(), 3000, readers::architecture);
}
