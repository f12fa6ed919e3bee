//! Every experiment, one after the other, and the page that leads to their reports.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::experiment::Experiment;
use super::{Args, RESULTS, default_folder, dry_run, work};
use crate::record::{Stopwatch, duration};
use crate::{Ending, report};

/// The name that stands for all experiments.
pub(super) const ALL: &str = "all";

/// Reproduces every embedded experiment; one that cannot be done never stops the others.
///
/// # Errors
/// Settings that some experiment refuses, before anything is done; afterwards, what kept experiments from their end.
pub(super) fn reproduce(args: &Args) -> Result<Ending> {
    if let Some(set) = &args.data {
        bail!("--data {set} contradicts `{ALL}`: each experiment has a data set of its own; name one experiment");
    }
    if args.data_dir.is_some() {
        bail!("--data-dir contradicts `{ALL}`: the experiments read several data sets; name one experiment");
    }
    let experiments = Experiment::names().map(|name| args.resolve(name)).collect::<Result<Vec<_>>>()?;
    let root = args.out.clone().unwrap_or_else(|| PathBuf::from(RESULTS));
    let (watch, count) = (Stopwatch::start(), experiments.len());
    let (mut troubles, mut foretold) = (Vec::new(), 0.0);
    for (index, experiment) in experiments.into_iter().enumerate() {
        println!("\n[{}/{count}] {}: {}", index + 1, experiment.name, experiment.plan.title);
        let (name, folder) = (experiment.name.clone(), default_folder(&experiment, &root));
        if args.dry_run {
            foretold += dry_run::dry_run(args, &experiment, &folder)?.unwrap_or(0.0);
            continue;
        }
        match work::work(args, experiment, &folder) {
            Ok(Ending::Complete) => {}
            Ok(Ending::Interrupted) => return Ok(Ending::Interrupted),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                troubles.push((name, format!("{error:#}")));
            }
        }
        if root.exists() {
            report::write_index(&root, &troubles)?;
        }
    }
    if args.dry_run {
        println!("\nall {count} experiments: about {}", duration(foretold));
        return Ok(Ending::Complete);
    }
    println!("\n{count} experiments in {}\nindex    {}", duration(watch.seconds()), root.join("index.html").display());
    if !troubles.is_empty() {
        let names: Vec<&str> = troubles.iter().map(|(name, _)| name.as_str()).collect();
        bail!("{} of {count} experiments did not come to their end: {}", troubles.len(), names.join(", "));
    }
    Ok(Ending::Complete)
}
