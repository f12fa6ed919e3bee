//! The commands of the workspace as a library: `reproduce` runs the paper's experiments, `measure`, `collapse`, `fewshot` and
//! `rank` measure networks and features in files, `data` manages data sets, `bench` compares speeds,
//! `claims` writes recorded claims into README and book.
//!
//! [`run`] is the whole of it. The programs `xtask` and `geometric-collapse` call it with their own name.

mod address_space;
mod anchors;
mod arguments;
mod arrays;
mod bench;
mod claims;
mod command_line;
mod data;
mod features;
mod files;
mod full_program;
#[doc(hidden)]
pub mod fuzzing;
mod invocation;
mod man;
mod measure;
mod output;
mod program;
mod provenance;
mod rank;
mod report;
mod reproduce;
mod shell;
mod study;
mod suggest;
mod task;
mod usage;

use std::ffi::OsString;

use anyhow::anyhow;

use command_line::Parsed;
use invocation::Invocation;
pub use program::Program;

/// Exit code of a command that did all of its work.
const SUCCESS: u8 = 0;

/// Exit code of an error of a file or of the machine.
const FAILURE: u8 = 1;

/// Exit code of an error in the command line.
const USAGE: u8 = 2;

/// Exit code of a command that an interrupt ended, as in shells.
const INTERRUPTED: u8 = 130;

/// How a command ended, other than by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It did all of its work.
    Complete,
    /// An interrupt stopped it.
    Interrupted,
    /// A run had no space for its results; the exit code reports it to its parent.
    NoSpace,
}

/// Runs the command with these arguments (without the name of the program), and returns its exit code.
///
/// Results go to standard output, progress and errors to standard error. The exit codes are 0 (done), 1 (an error of a file or
/// of the machine), 2 (an error in the command line) and 130 (interrupted). Nothing panics, and the process does not end, except
/// that of the hidden command `run --attached` when its parent has ended.
///
/// Ctrl-C is handled by `reproduce` alone, which sets a handler of the process once.
///
/// ```
/// use xtask::{Program, run};
///
/// let program = Program::installed("geometric-collapse");
/// assert_eq!(run(&program, ["reproduce", "--list"]), 0);
/// assert_eq!(run(&program, ["no-such-command"]), 2);
/// ```
pub fn run<A: Into<OsString>>(program: &Program, arguments: impl IntoIterator<Item = A>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    output::forget_failure();
    let ended = match command_line::parse(program, &arguments) {
        Parsed::Command(command) => command.run(&Invocation::new(program, &arguments)),
        Parsed::Help(text) => {
            output::print(&text);
            Ok(Ending::Complete)
        }
        Parsed::Wrong => return USAGE,
    };
    let ended = match (ended, output::failure()) {
        (Ok(_), Some(failure)) => Err(anyhow!(failure)),
        (ended, _) => ended,
    };
    match ended {
        Ok(Ending::Complete) => SUCCESS,
        Ok(Ending::Interrupted) => INTERRUPTED,
        Ok(Ending::NoSpace) => reproduce::NO_SPACE,
        Err(error) if full_program::is_needed(&error) && program.in_workspace() => {
            full_program::run(&error, &arguments).unwrap_or_else(|error| {
                output::note_error!("error: {}", message(&error));
                FAILURE
            })
        }
        Err(error) => {
            output::note_error!("error: {}", message(&error));
            if usage::is_usage(&error) { USAGE } else { FAILURE }
        }
    }
}

/// An error with its causes, without repetitions: a message often ends with its cause, or a cause begins with the file name
/// that precedes it.
fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if parts.last().is_some_and(|before| before.contains(&cause)) {
            continue;
        }
        if parts.last().is_some_and(|before| cause.starts_with(&format!("{before}:"))) {
            parts.pop();
        }
        parts.push(cause);
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::message;

    #[test]
    fn each_cause_is_in_the_message_once() {
        let file = anyhow!("os error 2").context("a.toml: reading: os error 2").context("a.toml");
        assert_eq!(message(&file), "a.toml: reading: os error 2");
        assert_eq!(message(&anyhow!("it is 0").context("net.toml")), "net.toml: it is 0");
    }
}
