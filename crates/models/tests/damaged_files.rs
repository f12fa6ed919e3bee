//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use candle_core::{DType, Device};
use damaged_inputs::{Reader, read_damaged, replay};
use models::train::{Checkpoint, Fit, GcPenalty, Progress, Sgd};
use models::{Architecture, Initialisation, Network, WeightsFile};

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 5] = [
    ("safetensors", readers::safetensors),
    ("pytorch", readers::pytorch),
    ("index", readers::index),
    ("checkpoint", readers::checkpoint),
    ("architecture", readers::architecture),
];

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), &READERS);
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
    read_damaged("models/damaged/safetensors", &std::fs::read(&path).unwrap(), 3000, readers::safetensors);
    let index = br#"{"metadata": {"total_size": 12}, "weight_map": {"fc.weight": "a.safetensors", "fc.bias": "b.safetensors"}}"#;
    read_damaged("models/damaged/index", index, 3000, readers::index);
}

#[test]
fn damaged_files_of_pytorch_are_errors_or_values() {
    // Written by `torch.save` of PyTorch 2.15: a state dict of a linear layer, bare and in a training script's dictionary.
    for name in ["state_dict.pth", "wrapped.pth"] {
        let path = format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(WeightsFile::open(&path).unwrap().names().collect::<Vec<_>>(), ["bias", "weight"]);
        read_damaged(&format!("models/damaged/{name}"), &std::fs::read(path).unwrap(), 3000, readers::pytorch);
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
    read_damaged("models/damaged/checkpoint", &std::fs::read(&path).unwrap(), 3000, readers::checkpoint);
    for name in ["vgg13_bn", "resnet18", "wide-resnet-28-10", "conv4"] {
        if let Ok(architecture) = Architecture::named(name) {
            read_damaged(
                &format!("models/damaged/{name}"),
                architecture.to_toml().unwrap().as_bytes(),
                1500,
                readers::architecture,
            );
        }
    }
    read_damaged("models/damaged/mlp", MLP.as_bytes(), 3000, readers::architecture);
}
