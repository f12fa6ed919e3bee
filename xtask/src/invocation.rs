//! The command of this process, for the record in its output.

use std::ffi::OsString;

use serde::Serialize;

use crate::program::Program;
use crate::provenance::{self, Stopwatch};
use crate::shell;

/// One command: the program, its arguments, and its start.
pub(crate) struct Invocation<'a> {
    /// The program.
    pub(crate) program: &'a Program,
    command: String,
    watch: Stopwatch,
}

/// Where a JSON document comes from. Its numbers do not depend on anything in here.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    /// Name of the program.
    program: &'static str,
    /// Version of the program.
    version: &'static str,
    /// The commit that the program was built from, if it was known.
    commit: Option<&'static str>,
    /// The command as a shell takes it.
    command: String,
    /// Start of the work, in UTC as ISO 8601 writes it.
    time: String,
    /// Seconds since the start.
    seconds: f64,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(program: &'a Program, arguments: &[OsString]) -> Self {
        let words = arguments.iter().map(|word| shell::word(&word.to_string_lossy()));
        let command = [program.shown().to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        Self { program, command, watch: Stopwatch::start() }
    }

    /// The same command with a start of its own: one of several pieces of work, each with its record.
    pub(crate) fn restarted(&self) -> Self {
        Self { program: self.program, command: self.command.clone(), watch: Stopwatch::start() }
    }

    /// The record of a document that is written now.
    pub(crate) fn record(&self) -> Record {
        Record {
            program: self.program.name(),
            version: provenance::VERSION,
            commit: provenance::COMMIT,
            command: self.command.clone(),
            time: provenance::iso(self.watch.started()),
            seconds: (self.watch.seconds() * 1e3).round() / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_names_the_command_as_a_shell_takes_it() {
        let program = Program::installed("geometric-collapse");
        let arguments = ["collapse", "--features", "my file.npz"].map(OsString::from);
        let record = serde_json::to_value(Invocation::new(&program, &arguments).record()).unwrap();
        assert_eq!(record["command"], "geometric-collapse collapse --features 'my file.npz'");
        assert_eq!(
            (&record["program"], &record["version"]),
            (&"geometric-collapse".into(), &provenance::VERSION.into())
        );
        assert!(record["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_later_piece_of_work_has_its_own_start() {
        let program = Program::installed("geometric-collapse");
        let first = Invocation::new(&program, &["reproduce", "all"].map(OsString::from));
        let between = std::time::Duration::from_millis(20);
        std::thread::sleep(between);
        let second = first.restarted();
        // The second started later and ends earlier, by at least the pause.
        let (second, first) = (second.record(), first.record());
        assert!(second.seconds + between.as_secs_f64() <= first.seconds + 1e-3, "{second:?} {first:?}");
        assert_eq!(second.command, first.command);
    }
}
