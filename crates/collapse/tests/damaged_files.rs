//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use collapse::{CdnvConvention, ClassMoments, Head, ReportOptions, Scatter, cdnv_matrix, report_slice};
use damaged_inputs::{Reader, read_damaged, replay};

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 3] =
    [("moments", readers::moments), ("head", readers::head), ("report", readers::report)];

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    replay(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found"), &READERS);
}

#[test]
fn damaged_moments_heads_and_reports_are_errors_or_values() {
    let features: Vec<f64> = (0..24).map(|at| f64::from(at * at % 17)).collect();
    let labels = [0, 1, 3, 0, 1, 3, 1, 3];
    for scatter in [Scatter::Trace, Scatter::Full] {
        let mut moments = ClassMoments::new(5, 3, scatter);
        moments.update_slice(&features, &labels).unwrap();
        read_damaged("collapse/damaged/moments", &serde_json::to_vec(&moments).unwrap(), 3000, readers::moments);
        let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
        read_damaged("collapse/damaged/matrix", &serde_json::to_vec(&matrix).unwrap(), 1500, readers::report);
    }
    let head = Head::from_slices(&features[..15], Some(&[0.5; 5]), 5).unwrap();
    read_damaged("collapse/damaged/head", &serde_json::to_vec(&head).unwrap(), 3000, readers::head);
    let options =
        ReportOptions::default().with_class_count(5).with_gc_per_sample(vec![1.5; 8]).with_memory_limit(1 << 20);
    let report = report_slice(&features, 3, &labels, Some(&head), &options).unwrap();
    read_damaged("collapse/damaged/report", &serde_json::to_vec(&report).unwrap(), 3000, readers::report);
    read_damaged("collapse/damaged/options", &serde_json::to_vec(&options).unwrap(), 3000, readers::report);
}
