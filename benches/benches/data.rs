//! Images per second: rendering `glyphs`, batches of a data set, decoding of image files; and, for
//! comparison with the batches, the fastest training step.
//!
//! The example `start` of the crate `datasets` measures the time and memory of loading a whole data set, the first and the
//! second time, in processes of its own. `benches/peers/data.py` does the same work with PyTorch.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use benches::{CPU, device};
use candle_core::{DType, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datasets::{
    Augmentation, BatchOptions, Batches, ContactSheet, Device, Flip, Form, GlyphPart, Glyphs, LabelledImages,
    Normalisation, Order, Position, load_folder,
};
use models::train::{Gradients, LabelledBatch, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn glyphs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data/glyphs");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let per_class = 10;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        let glyphs = Glyphs::default();
        group.throughput(Throughput::Elements((per_class * glyphs.classes.len()) as u64));
        group.bench_function(
            BenchmarkId::new(
                "draw",
                format!("{} of 1x32x32, {threads} threads{CPU}", per_class * glyphs.classes.len()),
            ),
            |bencher| {
                bencher.iter(|| pool.install(|| black_box(glyphs.draw(GlyphPart::Train, per_class).expect("images"))));
            },
        );
    }
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    write_case();
    let on = device().expect("the device of BENCH_DEVICE");
    let mut group = criterion.benchmark_group("data/batches");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let size = 128;
    let usual = Augmentation { crop_padding: 4, flip: Flip::Random, ..Augmentation::none() };
    let all = Augmentation { flip: Flip::Alternating, cutout: 8, ..usual };
    group.throughput(Throughput::Elements(size as u64));
    for (name, augmentation) in [("plain", None), ("crop and flip", Some(usual)), ("crop, flip and cutout", Some(all))]
    {
        let batches = made(size, Order::Shuffled { seed: 1 }, augmentation, &on.device);
        let mut position = Position::default();
        group.bench_function(BenchmarkId::new(name, on.id("3x32x32, batch 128")), |bencher| {
            bencher.iter(|| {
                let batch = on.finished(|| batches.get(position).expect("a batch"));
                position = batches.next(position);
                black_box(batch)
            });
        });
        // The consumer does no work, so that this is the rate of one background thread.
        let mut ahead = batches.prefetch(Position::default(), 4);
        group.bench_function(BenchmarkId::new(name, on.id("3x32x32, batch 128, prefetched")), |bencher| {
            bencher.iter(|| on.finished(|| black_box(ahead.next().expect("endless").expect("a batch"))));
        });
    }
    group.finish();
}

/// A training step of the small VGG, the fastest net of the CPU presets. Batches should be at least five times as fast.
fn steps(criterion: &mut Criterion) {
    let on = device().expect("the device of BENCH_DEVICE");
    let mut group = criterion.benchmark_group("data/training step fed by batches");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    let architecture = Architecture::named("vgg-small").expect("a known name").with_input(3, [32, 32]).with_classes(10);
    for size in [32, 128] {
        let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device);
        let network = network.expect("a valid architecture");
        let batches = made(size, Order::Shuffled { seed: 1 }, None, &on.device);
        let batch = batches.get(Position::default()).expect("a batch");
        let mut state = OptimizerState::default();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("vgg-small", on.id(format!("3x32x32, batch {size}"))), |bencher| {
            bencher.iter(|| {
                on.finished(|| {
                    let pass = Pass::training(1, 0);
                    let (images, labels) = (&batch.images, &batch.labels);
                    let labelled = LabelledBatch { images, labels, label_smoothing: 0.0 };
                    let (_, gradients) = Gradients::of_loss(&network, &labelled, &pass)?;
                    Sgd::new(1e-4).step(network.params(), &gradients, 1.0, &mut state)
                })
                .expect("a step");
            });
        });
    }
    group.finish();
}

/// A batch without augmentation and its bytes, from which the peer computes the same batch before the timing starts.
fn write_case() {
    const COUNT: usize = 64;
    let batches = made(COUNT, Order::Sequential, None, &Device::Cpu);
    let batch = batches.get(Position::default()).expect("a batch");
    let pixels: Vec<u8> = (0..COUNT).flat_map(|index| batches.images().image(index).to_vec()).collect();
    let pixels = Tensor::from_vec(pixels, (COUNT, 3, 32, 32), &Device::Cpu).expect("pixels");
    let tensors = HashMap::from([("pixels", pixels), ("images", batch.images), ("labels", batch.labels)]);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data.safetensors");
    candle_core::safetensors::save(&tensors, path).expect("a case for the peer");
}

/// 5,000 images of 3×32×32 in batches.
fn made(size: usize, order: Order, augmentation: Option<Augmentation>, device: &Device) -> Batches {
    let count = 5_000;
    let draws = streams::uniform(&mut streams::stream(1, "bench/data/pixels", 0), count * 3 * 32 * 32, 0.0, 256.0);
    let pixels = draws.into_iter().map(|draw| draw as u8).collect();
    let labels = (0..count as u32).map(|image| image % 10).collect();
    let names = (0..10).map(|class| class.to_string());
    let images = LabelledImages::new("made", pixels, [3, 32, 32], labels, names).expect("consistent images");
    let normalisation = Normalisation::new(&[0.5; 3], &[0.25; 3]).expect("three channels");
    let options = BatchOptions { size, order, augmentation, ..BatchOptions::default() };
    Batches::new(images, normalisation, options, device).expect("usable options")
}

/// Decodes image files to pixels, as the first start does.
fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data/decode");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let folder = std::env::temp_dir().join(format!("benches-data-{}", std::process::id()));
    let glyphs = Glyphs::default().draw(GlyphPart::Train, 10).expect("images");
    let count = 2_000;
    for index in 0..count {
        let class = folder.join(format!("c{}", index % 10));
        std::fs::create_dir_all(&class).expect("a folder");
        let one = glyphs.select(&[index]).expect("an image");
        let sheet = ContactSheet { per_class: 1, columns: 1, ..ContactSheet::default() };
        let one = one.subset_classes(&[one.labels()[0]]).expect("its class");
        sheet.save(&one, &class.join(format!("{index}.png"))).expect("a file");
    }
    group.throughput(Throughput::Elements(count as u64));
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        group.bench_function(
            BenchmarkId::new("PNG files of 3x36x36", format!("{count} images, {threads} threads{CPU}")),
            |bencher| {
                bencher.iter(|| pool.install(|| black_box(load_folder(&folder, Form::default()).expect("images"))));
            },
        );
    }
    // Best effort: the file is in the folder for temporary files.
    let _ = std::fs::remove_dir_all(folder);
    group.finish();
}

criterion_group!(benches, glyphs, batches, steps, decoding);
criterion_main!(benches);
