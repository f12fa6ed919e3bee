//! A full collapse report, and its cost against samples, features and classes. `peers/collapse.py` does the same work in other
//! libraries.
//!
//! Features are normal noise around normal class means, in f32. They are drawn outside the timed part.
//! `BENCH_QUICK=1` takes smaller shapes. The largest shape needs 2 GiB; the memory that a report takes beyond its input is
//! measured by the example `full_report` of the crate `collapse`, in a process of its own.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at its first error; criterion's macros write no docs"
)]

use std::cell::LazyCell;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use benches::{CPU, Curve, Work, peaks, quick};
use candle_core::{Device, Tensor};
use collapse::{CollapseReport, Head, ReportOptions, report_slice};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
struct Shape {
    samples: usize,
    features: usize,
    classes: usize,
}

impl Shape {
    fn id(self) -> String {
        format!("{}x{}-{}-classes-f32{CPU}", self.samples, self.features, self.classes)
    }

    /// The products of one report: half of the symmetric scatter, every sample times every mean and every row of the head, the
    /// Gram matrices of means and head, and the eigenvalues of a p×p matrix (4/3 p³: its reduction to three diagonals).
    /// The features are read twice: for the moments, and for the decisions.
    fn work(self) -> Work {
        let [n, p, k] = [self.samples, self.features, self.classes].map(|size| size as f64);
        let operations = n * p * (p + 1.0) + 4.0 * n * p * k + 4.0 * k * k * p + 4.0 / 3.0 * p.powi(3);
        Work { operations, bytes: 8.0 * n * p }
    }
}

const LARGE: [Shape; 2] = [
    Shape { samples: 1_000_000, features: 512, classes: 100 },
    Shape { samples: 50_000, features: 2048, classes: 1000 },
];
const SMALL: [Shape; 2] =
    [Shape { samples: 100_000, features: 512, classes: 100 }, Shape { samples: 10_000, features: 2048, classes: 200 }];

struct Data {
    shape: Shape,
    features: Vec<f32>,
    labels: Vec<u32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    head: Head,
}

impl Data {
    fn draw(shape: Shape) -> Self {
        const TABLE: usize = 1 << 20;
        let normals = |purpose: &str, count: usize| -> Vec<f32> {
            let mut stream = streams::stream(1, &format!("benches/collapse/{purpose}"), 0);
            streams::standard_normal(&mut stream, count).into_iter().map(|draw| draw as f32).collect()
        };
        let Shape { samples, features: width, classes } = shape;
        let means = normals("means", classes * width);
        let labels: Vec<u32> = (0..samples).map(|row| (row * 7919 % classes) as u32).collect();
        // One long table of draws, read from another offset for each row: much faster than fresh draws.
        let noise = normals("noise", TABLE);
        let mut features = vec![0f32; samples * width];
        for (row, (line, &label)) in features.chunks_exact_mut(width).zip(&labels).enumerate() {
            let shift = row.wrapping_mul(40_503) % (TABLE - width);
            let mean = &means[label as usize * width..][..width];
            line.iter_mut()
                .zip(mean)
                .zip(&noise[shift..])
                .for_each(|((value, mean), noise)| *value = mean + 2.0 * noise);
        }
        let bias = normals("bias", classes);
        let head = Head::from_slices(&means, Some(&bias), classes).expect("a head of finite numbers");
        Self { shape, features, labels, weight: means, bias, head }
    }

    fn report(&self) -> CollapseReport {
        self.report_with(&ReportOptions::default())
    }

    fn report_with(&self, options: &ReportOptions) -> CollapseReport {
        report_slice(&self.features, self.shape.features, &self.labels, Some(&self.head), options).expect("a report")
    }
}

