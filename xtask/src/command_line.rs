//! The command line: the commands of a program, its help, and its errors.

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::LazyLock;

use anyhow::Result;
use clap::{FromArgMatches, Subcommand};

use crate::invocation::Invocation;
use crate::program::{Program, WORKSPACE};
use crate::{Ending, address_space, bench, claims, data, features, man, measure, output, provenance, rank, reproduce};

/// The commands of every program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Write a script that completes these commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page
    Man(man::Args),
    /// Work on one run folder (started by `reproduce`)
    #[command(hide = true)]
    Run(reproduce::RunArgs),
}

/// The commands of the program of the workspace.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkspaceCommand {
    #[command(flatten)]
    Everywhere(Box<Command>),
    /// Measure our benchmarks beside the peers' and write the book's page of them
    Bench(bench::Args),
    /// Write the recorded claims of the experiments into README and book, or check them there
    Claims(claims::Args),
}

/// What a command line is.
pub(crate) enum Parsed {
    /// A command.
    Command(WorkspaceCommand),
    /// A request for this text.
    Help(String),
    /// An error, which was printed.
    Wrong,
}

/// Reads a command line. Errors are printed.
pub(crate) fn parse(program: &Program, arguments: &[OsString]) -> Parsed {
    let words = std::iter::once(OsString::from(program.name())).chain(arguments.iter().cloned());
    let matches = definition(program).try_get_matches_from(words);
    let error = match matches.and_then(|matches| WorkspaceCommand::from_arg_matches(&matches)) {
        Ok(command) => return Parsed::Command(command),
        Err(error) => error,
    };
    // Help and version are errors of the parser too.
    if !error.use_stderr() {
        return Parsed::Help(error.render().to_string());
    }
    // Colours only where the arguments that the message repeats hold no escape codes of their own.
    let printable = |argument: &OsString| matches!(output::printable(&argument.to_string_lossy()), Cow::Borrowed(_));
    if arguments.iter().all(printable) {
        let _ = error.print();
    } else {
        output::note_error!("{}", error.render().to_string().trim_end());
    }
    Parsed::Wrong
}

/// What the program is for.
const ABOUT: &str = "Geometric complexity, neural collapse and few-shot accuracy of neural networks, and the experiments of Munn, \
                     Dherin and Gonzalvo (NeurIPS 2024)";

/// The version with the commit, if it was known.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| match provenance::COMMIT {
    Some(commit) => format!("{} (commit {commit})", provenance::VERSION),
    None => provenance::VERSION.to_owned(),
});

/// The commands of a program, under its own name in help and examples.
pub(crate) fn definition(program: &Program) -> clap::Command {
    let command = clap::Command::new(program.name())
        .bin_name(program.shown())
        .version(VERSION.as_str())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100);
    let command = if program.in_workspace() {
        WorkspaceCommand::augment_subcommands(command)
    } else {
        Command::augment_subcommands(command)
    };
    // The commands have set the text of their enum.
    let command = command.about(ABOUT);
    named(command, program)
}

/// The same command and its subcommands, with the name of the program in their examples.
fn named(command: clap::Command, program: &Program) -> clap::Command {
    let examples = command.get_after_help().map(|text| examples(&text.to_string(), program));
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |own| named(own, program)))
}

/// The script that completes the commands of a program in a shell.
fn completions(shell: clap_complete::Shell, program: &Program) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(program), program.name(), &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    // The generator for bash takes a hyphen in the name of the program for the beginning of a subcommand in its labels, but not
    // where it computes them, so that nothing behind a subcommand would be completed.
    match shell {
        clap_complete::Shell::Bash => {
            script.replace(&program.name().replace('-', "__subcmd__"), &program.name().replace('-', "__"))
        }
        _ => script,
    }
}

/// The text below a help, with the name of the program in its examples. Long ones are continued as a shell takes them, because
/// the help would break them anywhere.
fn examples(text: &str, program: &Program) -> String {
    const WIDTH: usize = 76;
    let text = text.replace(WORKSPACE, program.shown());
    let line = |line: &str| {
        let is_example = line.trim_start().starts_with(program.shown());
        if is_example { output::wrapped_lines(line, WIDTH, "      ").join(" \\\n") } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

impl WorkspaceCommand {
    /// Runs the command.
    pub(crate) fn run(&self, invocation: &Invocation<'_>) -> Result<Ending> {
        let ended = match self {
            Self::Bench(args) => bench::bench(args),
            Self::Claims(args) => claims::claims(args),
            Self::Everywhere(command) => return command.run(invocation),
        };
        ended.map(|()| Ending::Complete)
    }
}

impl Command {
    /// Whether this process measures something. Those of `reproduce` and `run` start threads of their own.
    fn multiplies_matrices(&self) -> bool {
        match self {
            Self::Measure(args) => !args.only_lists(),
            Self::Collapse(_) | Self::Fewshot(_) | Self::Rank(_) => true,
            _ => false,
        }
    }

    fn run(&self, invocation: &Invocation<'_>) -> Result<Ending> {
        if self.multiplies_matrices() {
            address_space::start_fitting_threads()?;
        }
        let ended = match self {
            Self::Reproduce(args) => return reproduce::reproduce(args, invocation),
            Self::Run(args) => return reproduce::run_folder(args),
            Self::Measure(args) => measure::measure(args, invocation),
            Self::Collapse(args) => features::collapse_measures(args, invocation),
            Self::Fewshot(args) => features::few_shot(args, invocation),
            Self::Rank(args) => rank::rank(args, invocation),
            Self::Data(args) => data::data(args),
            Self::Man(args) => man::man(args, invocation.program),
            Self::Completions { shell } => {
                output::print(&completions(*shell, invocation.program));
                Ok(())
            }
        };
        ended.map(|()| Ending::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent_and_have_the_name_of_the_program() {
        for (program, benches) in [(Program::workspace(), true), (Program::installed("geometric-collapse"), false)] {
            let definition = definition(&program);
            definition.clone().debug_assert();
            assert_eq!(definition.find_subcommand("bench").is_some(), benches);
            let measure = definition.find_subcommand("measure").unwrap().get_after_help().unwrap().to_string();
            assert!(measure.contains(&format!("{} measure --model", program.shown())), "{measure}");
            assert_eq!(measure.contains(WORKSPACE), benches, "{measure}");
            let shell_lines = measure.lines().filter(|line| line.starts_with("  "));
            assert!(shell_lines.clone().all(|line| line.chars().count() <= 80) && shell_lines.count() > 5, "{measure}");
        }
    }
}
