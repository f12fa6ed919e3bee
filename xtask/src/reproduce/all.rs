//! `reproduce all`: every experiment in turn, and an index page of their reports.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::args::Args;
use super::results_folder::{RESULTS, default_folder};
use super::{dry_run, execute, plan};
use crate::invocation::Invocation;
use crate::output::{note_error, say};
use crate::provenance::{Stopwatch, duration};
use crate::study::experiment::Experiment;
use crate::usage::usage;
use crate::{Ending, report};

/// The name for all experiments on the command line.
pub(super) const ALL: &str = "all";

/// Whether an experiment has this preset. Those beyond the paper have no preset `paper`; those of the paper have all, and name an
/// unknown one.
fn has_preset(name: &str, preset: &str) -> bool {
    let of = |name: &str| Experiment::presets(name).unwrap_or_default();
    of(name).iter().any(|own| own == preset)
        || !Experiment::names().any(|other| of(other).iter().any(|own| own == preset))
}

/// Reproduces every embedded experiment. An error of one does not stop the others.
///
/// # Errors
/// Settings that an experiment refuses, before the first run; at the end, the names of the experiments with errors.
pub(super) fn reproduce(args: &Args, invocation: &Invocation<'_>) -> Result<Ending> {
    if let Some(set) = &args.data {
        return Err(usage(anyhow!(
            "--data {set} contradicts `{ALL}`: each experiment has its own data set; name one experiment"
        )));
    }
    if args.data_dir.is_some() {
        return Err(usage(anyhow!(
            "--data-dir contradicts `{ALL}`: the experiments read several data sets; name one experiment"
        )));
    }
    if !args.merge.is_empty() {
        return Err(usage(anyhow!(
            "--merge contradicts `{ALL}`: a results folder is of one experiment; name one experiment"
        )));
    }
    let experiments = Experiment::names().filter(|name| has_preset(name, &args.preset)).map(|name| args.resolve(name));
    let experiments = experiments.collect::<Result<Vec<_>>>()?;
    let root = args.out.clone().unwrap_or_else(|| PathBuf::from(RESULTS));
    let (watch, count) = (Stopwatch::start(), experiments.len());
    let (mut errors, mut estimated, mut commands) = (Vec::new(), 0.0, Vec::new());
    for (index, experiment) in experiments.into_iter().enumerate() {
        say!("\n[{}/{count}] {}: {}", index + 1, experiment.name, experiment.plan.title);
        let (name, folder) = (experiment.name.clone(), default_folder(&experiment, &root));
        if args.dry_run {
            estimated += dry_run::dry_run(args, invocation.program, &experiment, &folder)?.unwrap_or(0.0);
            continue;
        }
        if args.plan.is_some() {
            commands.extend(execute::plan(args, invocation.program, &experiment, &folder)?);
            continue;
        }
        match execute::execute(args, &invocation.restarted(), experiment, &folder) {
            Ok(Ending::Complete) => {}
            Ok(ending @ (Ending::Interrupted | Ending::NoSpace)) => return Ok(ending),
            Err(error) => {
                note_error!("{name}: {error:#}");
                errors.push(report::IndexError { name, reason: format!("{error:#}") });
            }
        }
        if root.exists() {
            report::write_index(&root, &errors)?;
        }
    }
    if args.dry_run {
        say!("\nall {count} experiments: about {}", duration(estimated));
        return Ok(Ending::Complete);
    }
    if let Some(list) = &args.plan {
        return plan::write(list, &commands).map(|()| Ending::Complete);
    }
    say!("\n{count} experiments in {}\nindex    {}", duration(watch.seconds()), root.join("index.html").display());
    if !errors.is_empty() {
        let names: Vec<&str> = errors.iter().map(|error| error.name.as_str()).collect();
        bail!("{} of {count} experiments ended with an error: {}", errors.len(), names.join(", "));
    }
    Ok(Ending::Complete)
}
