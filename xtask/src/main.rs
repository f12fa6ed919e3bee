//! The workspace's commands: `reproduce` an experiment of the paper, look after its `data`.
// A command line prints; everywhere else in the workspace printing is an oversight.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod data;
mod files;
mod record;
mod report;
mod reproduce;
mod suggest;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// List, fetch, verify or show the data sets
    Data(data::Args),
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
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let ended = match cli.command {
        Command::Reproduce(args) => reproduce::reproduce(&args),
        Command::Data(args) => data::data(&args).map(|()| Ending::Complete),
        Command::Run(args) => reproduce::run_folder(&args).map(|()| Ending::Complete),
    };
    match ended {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
