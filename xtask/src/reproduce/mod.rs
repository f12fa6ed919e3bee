//! `reproduce`: an experiment file becomes a list of runs, an engine executes them, and a report reads their results.

mod all;
mod args;
mod child;
mod dry_run;
mod engine;
mod execute;
mod merge;
mod plan;
mod results_folder;
mod run;
mod slice;

use std::path::Path;

use anyhow::{Context, Result};

use crate::files::replaceable_start;
use crate::invocation::Invocation;
use crate::output::{WIDTH, say, wrapped_lines};
use crate::study::experiment::Experiment;
use crate::{Ending, report};
use results_folder::{RESULTS, default_folder};

pub(crate) use args::Args;
pub(crate) use child::NO_SPACE;
pub(crate) use run::{Args as RunArgs, run_folder};

/// Runs the command.
pub(crate) fn reproduce(args: &Args, invocation: &Invocation<'_>) -> Result<Ending> {
    if args.list {
        return list().map(|()| Ending::Complete);
    }
    if let Some(list) = &args.plan {
        replaceable_start(list, plan::START.as_bytes(), "list of commands").context("--plan")?;
    }
    if args.experiment == all::ALL {
        return all::reproduce(args, invocation);
    }
    let experiment = args.resolve(&args.experiment)?;
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&experiment, Path::new(RESULTS)));
    if args.dry_run {
        return dry_run::dry_run(args, invocation.program, &experiment, &folder).map(|_| Ending::Complete);
    }
    if let Some(list) = &args.plan {
        let commands = execute::plan(args, invocation.program, &experiment, &folder)?;
        return plan::write(list, &commands).map(|()| Ending::Complete);
    }
    let ending = execute::execute(args, invocation, experiment, &folder);
    if args.out.is_none() && !matches!(ending, Ok(Ending::Interrupted)) && folder.exists() {
        let index = report::write_index(Path::new(RESULTS), &[]);
        // An error of the experiment matters more than one of the index.
        return ending.and_then(|ending| index.map(|_| ending));
    }
    ending
}

fn list() -> Result<()> {
    for name in Experiment::names() {
        for (index, preset) in Experiment::presets(name)?.iter().enumerate() {
            let experiment = Experiment::resolve(name, preset, None, None, &[])?;
            let (plan, runs) = (&experiment.plan, crate::study::sweep::runs(&experiment)?.len());
            if index == 0 {
                let title = format!("{name} · {}: {}", plan.figure, plan.title);
                wrapped_lines(&title, WIDTH, "  ").iter().for_each(|line| say!("{line}"));
            }
            say!("  {preset:<10}  {:<13}  {runs:>3} runs", plan.data.set);
        }
    }
    Ok(())
}
