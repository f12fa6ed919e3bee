//! A full collapse report; the same work for the peers is in `peers/collapse.py`.
//!
//! Features are normal noise around normal class means, in f32, drawn outside the timed part. The two sizes of the
//! memory claim are in `crates/collapse/examples/full_report.rs`; the sizes here keep a run short.

#![allow(missing_docs, reason = "criterion's macros write no docs")]

use collapse::{Head, ReportOptions, report_slice};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

struct Data {
    features: Vec<f32>,
    labels: Vec<u32>,
    head: Head,
}

fn draw(samples: usize, width: usize, classes: usize) -> Option<Data> {
    let normals = |purpose: &str, count: usize| -> Vec<f32> {
        let mut stream = streams::stream(1, &format!("benches/collapse/{purpose}"), 0);
        streams::standard_normal(&mut stream, count).into_iter().map(|draw| draw as f32).collect()
    };
    let means = normals("means", classes * width);
    let labels: Vec<u32> = (0..samples).map(|row| (row * 7919 % classes) as u32).collect();
    let mut features = normals("noise", samples * width);
    for (row, &label) in features.chunks_exact_mut(width).zip(&labels) {
        let mean = &means[label as usize * width..][..width];
        row.iter_mut().zip(mean).for_each(|(value, mean)| *value = mean + 2.0 * *value);
    }
    let head = Head::from_slices(&means, Some(&normals("bias", classes)), classes).ok()?;
    Some(Data { features, labels, head })
}

fn full_report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("collapse/full-report");
    group.sample_size(10);
    for (samples, width, classes) in [(100_000, 512, 100), (10_000, 2048, 200)] {
        let Some(data) = draw(samples, width, classes) else { continue };
        group.throughput(Throughput::Elements(samples as u64));
        let id = BenchmarkId::from_parameter(format!("{samples}x{width}-{classes}-classes-f32"));
        group.bench_with_input(id, &data, |bencher, data| {
            let options = ReportOptions::default();
            bencher.iter(|| report_slice(&data.features, width, &data.labels, Some(&data.head), &options));
        });
    }
    group.finish();
}

criterion_group!(collapse, full_report);
criterion_main!(collapse);
