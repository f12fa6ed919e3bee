//! Reads of values by the host in a training step.
//!
//! They are counted on the CPU under `composed`, where the operations take the path of a device and a read counts as on a device.
//! `tests/cuda.rs` counts them on a device.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use gc_core::{Penalty, Probe};
use models::ops::{composed, host};
use models::train::{Adam, Fit, GcPenalty, Gradients, LabelledBatch, Optimizer, Progress, Sgd};
use models::{Architecture, Initialisation, Network, Pass};
use support::assert_close;

/// One test at a time: the count is that of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Two residual blocks with batch norm, a stride and a projection.
fn resnet() -> Network {
    let text = "family = 'resnet'\ninput_size = [8, 8]\nclasses = 3\n\
                stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 1, stride = 2 }]";
    let architecture = Architecture::from_toml(text).unwrap();
    Network::new(&architecture, Initialisation::HeNormal, 1, DType::F64, &Device::Cpu).unwrap()
}

fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(3, "tests/host-reads", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn batch(index: u64) -> candle_core::Result<(Tensor, Tensor)> {
    Ok((draw(&[4, 3, 8, 8], index), Tensor::new(&[0u32, 1, 2, 1], &Device::Cpu)?))
}

fn penalty() -> GcPenalty {
    GcPenalty { strength: 0.1, estimator: Penalty::projections(Probe::Rademacher, 2) }
}

/// The reads of `work`, and its result.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = host::reads();
    let result = work();
    (host::reads() - before, result)
}

fn train(fit: &Fit) -> Network {
    let network = resnet();
    let hook = |_: &Network, _| Ok(ControlFlow::Continue(()));
    fit.run(&network, &mut Progress::default(), &mut batch, hook).unwrap();
    network
}

/// The labels of each batch, and all values of the step together. Under `composed` labels count as if they were on the device.
#[test]
fn a_step_reads_the_labels_and_its_values() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let steps = 3;
    let plain = Fit { clip: Some(1.0), ema: Some(0.9), ..Fit::new(steps, Sgd { momentum: 0.9, ..Sgd::new(0.01) }) };
    let adam = Fit { optimizer: Optimizer::from(Adam::new(0.01)), ..plain.clone() };
    let penalised = Fit { penalty: Some(penalty()), ..plain.clone() };
    let accumulated = Fit { accumulate: 2, ..penalised.clone() };
    for (fit, of_step) in [(plain, 1 + 1), (adam, 1 + 1), (penalised, 1 + 1), (accumulated, 2 + 1)] {
        let (reads, composed) = counted(|| composed(|| train(&fit)));
        assert_eq!(reads, steps * of_step, "{fit:?}");
        // The kernels of the CPU wait for nothing, and reach the same parameters and running statistics.
        let (reads, by_kernel) = counted(|| train(&fit));
        assert_eq!(reads, 0);
        for (name, parameter) in by_kernel.params().iter() {
            let [found, expected] = [&composed.params().get(name).unwrap().var, &parameter.var]
                .map(|var| var.as_detached_tensor().to_dtype(DType::F64).unwrap());
            assert_close(name, &found, &expected, 1e-9);
        }
    }
}

/// The loss of a batch is read when it is asked for.
#[test]
fn gradients_alone_read_the_labels_only() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (network, (images, labels)) = (resnet(), batch(0).unwrap());
    let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.1 };
    let pass = Pass::training(1, 0);
    let (reads, (loss, _)) = counted(|| composed(|| Gradients::of_loss_tensor(&network, &batch, &pass)).unwrap());
    assert_eq!(reads, 1);
    let (reads, (value, gradients)) = counted(|| composed(|| Gradients::of_loss(&network, &batch, &pass)).unwrap());
    assert_eq!(reads, 2);
    assert_eq!(host::read_scalar(&loss).unwrap(), value);
    let penalised = || Gradients::of_penalised_loss(&network, &batch, &penalty(), 0, &pass).unwrap();
    assert_eq!(counted(|| composed(penalised)).0, 2);
    assert_eq!(counted(|| composed(|| gradients.squared_norm()).unwrap()).0, 1);
}

/// The counter sees only reads that go through `ops::host`, so no code that a step runs reads values itself.
#[test]
fn no_operation_or_layer_reads_values_uncounted() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["ops/src", "models/src", "tape/src"] {
        direct_reads(&root.join(folder), &mut found);
    }
    assert!(found.is_empty(), "read through `ops::host`:\n{}", found.join("\n"));
}

const READS: [&str; 8] =
    [".to_vec0", ".to_vec1", ".to_vec2", ".to_vec3", "to_scalar", "to_device(&Device::Cpu)", "dtoh", ".synchronize("];

/// The lines outside tests and docs that read a tensor's values.
fn direct_reads(path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        // Weights are read from and compared with files outside a step.
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let in_step =
            |path: &PathBuf| !path.ends_with("params") && !path.ends_with("tests") && !path.ends_with("tests.rs");
        entries.filter(in_step).for_each(|path| direct_reads(&path, found));
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("ops/src/host.rs") {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"));
    let reading = lines.filter(|(line, _)| READS.iter().any(|read| line.contains(read)));
    found.extend(reading.map(|(line, number)| format!("{}:{number}: {}", path.display(), line.trim())));
}
