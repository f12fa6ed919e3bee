//! Every measure against values that an independent NumPy program computed in f64 (see `golden/README.md`).

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Divisor, Error, Head, ReportOptions, Scatter, Truncation, Weighting,
    cdnv_matrix, report_slice, variability,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// Absolute tolerance, relative for values above 1. The reference itself rounds at about 1e-15.
const TOLERANCE: f64 = 1e-9;

const SETS: [&str; 7] = [
    "balanced",
    "imbalanced",
    "wide_rank_deficient",
    "imbalanced_long_tail",
    "two_classes",
    "two_point_analytic",
    "etf_exact",
];

struct Set {
    features: Vec<f64>,
    labels: Vec<u32>,
    width: usize,
    classes: usize,
    weight: Vec<f64>,
    bias: Vec<f64>,
    gc: Vec<f64>,
    cdnv: Vec<f64>,
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let tensor = file.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(8);
    let values = match tensor.dtype() {
        safetensors::Dtype::F64 => values.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect(),
        safetensors::Dtype::I64 => values.map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f64).collect(),
        other => panic!("unexpected type {other:?}"),
    };
    (tensor.shape().to_vec(), values)
}

fn set(name: &str) -> Set {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |part: &str| numbers(&file, &format!("{name}.{part}"));
    let (shape, features) = read("features");
    Set {
        features,
        labels: read("labels").1.into_iter().map(|label| label as u32).collect(),
        width: shape[1],
        classes: read("W").0[0],
        weight: read("W").1,
        bias: read("b").1,
        gc: read("gc").1,
        cdnv: read("V").1,
    }
}

fn expected() -> Value {
    let text = include_str!("golden/metrics.json");
    serde_json::from_str::<Value>(text).unwrap()["metrics"].take()
}

fn measure(set: &Set, weighting: Weighting) -> CollapseReport {
    let head = Head::from_slices(&set.weight, Some(&set.bias), set.classes).unwrap();
    let options = ReportOptions::default().with_weighting(weighting).with_gc_per_sample(set.gc.clone());
    report_slice(&set.features, set.width, &set.labels, Some(&head), &options).unwrap()
}

#[track_caller]
fn close(name: &str, actual: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    let error = (actual - expected).abs() / expected.abs().max(1.0);
    assert!(error <= TOLERANCE, "{name}: {actual} for {expected}");
}

#[test]
fn measures_of_pairs_and_decisions() {
    let golden = expected();
    for name in SETS {
        let (set, golden) = (set(name), &golden[name]);
        let report = measure(&set, Weighting::ClassBalanced);
        let head = report.head.unwrap();
        close("cdnv", report.cdnv.mean, &golden["cdnv_mean"]);
        close("cdnv_max", report.cdnv.max, &golden["cdnv_max"]);
        close("geometric", report.geometric.mixture.unwrap(), &golden["geo_mixture"]);
        close("pairwise", report.geometric.pairwise.unwrap(), &golden["geo_pairwise"]);
        close("nc4", head.agreement.share, &golden["nc4_agreement"]);
        close("ncc", 1.0 - report.nearest_mean.error, &golden["ncc_acc"]);
        close("head", head.agreement.head_accuracy, &golden["head_acc"]);
        assert_eq!(report.cdnv.excluded_pairs.total(), 0);
    }
}

#[test]
fn the_mixture_form_with_class_balanced_complexity() {
    let golden = expected();
    for name in SETS {
        let (set, golden) = (set(name), &golden[name]);
        let mut moments = ClassMoments::new(set.classes, set.width, Scatter::Trace);
        moments.update_slice(&set.features, &set.labels).unwrap();
        let gc = golden["gc_class_balanced"].as_f64().unwrap();
        let value = collapse::geometric_collapse(&moments, gc).unwrap().value;
        close(name, value, &golden["geo_mixture_class_balanced_gc"]);
    }
}

#[test]
fn class_variances_and_the_matrix_of_pairs() {
    let golden = expected();
    for name in SETS {
        let (set, golden) = (set(name), &golden[name]);
        let mut moments = ClassMoments::new(set.classes, set.width, Scatter::Trace);
        moments.update_slice(&set.features, &set.labels).unwrap();
        let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
        for class in 0..set.classes {
            close(name, moments.variance(class, Divisor::Samples).unwrap(), &golden["class_var"][class]);
            for other in (0..set.classes).filter(|&other| other != class) {
                let value = matrix.get(class, other).unwrap();
                assert!((value - set.cdnv[class * set.classes + other]).abs() <= TOLERANCE);
            }
        }
    }
}

