//! Images a second: drawing `glyphs`, and cutting a data set into batches.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datasets::{
    Augmentation, BatchOptions, Batches, Device, Flip, Glyphs, LabelledImages, Normalisation, Order, Part, Position,
};

fn glyphs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data/glyphs");
    group.sample_size(10);
    let per_class = 10;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        let glyphs = Glyphs::default();
        group.throughput(Throughput::Elements((per_class * glyphs.classes.len()) as u64));
        group.bench_function(BenchmarkId::new("draw", format!("{threads} threads")), |bencher| {
            bencher.iter(|| pool.install(|| black_box(glyphs.draw(Part::Train, per_class).expect("images"))));
        });
    }
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data/batches");
    let (count, size) = (5_000, 128);
    let pixels = (0..count * 3 * 32 * 32).map(|at| (at * 31 % 251) as u8).collect();
    let labels = (0..count as u32).map(|image| image % 10).collect();
    let names = (0..10).map(|class| class.to_string());
    let images = LabelledImages::new("made", pixels, [3, 32, 32], labels, names).expect("consistent images");
    let normalisation = Normalisation::new(&[0.5; 3], &[0.25; 3]).expect("three channels");
    let usual = Augmentation { crop_padding: 4, flip: Flip::Random, ..Augmentation::none() };
    group.throughput(Throughput::Elements(size as u64));
    for (name, augmentation) in [("plain", None), ("crop and flip", Some(usual))] {
        let options =
            BatchOptions { size, order: Order::Shuffled { seed: 1 }, augmentation, ..BatchOptions::default() };
        let batches =
            Batches::new(images.clone(), normalisation.clone(), options, &Device::Cpu).expect("usable options");
        let mut position = Position::default();
        group.bench_function(BenchmarkId::new(name, "3x32x32, batch 128"), |bencher| {
            bencher.iter(|| {
                let batch = batches.get(position).expect("a batch");
                position = batches.next(position);
                black_box(batch)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, glyphs, batches);
criterion_main!(benches);
