//! Geometric complexity of VGG-13, and exact values of a ViT and a ConvNeXt, on CIFAR-sized images; `peers/gc.py` does the same work with PyTorch.
//!
//! Curves: exact values against the number of features p, one probe against samples, 64 images against probes.
//! With `GC_PEER_FILES=<folder>` the weights, the images and our results on a few images are written there. The peer measures
//! the same nets, and computes these results again before the timing starts.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use benches::{Chosen, Curve, Work, device, long_steps, peaks, quick, with_unit_layer_scale};
use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datasets::Source;
use gc_core::{Error, Estimate, FeatureMap, GeometricComplexity, Penalty, Population, Probe, Side};
use models::ops::{ConvSettings, linear, nchw};
use models::train::{Fit, GcPenalty, Gradients, LabelledBatch, OptimizerState, Progress, Schedule, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Images of the estimate to 1 % and of the flat-memory check, and of a training step.
const IMAGES: usize = 2_048;
const BATCH: usize = 64;

fn chosen() -> Chosen {
    device().expect("the device of BENCH_DEVICE")
}

/// A network for CIFAR, such as VGG-13 (p = 512), with initial weights and layer scale 1.
fn network(name: &str, device: &Device) -> Network {
    let architecture = Architecture::named(name).expect("a known name").with_input(3, [32, 32]).with_classes(10);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, device).expect("a network");
    with_unit_layer_scale(network).expect("factors")
}

/// A narrow VGG whose last stage, and so the number of features, has this width.
fn narrow(features: usize, device: &Device) -> (Network, Work) {
    let stages = [32, 64, 128, 128, features].map(|width| vec![width]).to_vec();
    let text = format!("family = 'vgg'\nstages = {stages:?}\nclasses = 10");
    let architecture = Architecture::from_toml(&text).expect("a VGG");
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, device).expect("a network");
    (network, Work::vgg_pass(&stages, 3, 32))
}

/// One pass through VGG-13 for one image.
fn vgg13_pass() -> Work {
    Work::vgg_pass(&[64, 128, 256, 512, 512].map(|width| vec![width; 2]), 3, 32)
}

/// Images of independent standard normal pixels.
fn images(count: usize, device: &Device) -> Tensor {
    let batch = |first: usize| {
        let size = BATCH.min(count - first);
        let draws = streams::standard_normal(&mut streams::stream(1, "bench/images", first as u64), size * 3_072);
        let draws: Vec<f32> = draws.into_iter().map(|draw| draw as f32).collect();
        Tensor::from_vec(draws, (size, 3, 32, 32), device).expect("images")
    };
    let batches: Vec<Tensor> = (0..count).step_by(BATCH).map(batch).collect();
    Tensor::cat(&batches, 0).expect("images of one size")
}

fn measure(estimator: &GeometricComplexity, map: &dyn FeatureMap, images: &Tensor) -> Estimate {
    estimator.measure(map, [Ok::<_, Error>(images.clone())]).expect("an estimate")
}

/// Peak memory of this process in MiB, where the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? >> 10)
}

/// All 512 rows; the cost is the same for every image.
fn exact(criterion: &mut Criterion) {
    let on = chosen();
    let network = network("vgg13", &on.device);
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let mut group = criterion.benchmark_group("gc/exact, vgg13, p=512");
    long_steps(&mut group);
    for count in if quick() { [1] } else { [4] } {
        let images = images(count, &on.device);
        let value = RefCell::new(None);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(on.id("each image of 3x32x32")), |bencher| {
            let exact = GeometricComplexity::exact();
            bencher.iter(|| on.finished(|| *value.borrow_mut() = Some(measure(&exact, &map, &images))))
        });
        report(&format!("exact on {count} images"), value.take());
    }
    group.finish();
}

/// A ViT and a ConvNeXt for 32×32 images with their numbers of features, as in `peers/gc.py`.
const FAMILIES: [(&str, usize); 2] = [("vit-tiny-cifar", 192), ("convnext-atto-cifar", 320)];

/// All rows of the networks of [`FAMILIES`].
fn exact_families(criterion: &mut Criterion) {
    const COUNT: usize = 2;
    let on = chosen();
    let images = images(COUNT, &on.device);
    for (name, features) in if quick() { &FAMILIES[..0] } else { &FAMILIES[..] } {
        let network = network(name, &on.device);
        let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
        let mut group = criterion.benchmark_group(format!("gc/exact, {name}, p={features}"));
        long_steps(&mut group);
        group.throughput(Throughput::Elements(COUNT as u64));
        let value = RefCell::new(None);
        group.bench_function(BenchmarkId::from_parameter(on.id("each image of 3x32x32")), |bencher| {
            let exact = GeometricComplexity::exact();
            bencher.iter(|| on.finished(|| *value.borrow_mut() = Some(measure(&exact, &map, &images))))
        });
        group.finish();
        report(&format!("exact, {name}"), value.take());
    }
}

