//! Runs the test cases of the Python package `onnx` and prints a table in Markdown.
//!
//! `cargo run --release -p geometric-onnx --example standard -- CASES.safetensors > docs/src/crates/onnx-operators.md`
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "a program of the tests")]

mod cases;

use std::collections::BTreeMap;

use cases::Outcome;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give the file that tests/standard/export.py wrote")?;
    let cases = cases::run(path.as_ref())?;
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut total = [0; 3];
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    for case in &cases {
        let at = match &case.outcome {
            Outcome::Passed => 0,
            Outcome::Unsupported(reason) => {
                reasons.entry(&case.operator).or_insert(reason);
                1
            }
            Outcome::Failed(reason) => {
                eprintln!("{}: {reason}", case.name);
                2
            }
        };
        counts.entry(&case.operator).or_default()[at] += 1;
        total[at] += 1;
    }
    let [passed, unsupported, failed] = total;
    println!("# ONNX operators\n");
    println!(
        "The test cases of the Python package `onnx`: those of its operators, its models, and its classic networks. A case passes if all \
         outputs agree within the tolerances of the package. A case is unsupported if the graph is refused with what is missing. \
         This page is written by `cargo run --release -p geometric-onnx --example standard`.\n"
    );
    println!("{} cases: {passed} passed, {unsupported} unsupported, {failed} failed.\n", cases.len());
    println!("| operator | passed | unsupported | failed | unsupported because of |\n|---|---|---|---|---|");
    for (operator, [passed, unsupported, failed]) in &counts {
        let reason = reasons.get(operator).map_or("", |reason| reason.lines().next().unwrap_or(""));
        let reason =
            reason.replace("the measured tensor depends on what is not supported here: ", "").replace('|', "\\|");
        let short: String = reason.chars().take(100).collect();
        println!("| {operator} | {passed} | {unsupported} | {failed} | {short} |");
    }
    if failed > 0 {
        return Err(format!("{failed} cases failed").into());
    }
    Ok(())
}
