//! The smallest test case of each operator of the Python package `onnx`, and with `ONNX_STANDARD` those of another file.
//!
//! With `ONNX_TABLE` the page of the book is written to that file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests, which may panic")]

use std::path::{Path, PathBuf};

#[path = "../examples/standard/cases.rs"]
mod cases;

use cases::Outcome;

#[test]
fn no_case_of_the_standard_fails() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standard/cases.safetensors");
    let path = std::env::var_os("ONNX_STANDARD").map_or(own, PathBuf::from);
    let cases = cases::run(&path).unwrap();
    if let Some(page) = std::env::var_os("ONNX_TABLE") {
        std::fs::write(page, cases::table(&cases)).unwrap();
    }
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| match &case.outcome {
            Outcome::Failed(reason) => Some(format!("{} ({}): {reason}", case.name, case.operator)),
            _ => None,
        })
        .collect();
    let passed = cases.iter().filter(|case| case.outcome == Outcome::Passed).count();
    println!("{passed} of {} passed", cases.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(2 * passed > cases.len());
}
