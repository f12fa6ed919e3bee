//! Each convolution of VGG-13 and of the CIFAR ResNet-18, and whole steps of both; `peers/ops.py` does the same work in
//! PyTorch and prints the table of ratios.
//!
//! `RAYON_NUM_THREADS=2 CANDLE_NUM_THREADS=2 cargo bench --package benches --bench ops`
//!
//! The throughput of a layer is nominal: two operations for every product of the direct sum, whichever algorithm ran. The
//! `peak` is that of the gemm crate on large square matrices, with which the table compares.
//!
//! About two minutes on an idle machine with two cores.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use benches::{CPU, device, long_steps, peaks, quick};
use candle_core::{DType, Device, Result, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::kernels::{Accuracy, ConvGeometry, conv_forward, conv_input_grad, conv_weight_grad};
use models::train::{Gradients, LabelledBatch, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;

/// A square convolution: input and output channels, image size, kernel size, stride.
#[derive(Clone, Copy)]
struct Layer(usize, usize, usize, usize, usize);

/// Every shape of the two networks once.
const LAYERS: [Layer; 15] = [
    Layer(3, 64, 32, 3, 1),
    Layer(64, 64, 32, 3, 1),
    Layer(64, 128, 16, 3, 1),
    Layer(128, 128, 16, 3, 1),
    Layer(128, 256, 8, 3, 1),
    Layer(256, 256, 8, 3, 1),
    Layer(256, 512, 4, 3, 1),
    Layer(512, 512, 4, 3, 1),
    Layer(512, 512, 2, 3, 1),
    Layer(64, 128, 32, 3, 2),
    Layer(128, 256, 16, 3, 2),
    Layer(256, 512, 8, 3, 2),
    Layer(64, 128, 32, 1, 2),
    Layer(128, 256, 16, 1, 2),
    Layer(256, 512, 8, 1, 2),
];

impl Layer {
    /// The name that `peers/ops.py` uses.
    fn name(self) -> String {
        let Self(inputs, outputs, size, kernel, stride) = self;
        format!("{inputs}-{outputs} {size}x{size} kernel {kernel} stride {stride}")
    }

    /// The name, the batch and the device.
    fn id(self) -> String {
        format!("{}, batch {BATCH}{CPU}", self.name())
    }

    fn geometry(self, batch: usize) -> ConvGeometry {
        let Self(in_channels, out_channels, size, kernel, stride) = self;
        ConvGeometry {
            batch,
            height: size,
            width: size,
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
        }
    }
}

fn normal(purpose: &str, count: usize) -> Vec<f32> {
    let draws = streams::standard_normal(&mut streams::stream(1, purpose, 0), count);
    draws.into_iter().map(|value| value as f32).collect()
}

/// Input, weight and output gradient of a layer.
fn numbers(geometry: &ConvGeometry) -> [Vec<f32>; 3] {
    [
        normal("bench/ops/x", geometry.input_len()),
        normal("bench/ops/weight", geometry.weight_len()),
        normal("bench/ops/gradient", geometry.output_len()),
    ]
}

/// Writes inputs and our results for some layers at batch 2, which the peer computes again before the timing starts.
fn write_cases(path: &Path) -> Result<()> {
    let mut tensors = HashMap::new();
    for layer in LAYERS {
        let g = layer.geometry(2);
        let [x, weight, gradient] = numbers(&g);
        let fast = Accuracy::Fast;
        let results = [
            ("y", models::kernels::conv_forward_to_vec(&g, fast, &x, &weight, None)),
            ("grad_x", models::kernels::conv_input_grad_to_vec(&g, fast, &gradient, &weight)),
            ("grad_weight", models::kernels::conv_weight_grad_to_vec(&g, fast, &x, &gradient)),
        ];
        for (name, values) in [("x", x), ("weight", weight), ("gradient", gradient)].into_iter().chain(results) {
            let shape = match name {
                "x" | "grad_x" => (2, g.height, g.width, g.in_channels),
                "y" | "gradient" => (2, g.out_height(), g.out_width(), g.out_channels),
                _ => (g.out_channels, g.in_channels, g.kernel[0], g.kernel[1]),
            };
            tensors.insert(format!("{}/{name}", layer.name()), Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
    }
    candle_core::safetensors::save(&tensors, path)
}

fn layers(criterion: &mut Criterion) {
    let cases = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ops.safetensors");
    write_cases(&cases).expect("the target directory is writable");
    let mut group = criterion.benchmark_group("convolution");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    for layer in if quick() { &LAYERS[..2] } else { &LAYERS[..] } {
        let g = layer.geometry(BATCH);
        let [x, weight, gradient] = numbers(&g);
        group.throughput(Throughput::Elements(2 * g.multiplications() as u64));
        let mut y = vec![0.0; g.output_len()];
        group.bench_function(BenchmarkId::new("forward", layer.id()), |bencher| {
            bencher.iter(|| conv_forward(&g, Accuracy::Fast, black_box(&x), &weight, None, &mut y));
        });
        let mut grad_x = vec![0.0; g.input_len()];
        group.bench_function(BenchmarkId::new("input gradient", layer.id()), |bencher| {
            bencher.iter(|| conv_input_grad(&g, Accuracy::Fast, black_box(&gradient), &weight, &mut grad_x));
        });
        let mut grad_weight = vec![0.0; g.weight_len()];
        group.bench_function(BenchmarkId::new("weight gradient", layer.id()), |bencher| {
            bencher.iter(|| conv_weight_grad(&g, Accuracy::Fast, black_box(&x), &gradient, &mut grad_weight));
        });
    }
    group.finish();
}

/// One step of SGD with momentum on one batch.
fn train(network: &Network, images: &Tensor, labels: &Tensor, state: &mut OptimizerState) -> models::Result<()> {
    let (_, gradients) =
        Gradients::of_loss(network, &LabelledBatch { images, labels, label_smoothing: 0.0 }, &Pass::training(1, 0))?;
    Sgd { momentum: 0.9, ..Sgd::new(1e-4) }.step(network.params(), &gradients, 1.0, state)
}

/// The gradient of the summed features with respect to the images alone, with its forward pass.
fn input_gradient(network: &Network, images: &Tensor) -> models::Result<Tensor> {
    let map = network.frozen().linearize(images, &Pass::evaluation())?;
    map.vjp(&map.features().ones_like()?)
}

fn steps(criterion: &mut Criterion) {
    let on = device().expect("the device of BENCH_DEVICE");
    let mut group = criterion.benchmark_group("step");
    long_steps(&mut group);
    group.measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(BATCH as u64));
    for name in ["vgg13", "resnet18-cifar"] {
        let architecture = Architecture::named(name).expect("a known name").with_input(3, [32, 32]).with_classes(10);
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device);
        let network = network.expect("a valid architecture");
        let images = Tensor::from_vec(normal("bench/ops/images", BATCH * 3 * 32 * 32), (BATCH, 3, 32, 32), &on.device);
        let images = images.expect("as many numbers as the shape holds");
        let labels: Vec<u32> = (0..BATCH as u32).map(|index| index % 10).collect();
        let labels = Tensor::new(labels, &on.device).expect("labels");
        let mut state = OptimizerState::default();
        group.bench_function(BenchmarkId::new("train", on.id(format!("{name} {BATCH}x3x32x32"))), |bencher| {
            bencher.iter(|| on.finished(|| train(&network, &images, &labels, &mut state).expect("a step")));
        });
        group.bench_function(BenchmarkId::new("input gradient", on.id(format!("{name} {BATCH}x3x32x32"))), |bencher| {
            bencher.iter(|| on.finished(|| input_gradient(&network, &images).expect("a gradient")));
        });
    }
    group.finish();
}

criterion_group!(benches, peaks, layers, steps);
criterion_main!(benches);
