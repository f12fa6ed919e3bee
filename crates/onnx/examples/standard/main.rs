//! Runs the test cases of the Python package `onnx` and prints a table in Markdown.
//!
//! `cargo run --release -p geometric-onnx --example standard -- CASES.safetensors > docs/src/crates/onnx-operators.md`
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "a program of the tests")]

mod cases;

use cases::Outcome;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give the file that tests/standard/export.py wrote")?;
    let cases = cases::run(path.as_ref())?;
    print!("{}", cases::table(&cases));
    let mut failed = 0;
    for case in &cases {
        if let Outcome::Failed(reason) = &case.outcome {
            eprintln!("{}: {reason}", case.name);
            failed += 1;
        }
    }
    if failed > 0 { Err(format!("{failed} cases failed").into()) } else { Ok(()) }
}
