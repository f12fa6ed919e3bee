//! The program under test: how it is started, and how it ended.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The path of the program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_xtask");

/// The program with these arguments, in a folder.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(args).stdin(Stdio::null());
    command
}

/// Runs a command.
pub(crate) fn xtask(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// Standard output and standard error of a command, with its exit code checked.
pub(crate) fn text(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Standard error of a command, with its exit code checked.
pub(crate) fn errors(output: &Output, code: i32) -> String {
    text(output, code);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard error of a command that ends with this exit code.
pub(crate) fn ended(folder: &Path, args: &[&str], code: i32) -> String {
    errors(&xtask(folder, args), code)
}

/// Standard output of a command that ends with 0.
pub(crate) fn printed(folder: &Path, args: &[&str]) -> String {
    let output = xtask(folder, args);
    text(&output, 0);
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON document that a command which ended with 0 printed.
pub(crate) fn document(output: &Output) -> Value {
    text(output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}
