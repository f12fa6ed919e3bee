//! The workspace's commands: `reproduce` the paper, `measure` networks and features of one's own, look after `data`.
// A command line prints; everywhere else in the workspace printing is an oversight.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arrays;
mod bench;
mod data;
mod features;
mod files;
mod measure;
#[cfg(feature = "onnx")]
mod onnx;
mod output;
mod rank;
mod record;
mod report;
mod reproduce;
mod suggest;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a command line that could not be understood; 1 is any failure after that.
const WRONG_USAGE: u8 = 2;

/// Exit code of a process that an interrupt ended, as shells have it.
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
pub(crate) enum Ending {
    /// It did what was asked.
    Complete,
    /// Somebody stopped it.
    Interrupted,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let ended = match cli.command {
        Command::Reproduce(args) => reproduce::reproduce(&args),
        Command::Measure(args) => measure::measure(&args).map(|()| Ending::Complete),
        Command::Collapse(args) => features::collapse_measures(&args).map(|()| Ending::Complete),
        Command::Fewshot(args) => features::few_shot(&args).map(|()| Ending::Complete),
        Command::Rank(args) => rank::rank(&args).map(|()| Ending::Complete),
        Command::Bench(args) => bench::bench(&args).map(|()| Ending::Complete),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "xtask", &mut std::io::stdout());
            Ok(Ending::Complete)
        }
        Command::Data(args) => data::data(&args).map(|()| Ending::Complete),
        Command::Run(args) => reproduce::run_folder(&args).map(|()| Ending::Complete),
    };
    match ended {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: a message often ends with its cause, or begins with the name of the file
/// that stands before it.
fn told(error: &anyhow::Error) -> String {
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

    use super::told;

    #[test]
    fn causes_are_said_once() {
        let file = anyhow!("os error 2").context("a.toml: reading: os error 2").context("a.toml");
        assert_eq!(told(&file), "a.toml: reading: os error 2");
        assert_eq!(told(&anyhow!("it is 0").context("net.toml")), "net.toml: it is 0");
    }
}
