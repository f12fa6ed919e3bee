//! One assessment against the same measures by separate calls, each of which takes its own features.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::hint::black_box;

use assess::{Assessment, Data, FewShot, Images, Network, Options, measures};
use benches::{long_steps, quick};
use candle_core::{DType, Device, Tensor};
use collapse::{Head, ReportOptions, Scatter};
use criterion::{Criterion, criterion_group, criterion_main};
use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures};
use models::{Architecture, Initialisation, Pass, View};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Images of one forward pass.
const BATCH: usize = 128;
/// Classes of the images.
const CLASSES: usize = 10;

/// A batch of images with their labels.
type Batch = (Tensor, Vec<u32>);

/// Normal noise around a brightness for each class.
fn images(count: usize) -> Vec<Batch> {
    let batch = |first: usize| {
        let labels: Vec<u32> = (first..first + BATCH).map(|image| (image % CLASSES) as u32).collect();
        let noise =
            streams::standard_normal(&mut streams::stream(1, "bench/assess", first as u64), BATCH * 3 * 32 * 32);
        let pixel = |(at, noise): (usize, f64)| noise as f32 + labels[at / (3 * 32 * 32)] as f32 * 0.2;
        let pixels: Vec<f32> = noise.into_iter().enumerate().map(pixel).collect();
        (Tensor::from_vec(pixels, (BATCH, 3, 32, 32), &Device::Cpu).expect("images"), labels)
    };
    (0..count).step_by(BATCH).map(batch).collect()
}

fn few_shot() -> FewShot {
    let heads: Vec<HeadKind> = vec!["ncm".parse().expect("a head"), "ridge:1".parse().expect("a head")];
    FewShot { way: 5, shot: 5, query: 15, episodes: 200, seed: 1, heads }
}

/// The features of all images, from a forward pass of their own.
fn features(view: &View, images: &[Batch]) -> (Tensor, Vec<u32>) {
    let rows = images.iter().map(|(images, _)| view.features(images, &Pass::evaluation()).expect("features"));
    let labels = images.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
    (Tensor::cat(&rows.collect::<Vec<_>>(), 0).expect("features of one width"), labels)
}

/// Collapse with the head, accuracy, few-shot accuracy and the finite check by separate calls.
fn separate(view: &View, images: &[Batch]) -> f64 {
    let (weight, bias) = view.head_parameters();
    let head = Head::new(weight, Some(bias)).expect("a head");
    let (rows, labels) = features(view, images);
    let total = rows.to_dtype(DType::F64).and_then(|rows| rows.sqr()?.sum_all()?.to_scalar::<f64>());
    assert!(total.expect("a sum").is_finite());
    let (rows, _) = features(view, images);
    let options = ReportOptions::default().with_scatter(Scatter::Trace);
    let report = collapse::report(&rows, &labels, Some(&head), &options).expect("a report");
    let right = images.iter().map(|(images, labels)| {
        let logits = view.logits(images, &Pass::evaluation()).expect("logits");
        let guesses = logits.argmax(1).and_then(|guesses| guesses.to_vec1::<u32>()).expect("guesses");
        guesses.iter().zip(labels).filter(|(guess, label)| guess == label).count()
    });
    black_box(right.sum::<usize>());
    let features = LabelledFeatures::from_tensor(&features(view, images).0, &labels).expect("features");
    let FewShot { way, shot, query, episodes, seed, heads } = few_shot();
    let sampler = EpisodeSampler::fixed(&labels, way, shot, query, seed).expect("episodes");
    black_box(fewshot::evaluate(&features, &sampler, episodes, &heads).expect("accuracies"));
    report.cdnv.mean
}

/// The same by one assessment.
fn together(view: &View, images: &Vec<Batch>) -> f64 {
    let network = Network::of_view(view).expect("a network");
    let options = Options::default()
        .with_complexity(None)
        .with_report(ReportOptions::default().with_scatter(Scatter::Trace))
        .with_few_shot(few_shot());
    let assessment = Assessment::of(&network, &Data::new(Images::new(images)), &options).expect("an assessment");
    measures::NC.read(&assessment).and_then(|measured| measured.value).expect("NC")
}

fn passes(criterion: &mut Criterion) {
    let architecture = Architecture::named("resnet18-cifar").expect("an architecture").with_width(0.25);
    let architecture = architecture.with_input(3, [32, 32]).with_classes(CLASSES);
    let network = models::Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu);
    let network = network.expect("a network");
    let (view, images) = (network.frozen(), images(if quick() { 512 } else { 2048 }));
    assert_eq!(separate(view, &images), together(view, &images));
    let mut group = criterion.benchmark_group("assess/features, head, collapse and few-shot accuracy");
    long_steps(&mut group);
    group.bench_function("one assessment", |bencher| bencher.iter(|| together(view, &images)));
    group.bench_function("separate calls", |bencher| bencher.iter(|| separate(view, &images)));
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
