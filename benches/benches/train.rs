//! One training step of every kind of network of the zoo at 32×32, batch 64: forward, backward, SGD with momentum;
//! `peers/train.py bench` does the same in PyTorch and prints the table of ratios.
//!
//! `RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo bench --package benches --bench train`
//!
//! About two minutes on an idle machine with two cores.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use models::train::{Gradients, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass, ops};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;

/// As in `peers/train.py`.
const NETS: [&str; 8] =
    ["vgg-small", "vgg13", "vgg13_bn", "vgg16", "resnet18-cifar", "resnet50-cifar", "wide-resnet28-4", "conv4"];

fn step(network: &Network, images: &Tensor, labels: &Tensor, state: &mut OptimizerState) -> models::Result<()> {
    let logits = network.tracked().logits(images, &Pass::training(1, 0))?;
    let gradients = Gradients::of(network.params(), &ops::cross_entropy(&logits, labels, 0.0)?.backward()?)?;
    Sgd { momentum: 0.9, ..Sgd::new(1e-4) }.step(network.params(), &gradients, 1.0, state)
}

fn train(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("train");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(BATCH as u64));
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/train/images", 0), BATCH * 3 * 32 * 32);
    let images = Tensor::from_vec(pixels, (BATCH, 3, 32, 32), &Device::Cpu).expect("images");
    let images = images.to_dtype(DType::F32).expect("images");
    let labels = Tensor::new((0..BATCH as u32).map(|index| index % 10).collect::<Vec<_>>(), &Device::Cpu);
    let labels = labels.expect("labels");
    for name in NETS {
        let architecture = Architecture::named(name).expect("a known name");
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu);
        let network = network.expect("a valid architecture");
        let mut state = OptimizerState::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| step(&network, &images, &labels, &mut state).expect("a step"));
        });
    }
    group.finish();
}

criterion_group!(benches, train);
criterion_main!(benches);
