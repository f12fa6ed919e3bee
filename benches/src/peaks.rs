//! The machine's peaks: products of the gemm crate on large square matrices, and copied memory.

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use models::kernels::{Matrix, matmul};
use rayon::prelude::*;

use crate::CPU;

/// Side of the square matrices. Three of them take 27 MiB, more than the private caches.
const SIDE: usize = 1536;
/// Numbers copied: 256 MiB, more than all caches.
const COUNT: usize = 1 << 26;

/// `peak/gemm` (elements: two operations a product) and `peak/copy` (elements: bytes read and written), on all threads.
///
/// A curve's roofline uses these peaks, so they are measured in the same target within the same minutes.
pub fn peaks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peak");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let operands = LazyCell::new(|| [normal("left"), normal("right")]);
    let mut product = vec![0f32; SIDE * SIDE];
    group.throughput(Throughput::Elements(2 * (SIDE as u64).pow(3)));
    group.bench_function(BenchmarkId::new("gemm", format!("{SIDE}{CPU}")), |bencher| {
        let [a, b] = &*operands;
        let [a, b] = [a, b].map(|elements| Matrix::row_major(elements, [SIDE; 2]));
        bencher.iter(|| matmul(black_box(a), b, &mut product));
    });
    let from = LazyCell::new(|| vec![1f32; COUNT]);
    let mut into = LazyCell::new(|| vec![0f32; COUNT]);
    group.throughput(Throughput::Elements(8 * COUNT as u64));
    group.bench_function(BenchmarkId::new("copy", format!("256 MiB{CPU}")), |bencher| {
        let from = LazyCell::force(&from);
        let into = &mut *into;
        bencher.iter(|| {
            into.par_chunks_mut(1 << 16)
                .zip(black_box(from).par_chunks(1 << 16))
                .for_each(|(to, from)| to.copy_from_slice(from));
        });
    });
    group.finish();
}

fn normal(side: &str) -> Vec<f32> {
    let mut stream = streams::stream(1, &format!("bench/peak/{side}"), 0);
    streams::standard_normal(&mut stream, SIDE * SIDE).into_iter().map(|draw| draw as f32).collect()
}
