//! Episodes a second on cached features; `peers/fewshot.py` does the same work with easyfsl and scikit-learn.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures, Result, evaluate};

const CLASSES: usize = 20;

/// Class means and samples around them, both standard normal, the means scaled to a tenth.
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

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fewshot/5-way 5-shot 15-query");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for (samples, dimension, episodes) in [(12_000, 512, 10_000), (2_000, 64, 10_000)] {
        let features = features(samples, dimension).expect("finite features");
        let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1).expect("600 or 100 samples a class");
        group.throughput(Throughput::Elements(episodes as u64));
        for name in ["ncm", "ridge:1"] {
            let head: HeadKind = name.parse().expect("a head");
            let id = BenchmarkId::new(name, format!("{samples}x{dimension}, {episodes} episodes"));
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
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let (samples, dimension, episodes) = (12_000, 512, 1_000);
    let features = features(samples, dimension).expect("finite features");
    let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1).expect("600 samples a class");
    group.throughput(Throughput::Elements(episodes as u64));
    for name in ["cosine", "simpleshot:l2n", "ridge:loo", "logistic:1", "lda:auto"] {
        let head: HeadKind = name.parse().expect("a head");
        let id = BenchmarkId::new(name, format!("{samples}x{dimension}, {episodes} episodes"));
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
    group.bench_function("5-way 5-shot 15-query from 20 classes of 600", |bencher| {
        bencher.iter(|| {
            index += 1;
            sampler.episode(black_box(index))
        })
    });
    group.finish();
}

criterion_group!(benches, heads, costly_heads, sampler);
criterion_main!(benches);
