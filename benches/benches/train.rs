//! One training step of every kind of network of the zoo at 32×32, batch 64: forward, backward, SGD with momentum;
//! `peers/train.py bench` does the same in PyTorch and prints the table of ratios.
//!
//! `RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo bench --package benches --bench train`
//!
//! Also one step of VGG-13 against its width.
//!
//! About three minutes on an idle machine with two cores.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::collections::HashMap;
use std::path::Path;

use benches::{Chosen, Curve, Work, device, long_steps, peaks, quick, with_unit_layer_scale};
use candle_core::{DType, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::train::{Gradients, LabelledBatch, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;
const SHAPE: &str = "64x3x32x32";

/// The same values as in `peers/train.py`.
const NETS: [&str; 10] = [
    "vgg-small",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "resnet18-cifar",
    "resnet50-cifar",
    "wide-resnet28-4",
    "conv4",
    "vit-tiny-cifar",
    "convnext-atto-cifar",
];

fn step(network: &Network, images: &Tensor, labels: &Tensor, state: &mut OptimizerState) -> models::Result<()> {
    let (_, gradients) =
        Gradients::of_loss(network, &LabelledBatch { images, labels, label_smoothing: 0.0 }, &Pass::training(1, 0))?;
    Sgd { momentum: 0.9, ..Sgd::new(1e-4) }.step(network.params(), &gradients, 1.0, state)
}

/// Normal pixels, and labels 0, 1, 2, … in turn.
fn batch(on: &Chosen) -> (Tensor, Tensor) {
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/train/images", 0), BATCH * 3 * 32 * 32);
    let pixels: Vec<f32> = pixels.into_iter().map(|pixel| pixel as f32).collect();
    let images = Tensor::from_vec(pixels, (BATCH, 3, 32, 32), &on.device).expect("images");
    let labels = Tensor::new((0..BATCH as u32).map(|index| index % 10).collect::<Vec<_>>(), &on.device);
    (images, labels.expect("labels"))
}

/// With `TRAIN_PEER_FILES=<folder>` writes every net's weights, a batch, and our loss and gradient of the first weight in
/// training mode, which the peer computes again before the timing starts.
fn peer_files(_: &mut Criterion) {
    let Some(folder) = std::env::var_os("TRAIN_PEER_FILES") else { return };
    std::fs::create_dir_all(&folder).expect("a folder that can be written");
    let on = device().expect("the device of BENCH_DEVICE");
    for name in if quick() { &NETS[..1] } else { &NETS[..] } {
        case(name, &Path::new(&folder).join(format!("{name}.safetensors")), &on).expect("a case for the peer");
    }
}

fn case(name: &str, path: &Path, on: &Chosen) -> models::Result<()> {
    let network = Network::new(&Architecture::named(name)?, Initialisation::HeNormal, 1, DType::F32, &on.device)?;
    let network = with_unit_layer_scale(network)?;
    let (images, labels) = batch(on);
    // Saved before the pass, because it updates the running statistics.
    let mut tensors: HashMap<String, Tensor> = network
        .params()
        .iter()
        .map(|(name, parameter)| Ok((name.to_owned(), parameter.var.copy()?)))
        .collect::<models::Result<_>>()?;
    let (loss, gradients) = Gradients::of_loss(
        &network,
        &LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 },
        &Pass::training(1, 0),
    )?;
    let loss = Tensor::new(loss as f32, &on.device)?;
    // The first convolution, whose gradient depends on the backward pass of all other layers.
    let first = network.params().trainable().find(|(_, var)| var.dims().len() == 4 && var.dims()[1] == 3);
    let (first, _) = first.expect("a convolution of colour images");
    let gradient = gradients.get(first).expect("a gradient of every weight").clone();
    tensors.extend([("case/images".to_owned(), images), ("case/labels".to_owned(), labels)]);
    tensors.extend([("case/loss".to_owned(), loss), (format!("case/gradient/{first}"), gradient)]);
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn train(criterion: &mut Criterion) {
    let on = device().expect("the device of BENCH_DEVICE");
    let mut group = criterion.benchmark_group("train");
    long_steps(&mut group);
    group.throughput(Throughput::Elements(BATCH as u64));
    let (images, labels) = batch(&on);
    for name in if quick() { &NETS[..1] } else { &NETS[..] } {
        let architecture = Architecture::named(name).expect("a known name");
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device);
        let network = network.expect("a valid architecture");
        let mut state = OptimizerState::default();
        group.bench_function(BenchmarkId::new(*name, on.id(SHAPE)), |bencher| {
            bencher.iter(|| on.finished(|| step(&network, &images, &labels, &mut state).expect("a step")));
        });
    }
    group.finish();
}

/// A step of VGG-13 with this number of channels in the first stage, and 2, 4, 8 and 8 times as many in the others.
fn growth(criterion: &mut Criterion) {
    const GROUP: &str = "train/vgg13 step against width";
    let on = device().expect("the device of BENCH_DEVICE");
    let mut curve = Curve::default();
    let mut group = criterion.benchmark_group(GROUP);
    long_steps(&mut group);
    group.throughput(Throughput::Elements(BATCH as u64));
    let (images, labels) = batch(&on);
    let full = Architecture::named("vgg13").expect("a known name");
    for width in if quick() { vec![8, 16, 32] } else { vec![16, 32, 64, 128] } {
        let architecture = full.clone().with_width(width as f64 / 64.0);
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device);
        let network = network.expect("a valid architecture");
        let mut state = OptimizerState::default();
        let stages = [1, 2, 4, 8, 8].map(|times| vec![width * times; 2]);
        // Forward, gradient with respect to the inputs and to the weights; the optimiser reads weight, gradient and momentum and writes two.
        let passes = Work::vgg_pass(&stages, 3, 32).times(3.0 * BATCH as f64);
        let update = Work { operations: 0.0, bytes: 20.0 * network.params().trainable_count() as f64 };
        curve.point(format!("{GROUP}/{}", on.id(width)), passes.and(update));
        group.bench_function(BenchmarkId::from_parameter(on.id(width)), |bencher| {
            bencher.iter(|| on.finished(|| step(&network, &images, &labels, &mut state).expect("a step")));
        });
    }
    group.finish();
    curve.write(Path::new(env!("CARGO_TARGET_TMPDIR")), "train").expect("the target directory is writable");
}

criterion_group!(benches, peer_files, train, growth, peaks);
criterion_main!(benches);