/// Writes a small case with our measures of it, which the peers compute again before the timing starts.
fn write_case(path: &Path) -> candle_core::Result<()> {
    let data = Data::draw(Shape { samples: 4_000, features: 96, classes: 20 });
    let (n, p, k) = (data.shape.samples, data.shape.features, data.shape.classes);
    let mut tensors = HashMap::new();
    let report = data.report();
    let head = report.head.expect("a head was given");
    let cpu = &Device::Cpu;
    let measures = [
        ("cdnv", Some(report.cdnv.mean)),
        ("cdnv_max", Some(report.cdnv.max)),
        ("nc1", report.variability.nc1),
        ("trace_ratio", report.variability.trace_ratio),
        ("equinorm", report.simplex.equinorm),
        ("equiangularity", report.simplex.equiangularity),
        ("etf_error", report.simplex.etf_error),
        ("log_energy", report.simplex.log_energy),
        ("vci", report.variability.vci),
        ("rank_me", report.rank_me),
        ("self_duality", head.duality.difference),
        ("duality_etf_error", head.duality.product_error),
        ("alignment", head.duality.alignment),
        ("bias_collapse", head.bias_collapse),
        ("nc0", head.zero_sum.norm),
        ("agreement", Some(head.agreement.share)),
        ("nearest_mean_accuracy", Some(1.0 - report.nearest_mean.error)),
    ];
    for (name, value) in measures {
        let value = value.expect("every measure is defined on random features");
        tensors.insert(format!("report/{name}"), Tensor::new(&[value], cpu)?);
    }
    tensors.insert("features".to_owned(), Tensor::from_vec(data.features, (n, p), cpu)?);
    tensors.insert("labels".to_owned(), Tensor::from_vec(data.labels, n, cpu)?);
    tensors.insert("weight".to_owned(), Tensor::from_vec(data.weight, (k, p), cpu)?);
    tensors.insert("bias".to_owned(), Tensor::from_vec(data.bias, k, cpu)?);
    candle_core::safetensors::save(&tensors, path)
}

fn full_report(criterion: &mut Criterion) {
    write_case(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("collapse.safetensors")).expect("a case for the peers");
    let full = ReportOptions::default();
    // The measures of the package neural-collapse, which has no VCI and RankMe.
    let light = full.clone().with_projected_scatter();
    for shape in if quick() { SMALL } else { LARGE } {
        let data = LazyCell::new(|| Data::draw(shape));
        for (name, options) in [("full-report", &full), ("measures without scatter", &light)] {
            let mut group = criterion.benchmark_group(format!("collapse/{name}"));
            group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(5));
            group.throughput(Throughput::Elements(shape.samples as u64));
            group.bench_function(BenchmarkId::from_parameter(shape.id()), |bencher| {
                LazyCell::force(&data);
                bencher.iter(|| data.report_with(options));
            });
            group.finish();
        }
    }
}

/// The cost against one size; the other two are fixed at 20,000 samples, 512 features and 100 classes.
fn growth(criterion: &mut Criterion) {
    const MIDDLE: Shape = Shape { samples: 20_000, features: 512, classes: 100 };
    type Sweep = (&'static str, [usize; 4], fn(usize) -> Shape);
    let sizes: [Sweep; 3] = [
        ("samples", [5_000, 10_000, 20_000, 40_000], |samples| Shape { samples, ..MIDDLE }),
        ("features", [128, 256, 512, 1024], |features| Shape { features, ..MIDDLE }),
        ("classes", [25, 100, 400, 1600], |classes| Shape { classes, ..MIDDLE }),
    ];
    let mut curve = Curve::default();
    for (name, sizes, shape) in sizes {
        let group_name = format!("collapse/report against {name}");
        let mut group = criterion.benchmark_group(&group_name);
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(1));
        for size in sizes {
            let data = LazyCell::new(|| Data::draw(shape(size)));
            let parameter = format!("{size}{CPU}");
            curve.point(format!("{group_name}/{parameter}"), shape(size).work());
            group.throughput(Throughput::Elements(shape(size).samples as u64));
            group.bench_function(BenchmarkId::from_parameter(parameter), |bencher| {
                LazyCell::force(&data);
                bencher.iter(|| data.report());
            });
        }
        group.finish();
    }
    curve.write(Path::new(env!("CARGO_TARGET_TMPDIR")), "collapse").expect("the target directory is writable");
}

criterion_group!(benches, full_report, growth, peaks);
criterion_main!(benches);
