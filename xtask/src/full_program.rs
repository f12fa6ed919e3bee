//! The program with all features, compiled and started by cargo where a command needs more than `cargo xtask` is compiled with.
//!
//! `reproduce` on the embedded data set needs no network, no image decoder and no reader of other programs' files, which
//! take long to compile.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::output::note;

/// An operation that this program was compiled without.
#[derive(Debug)]
struct LeftOut {
    /// The operation, as a noun phrase.
    operation: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} needs the full program (cargo run --release --package xtask --bin xtask-full)", self.operation)
    }
}

impl std::error::Error for LeftOut {}

/// The error of an operation that this program was compiled without.
#[cfg_attr(feature = "full", allow(dead_code, reason = "then nothing is left out"))]
pub(crate) fn left_out(operation: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(LeftOut { operation: operation.into() })
}

/// Whether an error says that the full program is needed, and this is not it.
pub(crate) fn is_needed(error: &anyhow::Error) -> bool {
    let of_datasets = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(datasets::Error::MissingFeature { .. }))
    };
    !cfg!(feature = "full") && error.chain().any(|cause| cause.is::<LeftOut>() || of_datasets(cause))
}

/// Has cargo compile the full program, which takes the place of this process, and returns its exit code where the system has no such
/// replacement.
///
/// # Errors
/// The error itself where this program was not started by cargo, or if cargo cannot be started.
pub(crate) fn run(error: &anyhow::Error, arguments: &[OsString]) -> Result<u8> {
    let cargo = std::env::var_os("CARGO").with_context(|| format!("{error:#}"))?;
    note!("{error:#}; cargo starts it now, and has to compile it the first time, for a minute or two");
    replaced_by(command(&cargo, arguments)).context("cannot start cargo")
}

/// The command of the full program with these arguments. It has a file of its own, because a sweep that is under way starts its runs by
/// that of this program.
fn command(cargo: &OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--package", "xtask", "--bin", "xtask-full", "--"]).args(arguments);
    command
}

#[cfg(unix)]
fn replaced_by(mut command: Command) -> Result<u8> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn replaced_by(mut command: Command) -> Result<u8> {
    let status = command.status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::FAILURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_program_gets_the_same_arguments() {
        let command = command(OsStr::new("/bin/cargo"), &["data", "show", "a b"].map(OsString::from));
        let words: Vec<&OsStr> = command.get_args().collect();
        assert_eq!(
            words,
            ["run", "--release", "--package", "xtask", "--bin", "xtask-full", "--", "data", "show", "a b"]
        );
        assert_eq!(command.get_program(), "/bin/cargo");
    }

    /// With all features, by which nothing is left out; the other case is that of `cargo test -p xtask --no-default-features`.
    #[test]
    fn what_is_left_out_needs_the_full_program() {
        let of_datasets = datasets::Error::MissingFeature { operation: "a download".to_owned(), feature: "hub" };
        for error in [left_out("a sheet of images"), of_datasets.into()] {
            let error = error.context("cannot show the data set `a`");
            assert_eq!(is_needed(&error), !cfg!(feature = "full"), "{error:#}");
            assert_eq!(crate::usage::is_usage(&crate::usage::usage(error)), cfg!(feature = "full"));
        }
        assert!(!is_needed(&anyhow::anyhow!("a.npz: no zip archive")));
    }
}
