//! Measures of slices against sums written out from their definitions; they hold with and without the feature `faer`.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{ClassMoments, Head, ReportOptions, Scatter, report_slice, trace_ratio};

const WIDTH: usize = 37;
const CLASSES: usize = 5;

/// Forty samples around five means.
fn samples() -> (Vec<f64>, Vec<u32>) {
    let labels: Vec<u32> = (0..40).map(|row| row % CLASSES as u32).collect();
    let noise = streams::standard_normal(&mut streams::stream(4, "collapse/tests/slices", 0), 40 * WIDTH);
    let value = |(at, noise): (usize, &f64)| {
        // Rounded to f32, so that both precisions hold the same numbers.
        f64::from((noise + if at % WIDTH == at / WIDTH % CLASSES { 4.0 } else { 0.0 }) as f32)
    };
    (noise.iter().enumerate().map(value).collect(), labels)
}

struct Reference {
    means: Vec<Vec<f64>>,
    variances: Vec<f64>,
    rows: Vec<Vec<f64>>,
    labels: Vec<u32>,
}

impl Reference {
    fn new() -> Self {
        let (features, labels) = samples();
        let rows: Vec<Vec<f64>> = features.chunks(WIDTH).map(<[f64]>::to_vec).collect();
        let of = |class: usize| rows.iter().zip(&labels).filter(move |(_, label)| **label as usize == class);
        let mean = |class: usize| -> Vec<f64> {
            (0..WIDTH).map(|at| of(class).map(|(row, _)| row[at]).sum::<f64>() / 8.0).collect()
        };
        let means: Vec<Vec<f64>> = (0..CLASSES).map(mean).collect();
        let variance = |class: usize| of(class).map(|(row, _)| squared(row, &means[class])).sum::<f64>() / 8.0;
        let variances = (0..CLASSES).map(variance).collect();
        Self { means, variances, rows, labels }
    }

    /// Mean over ordered pairs of classes.
    fn over_pairs(&self, value: impl Fn(usize, usize) -> f64) -> f64 {
        let pairs = (0..CLASSES * CLASSES).map(|at| (at / CLASSES, at % CLASSES)).filter(|(i, j)| i != j);
        pairs.map(|(i, j)| value(i, j)).sum::<f64>() / (CLASSES * (CLASSES - 1)) as f64
    }
}

fn squared(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found} for {expected}");
}

#[test]
fn measures_equal_the_sums_of_their_definitions() {
    let (features, labels) = samples();
    let narrow: Vec<f32> = features.iter().map(|&value| value as f32).collect();
    let reference = Reference::new();
    let weight: Vec<f64> = reference.means.iter().flatten().map(|value| 0.3 * value).collect();
    let head = Head::from_slices(&weight, None, CLASSES).unwrap();
    let options = ReportOptions::default().with_gc_per_sample((0..40).map(f64::from).collect::<Vec<_>>());
    let reports = [
        (report_slice(&features, WIDTH, &labels, Some(&head), &options).unwrap(), 1e-12),
        (report_slice(&narrow, WIDTH, &labels, Some(&head), &options).unwrap(), 1e-5),
    ];
    let Reference { means, variances, rows, labels } = &reference;
    let distance = |i: usize, j: usize| squared(&means[i], &means[j]);
    let directional = reference.over_pairs(|i, j| {
        let along = |row: &[f64]| {
            (0..WIDTH).map(|at| (row[at] - means[i][at]) * (means[i][at] - means[j][at])).sum::<f64>().powi(2)
        };
        let own = rows.iter().zip(labels).filter(|(_, label)| **label as usize == i);
        own.map(|(row, _)| along(row)).sum::<f64>() / 8.0 / distance(i, j).powi(2)
    });
    let nearest =
        |row: &[f64]| (0..CLASSES).min_by(|&a, &b| squared(row, &means[a]).total_cmp(&squared(row, &means[b])));
    let wrong = rows.iter().zip(labels).filter(|(row, label)| nearest(row) != Some(**label as usize)).count();
    let gc = |class: usize| (0..40).filter(|row| row % CLASSES == class).map(|row| row as f64).sum::<f64>() / 8.0;
    for (report, tolerance) in &reports {
        close(report.cdnv.mean, reference.over_pairs(|i, j| variances[i] / distance(i, j)), 1e-12);
        close(report.cdnv.directional.unwrap(), directional, *tolerance);
        let pairwise = reference.over_pairs(|i, j| (gc(i) + gc(j)) / 2.0 / distance(i, j));
        close(report.geometric.pairwise.unwrap(), pairwise, 1e-12);
        let mixture = 19.5 * 2.5 * reference.over_pairs(|i, j| 1.0 / distance(i, j));
        close(report.geometric.mixture.unwrap(), mixture, 1e-12);
        assert_eq!(report.nearest_mean.error, wrong as f64 / 40.0);
        assert!(report.cdnv.std_error.unwrap() > 0.0 && report.head.unwrap().duality.difference.is_some());
    }
}

#[test]
fn the_full_scatter_leaves_the_traces_unchanged_and_merges() {
    let (features, labels) = samples();
    let (mut whole, mut left, mut right) = (moments(Scatter::Full), moments(Scatter::Full), moments(Scatter::Full));
    whole.update_slice(&features, &labels).unwrap();
    left.update_slice(&features[..15 * WIDTH], &labels[..15]).unwrap();
    right.update_slice(&features[15 * WIDTH..], &labels[15..]).unwrap();
    left.merge(&right).unwrap();
    let mut plain = moments(Scatter::Trace);
    plain.update_slice(&features, &labels).unwrap();
    let traces = |of: &ClassMoments| trace_ratio(of, collapse::Weighting::SampleWeighted).unwrap();
    assert_eq!(traces(&whole), traces(&plain));
    close(traces(&left).ratio, traces(&whole).ratio, 1e-12);
}

fn moments(scatter: Scatter) -> ClassMoments {
    ClassMoments::new(CLASSES, WIDTH, scatter)
}

#[cfg(not(feature = "faer"))]
#[test]
fn measures_that_need_faer_are_undefined_and_the_reason_names_the_feature() {
    let (features, labels) = samples();
    let report = report_slice(&features, WIDTH, &labels, None, &ReportOptions::default()).unwrap();
    assert_eq!(
        (report.variability.nc1, report.variability.nc1_rank, report.variability.vci, report.rank_me),
        (None, None, None, None)
    );
    let named: Vec<&str> = report.undefined.iter().map(|gap| gap.measure.as_str()).collect();
    assert_eq!(named, ["nc1", "vci", "rank_me"]);
    assert!(report.undefined.iter().all(|gap| gap.reason.contains("feature `faer`")), "{:?}", report.undefined);
}
