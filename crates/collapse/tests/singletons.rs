//! Classes of one sample are left out of all sums, and counted. Values worked by hand.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Error, Head, Preset, ReportOptions, SamplePass, Scatter, Weighting,
    cdnv, cdnv_matrix, geometric_collapse, rank_me, report_slice, self_duality, simplex, trace_ratio, vci,
};

/// Classes 0 and 1 of two samples, and class 2 of the one sample (0, 10).
const FEATURES: [f64; 10] = [0.0, 0.0, 2.0, 0.0, 10.0, 0.0, 12.0, 0.0, 0.0, 10.0];
const LABELS: [u32; 5] = [0, 0, 1, 1, 2];

#[track_caller]
fn close(left: f64, right: f64) {
    assert!((left - right).abs() <= 1e-12 * right.abs().max(1.0), "{left} and {right}");
}

fn moments() -> ClassMoments {
    let mut moments = ClassMoments::new(3, 2, Scatter::Full);
    moments.update_slice(&FEATURES, &LABELS).unwrap();
    moments
}

#[test]
fn the_singleton_is_left_out_of_every_measure() {
    // Means (1, 0) and (11, 0), variances 1: d² = 100, Σ_W = diag(1, 0), Σ_B = diag(25, 0).
    let moments = moments();
    for weighting in [Weighting::ClassBalanced, Weighting::SampleWeighted] {
        let traces = trace_ratio(&moments, weighting).unwrap();
        close(traces.ratio, 0.04);
        close(traces.between, 25.0);
        close(traces.within, 1.0);
        assert_eq!((traces.classes, traces.singleton_classes, traces.samples), (2, 1, 4));
        let geometry = simplex(&moments, weighting).unwrap();
        close(geometry.cosine_mean, -1.0);
        close(geometry.etf_error, 0.0);
        assert_eq!(moments.global_mean(weighting).unwrap(), [6.0, 0.0]);
    }
    let found = cdnv(&moments, CdnvConvention::default()).unwrap();
    close(found.mean, 0.01);
    assert_eq!((found.pairs, found.excluded_pairs.singleton, found.singleton_classes, found.samples), (1, 2, 1, 4));
    // k = 2 classes take part: GC·(1/d²) = 3/100.
    let collapse = geometric_collapse(&moments, 3.0).unwrap();
    close(collapse.value, 0.03);
    assert_eq!((collapse.pairs, collapse.excluded_pairs.singleton), (1, 2));
    let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
    assert_eq!((matrix.get(0, 1), matrix.get(0, 2), matrix.classes()), (Some(0.01), None, &[0, 1][..]));
    // The row of the singleton class in the head takes no part in NC3.
    let head = Head::from_slices(&[-1.0f64, 0.0, 1.0, 0.0, 50.0, 70.0], None, 3).unwrap();
    close(self_duality(&head, &moments, Weighting::ClassBalanced).unwrap().difference, 0.0);
    // Without the singleton the second feature is constant.
    assert!((rank_me(&moments, collapse::Centring::Uncentred).unwrap().rank_me - 1.0).abs() < 1e-5);
    assert!(matches!(vci(&moments, Weighting::SampleWeighted), Err(Error::Singular { rank: 1, size: 2, .. })));
}

/// Compares two reports field by field, except for the counts of classes, samples and pairs that were left out.
#[track_caller]
fn same(left: &CollapseReport, right: &CollapseReport) {
    let [left, right] = [left, right].map(|report| serde_json::to_value(report).unwrap());
    let counts = ["missing_classes", "singleton_classes", "left_out_samples", "excluded_pairs"];
    for (field, value) in left.as_object().unwrap().iter().filter(|(field, _)| !counts.contains(&field.as_str())) {
        match (value.as_f64(), right[field].as_f64()) {
            (Some(value), Some(expected)) => {
                assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{field}: {value}, {expected}");
            }
            _ => assert_eq!(value, &right[field], "{field}"),
        }
    }
}

#[test]
fn a_report_is_the_same_as_without_the_singleton() {
    // Unequal counts, so that the second pass is tested in both weightings.
    let features = [0.0, 0.1, 2.0, -0.4, 1.5, 0.2, 10.0, 0.7, 12.0, 0.9, 3.0, 3.5, 4.0, 4.0, 0.0, 10.0];
    let labels = [0, 0, 0, 1, 1, 2, 2, 3];
    let gc = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1000.0];
    for weighting in [Weighting::ClassBalanced, Weighting::SampleWeighted] {
        let measure = |count: usize| {
            let options = ReportOptions::default().with_weighting(weighting).with_gc_per_sample(gc[..count].to_vec());
            report_slice(&features[..2 * count], 2, &labels[..count], None, &options).unwrap()
        };
        let (with, without) = (measure(8), measure(7));
        let counts = with.counts;
        assert_eq!((counts.singleton_classes, counts.left_out_samples, counts.samples, counts.classes), (1, 1, 7, 3));
        assert_eq!(with.cdnv.excluded_pairs.singleton, 3);
        assert!(with.cdnv.std_error.is_some() && with.variability.vci.is_some());
        same(&with, &without);
    }
}

#[test]
fn fewer_than_two_remaining_classes_are_an_error() {
    let report = report_slice(&[0.0f64, 1.0, 5.0], 1, &[0, 0, 1], None, &ReportOptions::default());
    assert!(matches!(report, Err(Error::TooFewClasses { found: 1, singletons: 1, needed: 2, .. })), "{report:?}");
}

#[test]
fn a_one_shot_classifier_of_other_samples_keeps_its_classes() {
    let mut train = ClassMoments::new(2, 1, Scatter::Trace);
    train.update_slice(&[0.0f64, 4.0], &[0, 1]).unwrap();
    let mut pass = SamplePass::new(&train).unwrap();
    pass.update_slice(&[1.0f64, 3.0, 3.5, 9.0], &[0, 0, 1, 1]).unwrap();
    assert_eq!(pass.nearest_mean_error().unwrap().error, 0.25);
}

#[test]
fn presets_keep_the_singleton_as_their_codebases_do() {
    // Σ_W over 5 samples: 4·1/5. Class means (1, 0), (11, 0), (0, 10) around (4, 10/3):
    // squared distances 9 + 100/9, 49 + 100/9, 16 + 400/9, with mean (74 + 600/9)/3.
    let found = Preset::RhubarbWu.measure(&moments(), None).unwrap();
    close(found.trace_ratio.unwrap(), 0.8 / ((74.0 + 600.0 / 9.0) / 3.0));
    // Squared distances of the pairs: 100, 101, 221; the variance of the singleton with divisor n is 0.
    close(found.cdnv.unwrap(), (2.0 / 200.0 + 1.0 / 202.0 + 1.0 / 442.0) / 3.0);
    assert_eq!((found.samples, Preset::NcToolbox.measure(&moments(), None).unwrap().cdnv), (5, None));
}

#[test]
fn the_total_scatter_of_fewer_samples_than_features_gives_no_index() {
    let wide: Vec<f64> = (0..20).map(|at| f64::from(at * at % 11)).collect();
    let report = report_slice(&wide, 5, &[0, 0, 1, 1], None, &ReportOptions::default()).unwrap();
    assert_eq!(report.variability.vci, None);
    let gap = report.undefined.iter().find(|gap| gap.measure == "vci").unwrap();
    assert!(gap.reason.contains("singular (rank at most 3)"), "{}", gap.reason);
}