#[test]
fn measures_in_both_weightings() {
    let golden = expected();
    for name in SETS {
        for (tag, weighting) in
            [("class_balanced", Weighting::ClassBalanced), ("sample_weighted", Weighting::SampleWeighted)]
        {
            let (set, golden) = (set(name), &golden[name][tag]);
            let report = measure(&set, weighting);
            let head = report.head.unwrap();
            let pairs = [
                ("nc1", report.variability.nc1),
                ("tr_ratio", report.variability.trace_ratio),
                ("tr_SW", report.variability.trace_within),
                ("tr_SB", report.variability.trace_between),
                ("nc2_equinorm_cv", report.simplex.equinorm),
                ("equiang_cos_mean", report.simplex.cosine_mean),
                ("equiang_cos_std", report.simplex.cosine_std),
                ("equiang_mean_abs_dev", report.simplex.equiangularity),
                ("equiang_max_abs_dev", report.simplex.equiangularity_max),
                ("etf_dev", report.simplex.etf_error),
                ("nc3", head.duality.difference),
                ("nc3_sq", head.duality.difference_squared),
            ];
            for (key, value) in pairs {
                close(&format!("{name} {tag} {key}"), value.unwrap(), &golden[key]);
            }
            assert_eq!(report.variability.nc1_rank.unwrap() as u64, golden["rank_SB"].as_u64().unwrap());
            // The sets whose total covariance is singular have no VCI.
            assert!(report.undefined.iter().all(|gap| gap.measure == "vci"), "{:?}", report.undefined);
        }
    }
}

#[test]
fn nc1_from_moments_alone_is_given_where_the_pooled_scatter_allows_it() {
    let golden = expected();
    for name in SETS {
        let set = set(name);
        let mut moments = ClassMoments::new(set.classes, set.width, Scatter::Full);
        moments.update_slice(&set.features, &set.labels).unwrap();
        let measure = |weighting| variability(&moments, weighting, Truncation::default());
        close(name, measure(Weighting::SampleWeighted).unwrap().nc1, &golden[name]["sample_weighted"]["nc1"]);
        let equal = moments.counts().iter().all(|count| *count == moments.counts()[0]);
        match measure(Weighting::ClassBalanced) {
            Ok(variability) if equal => close(name, variability.nc1, &golden[name]["class_balanced"]["nc1"]),
            Err(Error::ScatterNotHeld { .. }) if !equal => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn features_in_single_precision_stay_close() {
    // The golden features are exact in f32, so only products of deviations differ: relative 1e-5.
    for name in SETS {
        let set = set(name);
        let narrow: Vec<f32> = set.features.iter().map(|&value| value as f32).collect();
        let options = ReportOptions::default().with_gc_per_sample(set.gc.clone());
        let head = Head::from_slices(&set.weight, Some(&set.bias), set.classes).unwrap();
        let single = report_slice(&narrow, set.width, &set.labels, Some(&head), &options).unwrap();
        let double = measure(&set, Weighting::ClassBalanced);
        let pairs = [
            (single.cdnv.mean, double.cdnv.mean, 1e-14),
            (single.variability.nc1.unwrap(), double.variability.nc1.unwrap(), 1e-5),
            (single.rank_me.unwrap(), double.rank_me.unwrap(), 1e-4),
            (single.cdnv.directional.unwrap(), double.cdnv.directional.unwrap(), 1e-5),
        ];
        assert!(single.variability.vci.is_some() || double.variability.vci.is_none(), "{name}");
        let vci = single.variability.vci.zip(double.variability.vci).map(|(single, double)| (single, double, 1e-5));
        for (single, double, tolerance) in pairs.into_iter().chain(vci) {
            assert!((single - double).abs() <= tolerance * double.abs(), "{name}: {single} for {double}");
        }
        assert_eq!(single.head.unwrap().agreement.share, double.head.unwrap().agreement.share);
    }
}
