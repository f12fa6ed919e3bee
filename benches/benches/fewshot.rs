//! Time of few-shot evaluations on features in memory; `peers/fewshot.py` times the same work in easyfsl and scikit-learn.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use benches::{CPU, Curve, Work, peaks, quick};
use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fewshot::{EpisodeSampler, Head, HeadKind, LabelledFeatures, Result, Task, evaluate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 20;

/// Features of 20 classes: standard normal class means, scaled by 0.1, plus standard normal noise.
fn features(samples: usize, dimension: usize) -> Result<LabelledFeatures> {
    let labels: Vec<u32> = (0..samples).map(|sample| (sample % CLASSES) as u32).collect();
    let means = streams::standard_normal(&mut streams::stream(1, "bench/means", 0), CLASSES * dimension);
    let mut values = Vec::with_capacity(samples * dimension);
    for (sample, &label) in labels.iter().enumerate() {
        let noise = streams::standard_normal(&mut streams::stream(1, "bench/noise", sample as u64), dimension);
        let mean = &means[label as usize * dimension..][..dimension];
        values.extend(noise.iter().zip(mean).map(|(noise, mean)| (noise + 0.1 * mean) as f32));
    }
    LabelledFeatures::from_f32(values, dimension, labels)
}

/// Writes features, 200 episodes and the predictions of `ncm` and `ridge:1`; peers check their predictions against these.
fn write_case(path: &Path) -> Result<()> {
    const EPISODES: u64 = 200;
    let features = features(2_000, 64)?;
    let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1)?;
    let mut tensors = HashMap::new();
    let mut keep = |name: &str, numbers: Vec<u32>| {
        let shape = (EPISODES as usize, numbers.len() / EPISODES as usize);
        tensors.insert(name.to_owned(), Tensor::from_vec(numbers, shape, &Device::Cpu)?);
        candle_core::Result::Ok(())
    };
    let numbers = |rows: &[usize]| rows.iter().map(|&row| row as u32).collect::<Vec<_>>();
    let episodes: Vec<_> = (0..EPISODES).map(|index| sampler.episode(index)).collect();
    keep("support", episodes.iter().flat_map(|episode| numbers(episode.support())).collect())?;
    keep("support_classes", episodes.iter().flat_map(|episode| numbers(episode.support_classes())).collect())?;
    keep("query", episodes.iter().flat_map(|episode| numbers(episode.query())).collect())?;
    for name in ["ncm", "ridge:1"] {
        let head: HeadKind = name.parse()?;
        let predict = |episode| Ok(numbers(&head.scores(&Task::new(&features, episode)?)?.predictions()));
        keep(name, episodes.iter().map(predict).collect::<Result<Vec<_>>>()?.concat())?;
    }
    let rows: Vec<f64> = (0..features.samples()).filter_map(|sample| features.row(sample)).flatten().collect();
    let shape = (features.samples(), features.dimension());
    tensors.insert("features".to_owned(), Tensor::from_vec(rows, shape, &Device::Cpu)?.to_dtype(DType::F32)?);
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn heads(criterion: &mut Criterion) {
    write_case(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("fewshot.safetensors")).expect("a case for the peers");
    let mut group = criterion.benchmark_group("fewshot/5-way 5-shot 15-query");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(4));
    for (samples, dimension, episodes) in [(12_000, 512, 10_000), (2_000, 64, 10_000)] {
        let features = features(samples, dimension).expect("finite features");
        let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1).expect("600 or 100 samples a class");
        group.throughput(Throughput::Elements(episodes as u64));
        for name in ["ncm", "ridge:1"] {
            let head: HeadKind = name.parse().expect("a head");
            let id = BenchmarkId::new(name, format!("{samples}x{dimension}, {episodes} episodes{CPU}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    evaluate(black_box(&features), &sampler, episodes, std::slice::from_ref(&head)).expect("accuracy")
                })
            });
        }
    }
    group.finish();
}

fn costly_heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fewshot/5-way 5-shot 15-query");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let (samples, dimension, episodes) = (12_000, 512, if quick() { 100 } else { 1_000 });
    let features = features(samples, dimension).expect("finite features");
    let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1).expect("600 samples a class");
    group.throughput(Throughput::Elements(episodes as u64));
    for name in ["cosine", "simpleshot:l2n", "ridge:loo", "logistic:1", "lda:auto"] {
        let head: HeadKind = name.parse().expect("a head");
        let id = BenchmarkId::new(name, format!("{samples}x{dimension}, {episodes} episodes{CPU}"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                evaluate(black_box(&features), &sampler, episodes, std::slice::from_ref(&head)).expect("accuracy")
            })
        });
    }
    group.finish();
}

fn sampler(criterion: &mut Criterion) {
    let labels: Vec<u32> = (0..12_000).map(|sample| sample % CLASSES as u32).collect();
    let sampler = EpisodeSampler::fixed(&labels, 5, 5, 15, 1).expect("600 samples a class");
    let mut group = criterion.benchmark_group("fewshot/sampler");
    group.throughput(Throughput::Elements(1));
    let mut index = 0;
    group.bench_function(format!("5-way 5-shot 15-query from 20 classes of 600{CPU}"), |bencher| {
        bencher.iter(|| {
            index += 1;
            sampler.episode(black_box(index))
        })
    });
    group.finish();
}

/// Time against the number of episodes: nearest class mean, 5-way 5-shot 15-query, on 12,000 × 512 features.
fn growth(criterion: &mut Criterion) {
    const GROUP: &str = "fewshot/nearest mean against episodes";
    const DIMENSION: usize = 512;
    let (way, shot, query) = (5, 5, 15);
    let features = features(12_000, DIMENSION).expect("finite features");
    let sampler = EpisodeSampler::fixed(features.labels(), way, shot, query, 1).expect("600 samples a class");
    let head: HeadKind = "ncm".parse().expect("a head");
    // Per episode, every sample is read once. A support sample is added to a mean; a query is compared with each mean.
    let rows = (way * (shot + query) * DIMENSION) as f64;
    let products = (way * query * way * DIMENSION) as f64;
    let episode = Work { operations: (way * shot * DIMENSION) as f64 + 2.0 * products, bytes: 4.0 * rows };
    let mut curve = Curve::default();
    let mut group = criterion.benchmark_group(GROUP);
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
    for episodes in [300, 1_000, 3_000, 10_000, 30_000] {
        let parameter = format!("{episodes}{CPU}");
        curve.point(format!("{GROUP}/{parameter}"), episode.times(episodes as f64));
        group.throughput(Throughput::Elements(episodes as u64));
        group.bench_function(BenchmarkId::from_parameter(parameter), |bencher| {
            bencher.iter(|| {
                evaluate(black_box(&features), &sampler, episodes, std::slice::from_ref(&head)).expect("accuracy")
            })
        });
    }
    group.finish();
    curve.write(Path::new(env!("CARGO_TARGET_TMPDIR")), "fewshot").expect("the target directory is writable");
}

criterion_group!(benches, heads, costly_heads, sampler, growth, peaks);
criterion_main!(benches);
