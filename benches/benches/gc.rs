//! Geometric complexity of VGG-13 on CIFAR-sized images; `peers/gc.py` does the same work with PyTorch.
//!
//! With `GC_PEER_FILES=<folder>` the weights and images are written there, so that the peer measures the very same net.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use gc_core::{Error, Estimate, FeatureMap, GeometricComplexity, Penalty, Population, Probe, Side};
use models::ops::cross_entropy;
use models::train::{Gradients, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Images of the estimate to 1 % and of the flat-memory check, and of a training step.
const IMAGES: usize = 2_048;
const BATCH: usize = 64;

/// VGG-13 for CIFAR (p = 512), freshly drawn.
fn network(name: &str) -> Network {
    let architecture = Architecture::named(name).expect("a known name").with_input(3, [32, 32]).with_classes(10);
    Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu).expect("a network")
}

/// Images of independent standard normal pixels: normalised, without structure.
fn images(count: usize) -> Tensor {
    let batch = |first: usize| {
        let size = BATCH.min(count - first);
        let draws = streams::standard_normal(&mut streams::stream(1, "bench/images", first as u64), size * 3_072);
        let draws: Vec<f32> = draws.into_iter().map(|draw| draw as f32).collect();
        Tensor::from_vec(draws, (size, 3, 32, 32), &Device::Cpu).expect("images")
    };
    let batches: Vec<Tensor> = (0..count).step_by(BATCH).map(batch).collect();
    Tensor::cat(&batches, 0).expect("images of one size")
}

fn measure(estimator: &GeometricComplexity, map: &dyn FeatureMap, images: &Tensor) -> Estimate {
    estimator.measure(map, [Ok::<_, Error>(images.clone())]).expect("an estimate")
}

/// Peak memory of this process in MiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? >> 10)
}

/// All 512 rows on 64 images.
fn exact(criterion: &mut Criterion) {
    let network = network("vgg13");
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let mut group = criterion.benchmark_group("gc/exact, vgg13, p=512");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(1));
    for count in [8, 64] {
        let images = images(count);
        let value = RefCell::new(None);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{count} images")), |bencher| {
            bencher.iter(|| *value.borrow_mut() = Some(measure(&GeometricComplexity::exact(), &map, &images)))
        });
        report(&format!("exact on {count} images"), value.take());
    }
    group.finish();
}

/// A relative standard error of 1 % on the value of 2,048 images, and what one probe for each of them costs.
fn estimated(criterion: &mut Criterion) {
    let network = network("vgg13");
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let images = images(IMAGES);
    let population = Population::DataSet { size: IMAGES };
    let mut group = criterion.benchmark_group("gc/estimate, vgg13, 2048 images");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(1));
    for (name, estimator) in [
        ("1 % by rows", GeometricComplexity::planned(Probe::Rademacher, 0.01).population(population)),
        (
            "1 % by columns",
            GeometricComplexity::planned(Probe::Rademacher, 0.01).by(Side::Columns).population(population),
        ),
    ] {
        let value = RefCell::new(None);
        group.bench_function(name, |bencher| {
            bencher.iter(|| *value.borrow_mut() = Some(measure(&estimator, &map, &images)))
        });
        report(name, value.take());
    }
    group.finish();
}

/// The cost of one probe a sample over the number of samples: linear in time, flat in memory.
fn streaming(criterion: &mut Criterion) {
    let network = network("vgg13");
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let mut group = criterion.benchmark_group("gc/one probe, vgg13, streamed");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(1));
    let batch = images(BATCH);
    for batches in [4, 16] {
        let estimator = GeometricComplexity::projections(Probe::Rademacher, 1);
        let value = RefCell::new(None);
        group.throughput(Throughput::Elements((batches * BATCH) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{} images", batches * BATCH)), |bencher| {
            bencher.iter(|| {
                let stream = (0..batches).map(|_| Ok::<_, Error>(batch.clone()));
                *value.borrow_mut() = Some(estimator.measure(&map, stream).expect("an estimate"))
            })
        });
        report(&format!("one probe on {} images", batches * BATCH), value.take());
    }
    group.finish();
}

/// A step of SGD on cross-entropy, and the same with the penalty of one probe.
fn training_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("gc/training step, batch {BATCH}"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(1));
    let images = images(BATCH);
    let labels: Vec<u32> = (0..BATCH as u32).map(|sample| sample % 10).collect();
    let labels = Tensor::from_vec(labels, BATCH, &Device::Cpu).expect("labels");
    let penalty = Penalty::projections(Probe::Rademacher, 1);
    let sgd = Sgd::new(1e-6);
    for name in ["vgg13", "vgg13_bn"] {
        let network = network(name);
        let view = network.tracked();
        let mut state = OptimizerState::default();
        let mut step = |loss: Tensor| {
            let gradients = Gradients::of(network.params(), &loss.backward().expect("gradients")).expect("gradients");
            sgd.step(network.params(), &gradients, 1.0, &mut state).expect("a step");
        };
        group.bench_function(BenchmarkId::new(name, "plain"), |bencher| {
            bencher.iter(|| {
                let logits = view.logits(&images, &Pass::training(0, 0)).expect("logits");
                step(cross_entropy(&logits, &labels, 0.0).expect("a loss"))
            })
        });
        group.bench_function(BenchmarkId::new(name, "penalised"), |bencher| {
            bencher.iter(|| {
                let pass = Pass::training(0, 0);
                let map = view.feature_map(pass, None).expect("features");
                let term = penalty.term(&map, &images, 0).expect("a penalty");
                let logits = view.head(&term.features, &pass).expect("logits");
                let loss = cross_entropy(&logits, &labels, 0.0).expect("a loss");
                step((loss + (term.loss * 1e-4).expect("a product")).expect("a sum"))
            })
        });
    }
    group.finish();
}

#[allow(clippy::print_stderr, reason = "criterion reports times only; the peer is compared by value and passes too")]
fn report(name: &str, estimate: Option<Estimate>) {
    let Some(estimate) = estimate else { return };
    eprintln!(
        "{name}: value {:.6} ± {:?}, {} samples × {} probes, {} passes of a sample, plan {:?}, peak {:?} MiB",
        estimate.value,
        estimate.standard_error.total,
        estimate.samples,
        estimate.probes,
        estimate.passes.total(),
        estimate.plan,
        peak_memory()
    );
}

/// Writes the weights and images for the peer, if it is asked for.
fn peer_files(_: &mut Criterion) {
    let Some(folder) = std::env::var_os("GC_PEER_FILES") else { return };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).expect("a folder that can be written");
    for name in ["vgg13", "vgg13_bn"] {
        network(name).params().save(folder.join(format!("{name}.safetensors"))).expect("weights on disk");
    }
    let tensors = HashMap::from([("images", images(IMAGES))]);
    candle_core::safetensors::save(&tensors, folder.join("images.safetensors")).expect("images on disk");
}

criterion_group!(benches, peer_files, exact, estimated, streaming, training_step);
criterion_main!(benches);
