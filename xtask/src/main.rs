//! The workspace's commands: `reproduce` runs the paper's experiments, `measure`, `collapse`, `fewshot` and `rank` measure
//! networks and features in files, `data` manages data sets, `bench` compares speeds.

mod arguments;
mod arrays;
mod bench;
mod data;
mod features;
mod files;
mod measure;
mod output;
mod provenance;
mod rank;
mod report;
mod reproduce;
mod study;
mod suggest;
mod task;
mod usage;

use std::borrow::Cow;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of an error in the command line. Any other error ends with 1.
const USAGE: u8 = 2;

/// Exit code of a command that an interrupt ended, as in shells.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about, version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train, measure and report one experiment of the paper
    Reproduce(reproduce::Args),
    /// Measure geometric complexity of a network in a file, and its collapse where there are labels
    Measure(measure::Args),
    /// Measure the neural collapse of features in a file
    Collapse(features::CollapseArgs),
    /// Measure few-shot accuracies on features in a file
    Fewshot(features::FewShotArgs),
    /// Rank networks by their scores on one set of data, and see which score predicts few-shot accuracy
    Rank(rank::Args),
    /// List, fetch, verify or show the data sets
    Data(data::Args),
    /// Measure our benchmarks beside the peers' and write the book's page of them
    Bench(bench::Args),
    /// Write a script that completes these commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Work on one run folder (started by `reproduce`)
    #[command(hide = true)]
    Run(reproduce::RunArgs),
}

/// How a command ended, other than by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It did all of its work.
    Complete,
    /// An interrupt stopped it.
    Interrupted,
}

fn main() -> ExitCode {
    let ended = match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        // Help and version are errors of the parser too.
        Err(error) if !error.use_stderr() => {
            output::print(&error.render().to_string());
            Ok(Ending::Complete)
        }
        Err(error) => {
            // Colours only where the arguments that the message repeats hold no escape codes of their own.
            let printable = |argument: std::ffi::OsString| {
                matches!(output::printable(&argument.to_string_lossy()), Cow::Borrowed(_))
            };
            if std::env::args_os().all(printable) {
                let _ = error.print();
            } else {
                output::note_error!("{}", error.render().to_string().trim_end());
            }
            return ExitCode::from(USAGE);
        }
    };
    let ended = match (ended, output::failure()) {
        (Ok(_), Some(failure)) => Err(anyhow!(failure)),
        (ended, _) => ended,
    };
    match ended {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            output::note_error!("error: {}", message(&error));
            if usage::is_usage(&error) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> anyhow::Result<Ending> {
    let ended = match command {
        Command::Reproduce(args) => return reproduce::reproduce(&args),
        Command::Measure(args) => measure::measure(&args),
        Command::Collapse(args) => features::collapse_measures(&args),
        Command::Fewshot(args) => features::few_shot(&args),
        Command::Rank(args) => rank::rank(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Data(args) => data::data(&args),
        Command::Run(args) => reproduce::run_folder(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "xtask", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    };
    ended.map(|()| Ending::Complete)
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