/// A small CNN that a user writes with candle and the NCHW drop-ins: two blocks of a 3×3 convolution, ReLU and a 2×2 max pool,
/// and a linear head of 10 logits.
struct CandleCnn(HashMap<&'static str, Tensor>);

impl CandleCnn {
    fn new() -> Self {
        let shapes: [(&'static str, &[usize]); 6] = [
            ("0.weight", &[32, 3, 3, 3]),
            ("0.bias", &[32]),
            ("3.weight", &[64, 32, 3, 3]),
            ("3.bias", &[64]),
            ("7.weight", &[10, 64 * 8 * 8]),
            ("7.bias", &[10]),
        ];
        let draw = |(index, (name, shape)): (usize, (&'static str, &[usize]))| {
            let mut stream = streams::stream(1, "bench/candle-cnn", index as u64);
            let deviation = (2.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
            let draws = streams::standard_normal(&mut stream, shape.iter().product());
            let draws: Vec<f32> = draws.into_iter().map(|draw| (draw * deviation) as f32).collect();
            (name, Tensor::from_vec(draws, shape, &Device::Cpu).expect("weights"))
        };
        Self(shapes.into_iter().enumerate().map(draw).collect())
    }

    fn block(&self, x: &Tensor, weight: &str, bias: &str) -> candle_core::Result<Tensor> {
        let wrap = models::ops::Error::into_candle;
        let settings = ConvSettings::new(1, 1);
        let y = nchw::conv2d_with_bias(x, &self.0[weight], &self.0[bias], settings).map_err(wrap)?;
        nchw::max_pool2d(&nchw::relu(&y).map_err(wrap)?, 2).map_err(wrap)
    }

    fn logits(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = self.block(&self.block(x, "0.weight", "0.bias")?, "3.weight", "3.bias")?;
        let x = x.flatten_from(1)?;
        linear(&x, &self.0["7.weight"], Some(&self.0["7.bias"])).map_err(models::ops::Error::into_candle)
    }
}

/// All 10 rows of [`CandleCnn`] on the CPU, through candle's graph.
fn exact_candle(criterion: &mut Criterion) {
    let (network, images) = (CandleCnn::new(), images(BATCH, &Device::Cpu));
    let map = |x: &Tensor| network.logits(x);
    let mut group = criterion.benchmark_group("gc/exact, candle CNN, p=10");
    long_steps(&mut group);
    group.throughput(Throughput::Elements(BATCH as u64));
    let value = RefCell::new(None);
    group.bench_function("each image of 3x32x32", |bencher| {
        let exact = GeometricComplexity::exact();
        bencher.iter(|| *value.borrow_mut() = Some(measure(&exact, &map, &images)))
    });
    report("exact, candle CNN", value.take());
    group.finish();
}

/// GC of 2,048 images to a relative standard error of 1 %, and the cost of one probe for each image.
fn estimated(criterion: &mut Criterion) {
    let on = chosen();
    let network = network("vgg13", &on.device);
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let images = images(if quick() { BATCH } else { IMAGES }, &on.device);
    let population = Population::DataSet { size: images.dim(0).expect("images") };
    let mut group = criterion.benchmark_group("gc/estimate, vgg13, 2048 images");
    long_steps(&mut group);
    for (name, estimator) in [
        ("1 % by rows", GeometricComplexity::planned(Probe::Rademacher, 0.01).population(population)),
        (
            "1 % by rows, regression",
            GeometricComplexity::planned(Probe::Rademacher, 0.01).population(population).regress_on_inputs(),
        ),
        (
            "1 % by columns",
            GeometricComplexity::planned(Probe::Rademacher, 0.01).by(Side::Columns).population(population),
        ),
    ] {
        let value = RefCell::new(None);
        group.bench_function(on.id(name), |bencher| {
            bencher.iter(|| on.finished(|| *value.borrow_mut() = Some(measure(&estimator, &map, &images))))
        });
        report(name, value.take());
    }
    group.finish();
    plan_for_the_peer(&map, &images, "plan.json");
}

/// The presets' small VGG, trained on glyphs for five epochs, and 2,048 of its images.
fn trained_on_glyphs() -> (Network, Tensor) {
    const STEP: usize = 32;
    let source = Source { train_per_class: Some(130), test_per_class: Some(1), ..Source::from_env() };
    let data = datasets::load("glyphs", &source).expect("the embedded data set");
    let train = data.train.subset_classes(&(0..20).collect::<Vec<u32>>()).expect("20 classes");
    let order = |epoch: u64| streams::permutation(&mut streams::stream(1, "bench/order", epoch), train.len());
    let chosen = |rows: &[usize]| train.batch(rows, &data.normalisation, &Device::Cpu).expect("images");
    let architecture = Architecture::named("vgg-small").expect("a known name").with_input(1, [32, 32]).with_classes(20);
    let network =
        Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu).expect("a network");
    let per_epoch = (train.len() / STEP) as u64;
    let sgd = Sgd { momentum: 0.9, l2: 5e-4, ..Sgd::new(0.05) };
    let fit = Fit { schedule: Schedule::cosine().with_warmup(50), ..Fit::new(5 * per_epoch, sgd) };
    let mut batch = |index: u64| {
        let start = (index % per_epoch) as usize * STEP;
        let batch = chosen(&order(index / per_epoch)[start..start + STEP]);
        Ok((batch.images, batch.labels))
    };
    fit.run(&network, &mut Progress::default(), &mut batch, |_, _| Ok(ControlFlow::Continue(()))).expect("training");
    let images = chosen(&order(u64::MAX)[..IMAGES]).images;
    (network, images)
}

/// GC of a trained network on 2,048 images to a relative standard error of 1 %. Here images differ more than probes do.
fn estimated_after_training(criterion: &mut Criterion) {
    let on = chosen();
    let mut group = criterion.benchmark_group("gc/estimate, trained vgg-small, 2048 glyphs");
    long_steps(&mut group);
    let population = Population::DataSet { size: IMAGES };
    let planned = GeometricComplexity::planned(Probe::Rademacher, 0.01).population(population);
    for (name, estimator) in
        [("1 % by rows", planned.clone()), ("1 % by rows, regression", planned.regress_on_inputs())]
    {
        let value = RefCell::new(None);
        // Only a benchmark that runs trains the network.
        group.bench_function(on.id(name), |bencher| {
            let (network, images) = trained_on_glyphs();
            let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
            plan_for_the_peer(&map, &images, "glyphs-plan.json");
            write_trained(&network, &images);
            bencher.iter(|| *value.borrow_mut() = Some(measure(&estimator, &map, &images)));
        });
        report(name, value.take());
    }
    group.finish();
}

/// Writes the trained network, its images, and the exact values of the first two, where `GC_PEER_FILES` is set.
fn write_trained(network: &Network, images: &Tensor) {
    let Some(folder) = std::env::var_os("GC_PEER_FILES").map(std::path::PathBuf::from) else { return };
    network.params().save(folder.join("vgg-small.safetensors")).expect("weights on disk");
    let case = [("images", images.clone()), ("exact", exact_of_two(network, images))];
    candle_core::safetensors::save(&HashMap::from(case), folder.join("glyphs.safetensors")).expect("images on disk");
}

/// Writes how many images the peer needs for 1 % with 1, 2, 4 and 8 of its projections on each, so that its estimate has an equal
/// error. A number of projections with which it does not reach 1 % on all images is left out.
///
/// It takes m of N images, each at most once, with independent unit directions, so its variance is (S² + τ²/n)/m − S²/N, with S² between
/// images and τ² of one direction (Cochran, 1977, equation 10.10). Both are measured on all images.
fn plan_for_the_peer(map: &dyn FeatureMap, images: &Tensor, file: &str) {
    let Some(folder) = std::env::var_os("GC_PEER_FILES") else { return };
    let count = images.dim(0).expect("images") as f64;
    let estimate = measure(&GeometricComplexity::projections(Probe::Sphere, 2), map, images);
    let part = |error: Option<f64>| (error.expect("two probes") / estimate.value / 0.01).powi(2) * count;
    let (between, of_direction) = (part(estimate.standard_error.data), 2.0 * part(estimate.standard_error.probe));
    let needed = |directions: f64| ((between + of_direction / directions) / (1.0 + between / count)).ceil();
    let reached = [1, 2, 4, 8].into_iter().filter(|n| needed(f64::from(*n)) <= count);
    let rows: Vec<String> = reached.map(|n| format!("\"{n}\": {}", needed(f64::from(n)))).collect();
    std::fs::write(Path::new(&folder).join(file), format!("{{{}}}\n", rows.join(", "))).expect("a folder");
}

/// The cost against one size, with the others fixed. A backward pass to the images costs as much as a forward pass.
fn growth(criterion: &mut Criterion) {
    let on = chosen();
    let mut curve = Curve::default();
    against_features(criterion, &on, &mut curve);
    against_samples(criterion, &on, &mut curve);
    against_probes(criterion, &on, &mut curve);
    curve.write(Path::new(env!("CARGO_TARGET_TMPDIR")), "gc").expect("the target directory is writable");
}

/// Exact GC of 8 images: one forward pass and p backward passes, with a last layer of width p.
fn against_features(criterion: &mut Criterion, on: &Chosen, curve: &mut Curve) {
    const GROUP: &str = "gc/exact, narrow VGG, 8 images, against features";
    const COUNT: usize = 8;
    let mut group = criterion.benchmark_group(GROUP);
    long_steps(&mut group);
    group.throughput(Throughput::Elements(COUNT as u64));
    let images = images(COUNT, &on.device);
    for features in [64, 128, 256, 512] {
        let (network, pass) = narrow(features, &on.device);
        let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
        curve.point(format!("{GROUP}/{}", on.id(features)), pass.times((COUNT * (1 + features)) as f64));
        let exact = GeometricComplexity::exact();
        group.bench_function(BenchmarkId::from_parameter(on.id(features)), |bencher| {
            bencher.iter(|| on.finished(|| measure(&exact, &map, &images)))
        });
    }
    group.finish();
}

/// One probe for each sample, streamed in batches: time is linear in the samples, memory constant.
fn against_samples(criterion: &mut Criterion, on: &Chosen, curve: &mut Curve) {
    const GROUP: &str = "gc/one probe, vgg13, against samples";
    const SMALL: usize = 32;
    let network = network("vgg13", &on.device);
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let mut group = criterion.benchmark_group(GROUP);
    long_steps(&mut group);
    let batch = images(SMALL, &on.device);
    let estimator = GeometricComplexity::projections(Probe::Rademacher, 1);
    for batches in [1, 2, 4, 8] {
        let samples = batches * SMALL;
        curve.point(format!("{GROUP}/{}", on.id(samples)), vgg13_pass().times(2.0 * samples as f64));
        let value = RefCell::new(None);
        group.throughput(Throughput::Elements(samples as u64));
        group.bench_function(BenchmarkId::from_parameter(on.id(samples)), |bencher| {
            bencher.iter(|| {
                let stream = (0..batches).map(|_| Ok::<_, Error>(batch.clone()));
                on.finished(|| *value.borrow_mut() = Some(estimator.measure(&map, stream).expect("an estimate")))
            })
        });
        report(&format!("one probe on {samples} images"), value.take());
    }
    group.finish();
}

/// 64 images: one forward pass, and one backward pass for each probe.
fn against_probes(criterion: &mut Criterion, on: &Chosen, curve: &mut Curve) {
    const GROUP: &str = "gc/64 images, vgg13, against probes";
    let network = network("vgg13", &on.device);
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let mut group = criterion.benchmark_group(GROUP);
    long_steps(&mut group);
    group.throughput(Throughput::Elements(BATCH as u64));
    let images = images(BATCH, &on.device);
    for probes in [1, 2, 4, 8] {
        let estimator = GeometricComplexity::projections(Probe::Rademacher, probes);
        curve.point(format!("{GROUP}/{}", on.id(probes)), vgg13_pass().times((BATCH * (1 + probes)) as f64));
        group.bench_function(BenchmarkId::from_parameter(on.id(probes)), |bencher| {
            bencher.iter(|| on.finished(|| measure(&estimator, &map, &images)))
        });
    }
    group.finish();
}

/// A step of SGD on cross-entropy, and the same with the penalty of one probe.
fn training_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("gc/training step, batch {BATCH}"));
    long_steps(&mut group);
    let on = chosen();
    let images = images(BATCH, &on.device);
    group.throughput(Throughput::Elements(BATCH as u64));
    let labels: Vec<u32> = (0..BATCH as u32).map(|sample| sample % 10).collect();
    let labels = Tensor::from_vec(labels, BATCH, &on.device).expect("labels");
    let penalty = GcPenalty { strength: 1e-4, estimator: Penalty::projections(Probe::Rademacher, 1) };
    let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
    let sgd = Sgd::new(1e-6);
    for name in ["vgg13", "vgg13_bn"] {
        let network = network(name, &on.device);
        let mut state = OptimizerState::default();
        let mut step = |gradients: &Gradients| {
            sgd.step(network.params(), gradients, 1.0, &mut state).expect("a step");
        };
        group.bench_function(BenchmarkId::new(name, on.id("plain")), |bencher| {
            bencher.iter(|| {
                on.finished(|| {
                    let of_loss = Gradients::of_loss(&network, &batch, &Pass::training(0, 0));
                    step(&of_loss.expect("gradients").1);
                })
            })
        });
        group.bench_function(BenchmarkId::new(name, on.id("penalised")), |bencher| {
            bencher.iter(|| {
                on.finished(|| {
                    let pass = Pass::training(0, 0);
                    let of_loss = Gradients::of_penalised_loss(&network, &batch, &penalty, 0, &pass);
                    step(&of_loss.expect("gradients").gradients);
                })
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

/// Images of the small case that both sides compute.
const CASE: usize = 8;

/// Writes weights, images and our results of a small case for the peer, where `GC_PEER_FILES` is set.
fn peer_files(_: &mut Criterion) {
    let Some(folder) = std::env::var_os("GC_PEER_FILES") else { return };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).expect("a folder that can be written");
    let images = images(IMAGES, &Device::Cpu);
    let few = images.narrow(0, 0, CASE).expect("enough images");
    let signs = streams::rademacher(&mut streams::stream(1, "bench/cotangent", 0), CASE * 512);
    let signs = Tensor::from_vec(signs, (CASE, 512), &Device::Cpu).expect("a cotangent");
    let signs = signs.to_dtype(DType::F32).expect("a cotangent in f32");
    let mut case = HashMap::from([("cotangent".to_owned(), signs.clone())]);
    for name in ["vgg13", "vgg13_bn"] {
        let network = network(name, &Device::Cpu);
        network.params().save(folder.join(format!("{name}.safetensors"))).expect("weights on disk");
        case.extend(our_numbers(name, &network, &few, &signs));
    }
    for (name, _) in FAMILIES {
        let network = network(name, &Device::Cpu);
        network.params().save(folder.join(format!("{name}.safetensors"))).expect("weights on disk");
        case.insert(format!("{name}.exact"), exact_of_two(&network, &few));
    }
    let small = CandleCnn::new();
    let exact = measure(&GeometricComplexity::exact(), &|x: &Tensor| small.logits(x), &few);
    let exact = Tensor::new(&[exact.value], &Device::Cpu).expect("a number");
    case.insert("candle_cnn.exact".to_owned(), exact);
    candle_core::safetensors::save(&small.0, folder.join("candle_cnn.safetensors")).expect("weights on disk");
    candle_core::safetensors::save(&case, folder.join("case.safetensors")).expect("a case on disk");
    let images = HashMap::from([("images", images)]);
    candle_core::safetensors::save(&images, folder.join("images.safetensors")).expect("images on disk");
}

/// Exact GC of each of the first two images in evaluation mode.
fn exact_of_two(network: &Network, images: &Tensor) -> Tensor {
    let map = network.frozen().feature_map(Pass::evaluation(), None).expect("features");
    let two = images.narrow(0, 0, 2).expect("two images");
    let exact = measure(&GeometricComplexity::exact().per_sample(), &map, &two);
    Tensor::new(exact.per_sample.expect("values of each sample"), &Device::Cpu).expect("numbers")
}

/// Exact GC of two images in evaluation mode. In training mode the penalty of all images along one cotangent, and of its
/// gradient with respect to each weight the norm and the inner product with the weight.
fn our_numbers(name: &str, network: &Network, few: &Tensor, cotangent: &Tensor) -> HashMap<String, Tensor> {
    let numbers = |values: Vec<f64>| Tensor::new(values, &Device::Cpu).expect("numbers");
    let map = network.tracked().feature_map(Pass::training(0, 0).without_update(), None).expect("features");
    let term = Penalty::exact().term_along(&map, few, std::slice::from_ref(cotangent)).expect("a penalty");
    let mut found = HashMap::from([
        (format!("{name}.exact"), exact_of_two(network, few)),
        (format!("{name}.penalty"), numbers(vec![term.value])),
    ]);
    let gradients = Gradients::of(network.params(), &term.loss.backward().expect("gradients")).expect("gradients");
    for (parameter, weight) in network.params().trainable() {
        let Some(gradient) = gradients.get(parameter) else { continue };
        let sum = |product: candle_core::Result<Tensor>| {
            let sum = product.and_then(|product| product.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>());
            sum.expect("a sum")
        };
        let (square, product) = (sum(gradient.sqr()), sum(gradient * weight.as_tensor()));
        found.insert(format!("{name}.gradient.{parameter}"), numbers(vec![square.sqrt(), product]));
    }
    found
}

criterion_group!(
    benches,
    peer_files,
    exact,
    exact_candle,
    exact_families,
    estimated,
    estimated_after_training,
    growth,
    training_step,
    peaks
);
criterion_main!(benches);
