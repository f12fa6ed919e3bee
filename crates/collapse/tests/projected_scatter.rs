//! NC1 from the scatter of the projections on class means agrees with NC1 from the scatter of the features.

#![allow(clippy::unwrap_used)] // a failed test panics

use collapse::{CollapseReport, Head, ReportOptions, Scatter, Weighting, report_slice};

const WIDTH: usize = 40;

/// Classes of different sizes around normal means, far from 0; the spread of the means is the given one.
fn data(classes: usize, width: usize, spread: impl Fn(usize) -> f64) -> (Vec<f64>, Vec<u32>) {
    let draw = |purpose: &str, count: usize| {
        streams::standard_normal(&mut streams::stream(5, &format!("collapse/tests/projected/{purpose}"), 0), count)
    };
    let means = draw("means", classes * width);
    let labels: Vec<u32> =
        (0..classes as u32).flat_map(|class| std::iter::repeat_n(class, 3 + (class as usize * 7) % 50)).collect();
    let noise = draw("noise", labels.len() * width);
    let row = |(row, &label): (usize, &u32)| -> Vec<f64> {
        let at = |column: usize| {
            let mean = means[label as usize * width + column] * spread(column);
            30.0 + mean + noise[row * width + column] * (1.0 + column as f64 / width as f64)
        };
        (0..width).map(at).collect()
    };
    (labels.iter().enumerate().flat_map(row).collect(), labels)
}

fn reports<E: collapse::Element>(
    features: &[E],
    width: usize,
    labels: &[u32],
    weighting: Weighting,
) -> [CollapseReport; 3] {
    let classes = *labels.iter().max().unwrap() as usize + 1;
    let weight: Vec<f64> = (0..classes * width).map(|at| (at as f64).sin()).collect();
    let head = Head::from_slices(&weight, None, classes).unwrap();
    let options = ReportOptions::default().with_weighting(weighting);
    let light = options.clone().with_projected_scatter();
    let trace = options.clone().with_scatter(Scatter::Trace);
    [options, trace, light].map(|options| report_slice(features, width, labels, Some(&head), &options).unwrap())
}

#[test]
fn nc1_is_that_of_the_scatter_matrix_in_both_weightings_and_precisions() {
    let (wide, labels) = data(12, WIDTH, |_| 1.0);
    let narrow: Vec<f32> = wide.iter().map(|&value| value as f32).collect();
    for weighting in [Weighting::ClassBalanced, Weighting::SampleWeighted] {
        for (reports, tolerance) in
            [(reports(&wide, WIDTH, &labels, weighting), 1e-10), (reports(&narrow, WIDTH, &labels, weighting), 1e-5)]
        {
            let [full, trace, light] = reports.each_ref().map(|report| report.variability.nc1.unwrap());
            assert!((light / full - 1.0).abs() < tolerance, "{weighting:?}: {light} {full}");
            assert!((light / trace - 1.0).abs() < tolerance, "{weighting:?}: {light} {trace}");
            // Two sums in f64 may round to the same number; in f32 they differ.
            assert!(tolerance < 1e-9 || light != trace, "the projections are another sum");
        }
    }
}

#[test]
fn all_other_measures_are_those_without_a_scatter_matrix() {
    let (features, labels) = data(12, WIDTH, |_| 1.0);
    let [_, trace, mut light] = reports(&features, WIDTH, &labels, Weighting::default());
    assert_eq!((light.variability.vci, light.rank_me), (None, None));
    (light.variability.nc1, light.variability.nc1_trace) = (trace.variability.nc1, trace.variability.nc1_trace);
    assert_eq!(light, trace);
}

#[test]
fn with_more_classes_than_features_or_a_spread_spectrum_the_eigenvectors_are_used() {
    let few = data(30, 9, |_| 1.0);
    let flat = data(12, WIDTH, |column| if column == 0 { 1e4 } else { 1.0 });
    for ((features, labels), width) in [(few, 9), (flat, WIDTH)] {
        let [_, trace, light] = reports(&features, width, &labels, Weighting::default());
        assert_eq!(light, trace);
    }
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let (features, labels) = data(12, WIDTH, |_| 1.0);
    let features: Vec<f32> = features.iter().map(|&value| value as f32).collect();
    let options = ReportOptions::default().with_projected_scatter();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| report_slice(&features, WIDTH, &labels, None, &options).unwrap())
    };
    assert_eq!(with(1), with(3));
}
