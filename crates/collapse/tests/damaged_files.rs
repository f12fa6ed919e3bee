//! Damaged copies of every file that this crate reads, and the inputs that fuzzing found: a value or an error, no panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on may panic")]

#[path = "../fuzz/readers.rs"]
mod readers;

use collapse::{CdnvConvention, ClassMoments, Head, ReportOptions, Scatter, cdnv_matrix, report_slice};
use rand::Rng;

type Reader = fn(&[u8]);

/// The readers, by the start of the names of files in `fuzz/found`.
const READERS: [(&str, Reader); 3] =
    [("moments", readers::moments), ("head", readers::head), ("report", readers::report)];

/// Runs a reader over the input and over damaged copies of it.
fn run(name: &str, seed: &[u8], rounds: u64, read: impl Fn(&[u8])) {
    read(seed);
    for round in 0..rounds {
        let mut stream = streams::stream(0, &format!("collapse/damaged/{name}"), round);
        let mut below = |n: u64| stream.random_range(0..n);
        read(&support::damaged(seed, &mut below));
    }
}

#[test]
fn inputs_found_by_fuzzing_are_errors_or_values() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/found");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let read = READERS.iter().find(|(reader, _)| name.starts_with(reader));
        read.unwrap_or_else(|| panic!("{name} starts with no reader's name")).1(&bytes);
    }
}

#[test]
fn damaged_moments_heads_and_reports_are_errors_or_values() {
    let features: Vec<f64> = (0..24).map(|at| f64::from(at * at % 17)).collect();
    let labels = [0, 1, 3, 0, 1, 3, 1, 3];
    for scatter in [Scatter::Trace, Scatter::Full] {
        let mut moments = ClassMoments::new(5, 3, scatter);
        moments.update_slice(&features, &labels).unwrap();
        run("moments", &serde_json::to_vec(&moments).unwrap(), 3000, readers::moments);
        let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
        run("matrix", &serde_json::to_vec(&matrix).unwrap(), 1500, readers::report);
    }
    let head = Head::from_slices(&features[..15], Some(&[0.5; 5]), 5).unwrap();
    run("head", &serde_json::to_vec(&head).unwrap(), 3000, readers::head);
    let options =
        ReportOptions::default().with_class_count(5).with_gc_per_sample(vec![1.5; 8]).with_memory_limit(1 << 20);
    let report = report_slice(&features, 3, &labels, Some(&head), &options).unwrap();
    run("report", &serde_json::to_vec(&report).unwrap(), 3000, readers::report);
    run("options", &serde_json::to_vec(&options).unwrap(), 3000, readers::report);
}
