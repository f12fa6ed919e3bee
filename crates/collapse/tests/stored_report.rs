//! Reports as JSON: a document that version 0.1.0 wrote is read and written back with the same keys and values, and the same
//! features give it again.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{CollapseReport, Head, Precision, ReportOptions, report_slice};
use serde_json::Value;

const DOCUMENT: &str = include_str!("documents/report.json");

const FEATURES: [[f64; 3]; 12] = [
    [0.0, 1.0, 4.0],
    [9.0, 8.0, 8.0],
    [8.0, 2.0, 13.0],
    [15.0, 0.0, 4.0],
    [2.0, 1.0, 2.0],
    [13.0, 15.0, 16.0],
    [9.0, 4.0, 1.0],
    [8.0, 8.0, 2.0],
    [1.0, 0.0, 0.0],
    [3.0, 3.0, 5.0],
    [7.0, 1.0, 1.0],
    [12.0, 9.0, 1.0],
];
const LABELS: [u32; 12] = [0, 1, 3, 0, 1, 3, 1, 3, 0, 3, 1, 4];
const WEIGHT: [f64; 15] = [1.0, 0.0, -0.5, 0.25, 2.0, 0.0, 0.0, 0.5, 0.5, -1.0, 1.0, 2.0, 0.5, 0.5, -2.0];
const BIAS: [f64; 5] = [0.5, 0.0, -0.25, 1.0, 0.0];

fn measured(head: Option<&Head>) -> Value {
    let gc: Vec<f64> = (1..=12).map(|sample| f64::from(sample) * 0.5).collect();
    let options = ReportOptions::default().with_class_count(5).with_gc_per_sample(gc).with_precision(Precision::Double);
    serde_json::to_value(report_slice(&FEATURES.concat(), 3, &LABELS, head, &options).unwrap()).unwrap()
}

/// The same keys, and numbers that agree to a relative 1e-12.
fn same(name: &str, found: &Value, stored: &Value) {
    match (found, stored) {
        (Value::Object(found), Value::Object(stored)) => {
            assert!(found.keys().eq(stored.keys()), "{name}: {:?}", found.keys());
            found.iter().for_each(|(key, value)| same(key, value, &stored[key]));
        }
        (Value::Number(found), Value::Number(stored)) if stored.is_f64() => {
            let (found, stored) = (found.as_f64().unwrap(), stored.as_f64().unwrap());
            assert!((found - stored).abs() <= 1e-12 * stored.abs(), "{name}: {found} for {stored}");
        }
        (found, stored) => assert_eq!(found, stored, "{name}"),
    }
}

#[test]
fn a_stored_report_is_read_and_written_back_unchanged() {
    let report: CollapseReport = serde_json::from_str(DOCUMENT).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), serde_json::from_str::<Value>(DOCUMENT).unwrap());
    // One value of each part.
    assert_eq!((report.counts.samples, report.counts.left_out_samples), (11, 1));
    assert_eq!((report.cdnv.max, report.cdnv.pairs), (3.1123499142367077, 3));
    assert_eq!(report.factors.mean_variance, Some(49.03472222222223));
    assert_eq!(report.geometric.pairwise, Some(0.10702695320430462));
    assert_eq!((report.variability.nc1_rank, report.variability.vci), (Some(2), Some(0.7348162675665574)));
    assert_eq!((report.rank_me, report.simplex.etf_error), (Some(2.4816209286141704), Some(0.7149645358717646)));
    assert_eq!(report.nearest_mean.std_error, 0.150131422517231);
    let head = report.head.unwrap();
    assert_eq!((head.duality.product_error, head.simplex.equinorm), (Some(1.067477314697315), Some(0.390855943982839)));
    assert_eq!((head.zero_sum.norm, head.agreement.head_accuracy), (Some(4.0697051490249265), 0.6363636363636364));
}

#[test]
fn the_same_features_give_the_stored_report_again() {
    let mut stored: Value = serde_json::from_str(DOCUMENT).unwrap();
    let reasons = |document: &mut Value| document.as_object_mut().unwrap().remove("undefined").unwrap();
    let names = |undefined: &Value| -> Vec<Value> {
        undefined.as_array().unwrap().iter().map(|entry| entry["measure"].clone()).collect()
    };
    let mut found = measured(Some(&Head::from_slices(&WEIGHT, Some(&BIAS), 5).unwrap()));
    assert_eq!(names(&reasons(&mut found)), names(&reasons(&mut stored)));
    same("report", &found, &stored);
}

#[test]
fn without_a_head_its_keys_are_absent() {
    let stored: Value = serde_json::from_str(DOCUMENT).unwrap();
    let of_head = [
        "self_duality",
        "self_duality_squared",
        "duality_etf_error",
        "alignment",
        "head_equinorm",
        "head_equiangularity",
        "head_etf_error",
        "bias_collapse",
        "nc0",
        "nc0_relative",
        "ncc_agreement",
        "ncc_agreement_std_error",
        "head_accuracy",
    ];
    let found = measured(None);
    let expected = stored.as_object().unwrap().keys().filter(|key| !of_head.contains(&key.as_str()));
    assert!(found.as_object().unwrap().keys().eq(expected));
    let report: CollapseReport = serde_json::from_value(found).unwrap();
    assert_eq!(report.head, None);
}
