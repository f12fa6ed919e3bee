//! Time of the statistics of one claim of a report: the permutation test within seeds, exact and drawn, the size of a trend over a
//! sweep, the partial correlation, and bootstrap resamples. They have no peer.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::hint::black_box;

use benches::CPU;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use statistics::{
    Block, ChangeScale, CovariateBlock, IntervalSettings, PermutationSettings, RankStatistic, blocked_rank_correlation,
    bootstrap_means, partial_rank_correlation, sweep_change,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeds and swept values: the presets `quick` and `cpu`, and sizes beyond the exact test.
const SIZES: [(usize, usize); 3] = [(3, 4), (5, 4), (10, 9)];

/// A metric that falls with a swept value, with noise: `seeds` blocks of `values` runs.
struct Sweep {
    swept: Vec<f64>,
    metrics: Vec<Vec<f64>>,
    losses: Vec<Vec<f64>>,
}

impl Sweep {
    fn new(seeds: usize, values: usize) -> Self {
        let swept: Vec<f64> = (0..values).map(|at| 0.01 * 2f64.powi(at as i32)).collect();
        let noise = |purpose: &str, seed: usize| {
            let draws = streams::standard_normal(&mut streams::stream(1, purpose, seed as u64), values);
            let metric = |(at, draw): (usize, &f64)| (0.3 * draw - 0.1 * at as f64).exp();
            draws.iter().enumerate().map(metric).collect::<Vec<f64>>()
        };
        let metrics = (0..seeds).map(|seed| noise("bench/statistics/metric", seed)).collect();
        let losses = (0..seeds).map(|seed| noise("bench/statistics/loss", seed)).collect();
        Self { swept, metrics, losses }
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        self.metrics.iter().map(|metric| Block { x: &self.swept, y: metric }).collect()
    }
}

fn shape(seeds: usize, values: usize) -> String {
    format!("{seeds} seeds x {values} values{CPU}")
}

/// The evidence of a trend. Three and five seeds of four values are enumerated; ten of nine are drawn.
fn permutation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statistics/permutation within seeds");
    let settings = PermutationSettings::default();
    for (seeds, values) in SIZES {
        let sweep = Sweep::new(seeds, values);
        let blocks = sweep.blocks();
        for (name, statistic) in [("spearman", RankStatistic::Spearman), ("kendall", RankStatistic::Kendall)] {
            group.bench_function(BenchmarkId::new(name, shape(seeds, values)), |bencher| {
                bencher.iter(|| blocked_rank_correlation(black_box(&blocks), statistic, &settings).expect("a test"))
            });
        }
    }
    group.finish();
}

/// The size of a trend with its interval over seeds.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statistics/change over a sweep");
    for (seeds, values) in SIZES {
        let sweep = Sweep::new(seeds, values);
        let blocks = sweep.blocks();
        group.bench_function(shape(seeds, values), |bencher| {
            bencher.iter(|| sweep_change(black_box(&blocks), ChangeScale::Factor, 0.95).expect("a change"))
        });
    }
    group.finish();
}

/// The association of two metrics given the swept value and the loss.
fn partial(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statistics/partial correlation given 2 covariates");
    let settings = PermutationSettings::default();
    for (seeds, values) in SIZES {
        let (sweep, other) = (Sweep::new(seeds, values), Sweep::new(2 * seeds, values));
        let covariates: Vec<[&[f64]; 2]> = sweep.losses.iter().map(|loss| [&sweep.swept[..], &loss[..]]).collect();
        let blocks: Vec<CovariateBlock> = (0..seeds)
            .map(|seed| {
                let block = Block { x: &sweep.metrics[seed], y: &other.metrics[seeds + seed] };
                CovariateBlock { block, covariates: &covariates[seed] }
            })
            .collect();
        group.bench_function(shape(seeds, values), |bencher| {
            bencher.iter(|| partial_rank_correlation(black_box(&blocks), &settings).expect("a correlation"))
        });
    }
    group.finish();
}

/// Resampled means of the accuracies of episodes.
fn bootstrap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statistics/bootstrap of a mean");
    let settings = IntervalSettings::default();
    for samples in [100, 1000, 10_000] {
        let values = streams::standard_normal(&mut streams::stream(1, "bench/statistics/values", 0), samples);
        group.throughput(Throughput::Elements((samples * settings.resamples) as u64));
        group.bench_function(format!("{samples} values x {} resamples{CPU}", settings.resamples), |bencher| {
            bencher.iter(|| bootstrap_means(black_box(&[&values]), &settings).expect("resamples"))
        });
    }
    group.finish();
}

criterion_group!(benches, permutation, change, partial, bootstrap);
criterion_main!(benches);
