//! The command line of the project, for the console script of the package.

use std::ffi::OsString;

use pyo3::prelude::*;
use xtask::Program;

/// Runs the command line with these arguments and returns its exit code. `interpreter` are the words that start the package
/// again: a sweep trains each run in a process of its own.
#[pyfunction]
pub(crate) fn run_command_line(py: Python<'_>, interpreter: Vec<OsString>, arguments: Vec<OsString>) -> u8 {
    let program = Program::installed("geometric-collapse").started_by(interpreter);
    py.detach(|| xtask::run(&program, arguments))
}
