//! `reproduce`: an experiment becomes a list of runs, an engine brings them to their end, a report reads what they left.

pub(crate) mod configuration;
mod engine;
pub(crate) mod estimator;
pub(crate) mod experiment;
mod lock;
pub(crate) mod measurement;
pub(crate) mod metric;
mod plan;
mod run;
mod settings;
pub(crate) mod store;
pub(crate) mod sweep;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::files::writable_folder;
use crate::{Ending, data, report};
use engine::{Board, End, Engine, Job, Local};
use experiment::Experiment;
use lock::FolderLock;
use store::{RunFolder, State};
use sweep::PlannedRun;

pub(crate) use run::{Args as RunArgs, run_folder};

/// Set when somebody wants the work to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which experiment: a name from --list, or the path of a .toml file
    #[arg(default_value = "fig4")]
    experiment: String,
    /// How large: quick (minutes), cpu (real data, up to an hour on two cores), paper (full size)
    #[arg(long, default_value = "quick")]
    preset: String,
    /// Which data set, instead of the preset's
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Folder that holds the data set, instead of the Hub and its cache
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Override one setting, such as train.epochs=5 or "sweeps.l2.values=[0, 1e-3]"; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Which seeds, such as 0,1,2
    #[arg(long, alias = "seeds", value_delimiter = ',', value_name = "SEEDS")]
    seed: Option<Vec<u64>>,
    /// Where results go [default: results/EXPERIMENT-PRESET-DATA]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at once [default: the processor's threads]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Threads in all, divided among the jobs [default: the processor's threads]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// List the experiments and their presets, and do nothing
    #[arg(long)]
    list: bool,
    /// List the runs, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Reads a count that may not be zero.
pub(crate) fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Runs the command.
pub(crate) fn reproduce(args: &Args) -> Result<Ending> {
    if args.list {
        return list().map(|()| Ending::Complete);
    }
    let seeds = args.seed.as_deref();
    let experiment = Experiment::resolve(&args.experiment, &args.preset, args.data.as_deref(), seeds, &args.set)?;
    data::check(&experiment.plan.data.set, experiment.plan.task)?;
    run::check_model(&experiment.plan.model)?;
    let planned = sweep::runs(&experiment)?;
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&experiment));
    if args.dry_run {
        return dry_run(&experiment, &planned, &folder).map(|()| Ending::Complete);
    }
    writable_folder(&folder)?;
    let _lock = FolderLock::take(&folder)?;
    data::ensure(&experiment.plan.data.set, args.data_dir.as_ref())?;
    let jobs = jobs(&planned, &folder)?;
    let local = local(args, jobs.len())?;
    println!(
        "{} · {} · preset {} · data {}\n{} runs, {} of them finished before; {} at a time, {} thread{} each; results in {}",
        experiment.name,
        experiment.plan.figure,
        experiment.preset,
        experiment.plan.data.set,
        planned.len(),
        planned.len() - jobs.len(),
        local.jobs,
        (local.threads / local.jobs).max(1),
        if local.threads / local.jobs > 1 { "s" } else { "" },
        folder.display()
    );
    if work(&local, &jobs)? == End::Stopped {
        let finished = planned.len() - unfinished(&planned, &folder)?;
        println!("stopped with {finished} of {} runs finished; the same command continues", planned.len());
        return Ok(Ending::Interrupted);
    }
    conclude(experiment, planned, &folder)
}

/// Writes the report, says where it is, and fails if a run failed.
fn conclude(experiment: Experiment, planned: Vec<PlannedRun>, folder: &Path) -> Result<Ending> {
    let failed = failures(&planned, folder);
    let written = report::write(experiment, planned, folder)?;
    println!("\n{}", written.summary);
    println!("report   {}", written.page.display());
    println!("figure   {}", written.figure.display());
    println!("numbers  {}", written.measurements.display());
    println!("claims   {}", written.claims.display());
    if !failed.is_empty() {
        bail!(
            "{} of the runs failed; the report was made without them, and the same command tries them again\n{}",
            failed.len(),
            failed.join("\n")
        );
    }
    Ok(Ending::Complete)
}

fn failures(planned: &[PlannedRun], folder: &Path) -> Vec<String> {
    let reason = |run: &PlannedRun| match RunFolder::of(folder, &run.key).state() {
        Ok(State::Failed(reason)) => Some(format!("  {}: {reason}", run.description())),
        Ok(State::Unfinished | State::Done(_)) => None,
        Err(error) => Some(format!("  {}: {error:#}", run.description())),
    };
    planned.iter().filter_map(reason).collect()
}

fn default_folder(experiment: &Experiment) -> PathBuf {
    Path::new("results").join(format!("{}-{}-{}", experiment.name, experiment.preset, experiment.plan.data.set))
}

/// The runs that are still to be done, with their folders made. Those with small batches take longest and go first.
fn jobs(planned: &[PlannedRun], folder: &Path) -> Result<Vec<Job>> {
    let mut open = Vec::new();
    for run in planned {
        let at = RunFolder::of(folder, &run.key);
        if !matches!(at.state(), Ok(State::Done(_))) {
            at.clear()?;
            at.create(&run.configuration)?;
            open.push((run.configuration.train.batch_size, Job { folder: at, description: run.description() }));
        }
    }
    open.sort_by_key(|(batch_size, _)| *batch_size);
    Ok(open.into_iter().map(|(_, job)| job).collect())
}

fn unfinished(planned: &[PlannedRun], folder: &Path) -> Result<usize> {
    let states = planned.iter().map(|run| RunFolder::of(folder, &run.key).state());
    Ok(states.collect::<Result<Vec<_>>>()?.iter().filter(|state| !matches!(state, State::Done(_))).count())
}

fn local(args: &Args, runs: usize) -> Result<Local> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Local {
        program: std::env::current_exe().context("cannot find the path of this program")?,
        jobs: args.jobs.unwrap_or(cores).min(runs.max(1)),
        threads: args.threads.unwrap_or(cores),
        data_dir: args.data_dir.clone(),
        stop: &STOP,
    })
}

fn work(local: &Local, jobs: &[Job]) -> Result<End> {
    if jobs.is_empty() {
        return Ok(End::Exhausted);
    }
    ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst)).context("cannot listen for Ctrl-C")?;
    let mut board = Board::new(jobs)?;
    let end = local.execute(jobs, &mut |event| board.show(event));
    board.close();
    end
}

fn list() -> Result<()> {
    for name in Experiment::names() {
        for preset in Experiment::presets(name)? {
            let experiment = Experiment::resolve(name, &preset, None, None, &[])?;
            let (plan, runs) = (&experiment.plan, sweep::runs(&experiment)?.len());
            println!("{name:<6} {preset:<6} {:<9} {runs:>3} runs  {}: {}", plan.data.set, plan.figure, plan.title);
        }
    }
    Ok(())
}

fn dry_run(experiment: &Experiment, planned: &[PlannedRun], folder: &Path) -> Result<()> {
    println!("{} runs in {}", planned.len(), folder.display());
    for run in planned {
        let state = match RunFolder::of(folder, &run.key).state()? {
            State::Done(_) => "finished",
            State::Failed(_) => "failed, to be tried again",
            State::Unfinished => "to do",
        };
        let sweeps: Vec<&str> =
            run.places.iter().map(|place| experiment.plan.sweeps[&place.sweep].label.as_str()).collect();
        println!("  {}  {:<44} {state:<9} in the sweep of {}", run.key, run.description(), sweeps.join(", "));
    }
    Ok(())
}
