//! Errors in the command line, which end the program with exit code 2.

use std::fmt;

use crate::full_program;

/// Marks an error as one in the command line.
#[derive(Debug)]
struct Usage(anyhow::Error);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}

/// Marks an error as one in the command line: an unknown name, a value out of its range, arguments that contradict each
/// other. Errors of input files and of the machine are not marked.
pub(crate) fn usage(error: anyhow::Error) -> anyhow::Error {
    // What this program was compiled without says nothing about the command line.
    if is_usage(&error) || full_program::is_needed(&error) { error } else { anyhow::Error::new(Usage(error)) }
}

/// Whether an error is one in the command line.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_mark_survives_contexts_and_keeps_the_message() {
        let plain = anyhow!("it is 0").context("--rate");
        assert!(!is_usage(&plain));
        let marked: anyhow::Error = Err::<(), _>(usage(plain)).context("experiment `a`").unwrap_err();
        assert!(is_usage(&marked));
        assert_eq!(format!("{marked:#}"), "experiment `a`: --rate: it is 0");
    }
}
