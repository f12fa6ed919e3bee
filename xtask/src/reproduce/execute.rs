//! One experiment from its plan to its report.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};

use super::args::Args;
use super::child::is_no_space;
use super::engine::{Engine, EngineEnd, EngineKind, Job, Local, ProgressDisplay, Slurm, check_sbatch, check_slurm};
use super::merge;
use super::plan::commands;
use super::results_folder::ResultsFolder;
use crate::files::write_whole;
use crate::invocation::Invocation;
use crate::output::{note_error, say};
use crate::program::Program;
use crate::study::experiment::Experiment;
use crate::study::frozen;
use crate::study::store::{RunFolder, RunState, Verified};
use crate::study::sweep::{self, PlannedRun};
use crate::usage::usage;
use crate::{Ending, data, report};

/// The record of the command that wrote the report; the report's own files are the same for equal results.
const RECORD: &str = "record.json";

/// Set by Ctrl-C: the engines check it and stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Executes every run of the experiment that is not done yet, and writes the report.
pub(super) fn execute(
    args: &Args,
    invocation: &Invocation<'_>,
    experiment: Experiment,
    folder: &Path,
) -> Result<Ending> {
    let Prepared { planned, selected, pending, folder: _own } = prepare(args, &experiment, folder)?;
    let (engine, description) = engine(args, invocation.program, pending.jobs.len(), folder)?;
    announce(args, &experiment, &planned, &selected, &pending, &description, folder)?;
    match run_jobs(engine.as_ref(), &pending.jobs)? {
        EngineEnd::Exhausted => conclude(args, invocation, experiment, planned, &selected, folder),
        EngineEnd::Stopped => {
            say!("stopped with {} runs finished; the same command continues", finished(&selected, folder));
            Ok(Ending::Interrupted)
        }
        EngineEnd::NoSpace => Err(no_space_error(&selected, folder)),
    }
}

/// Makes the folders of the runs that are not done yet, and returns the command of each.
pub(super) fn plan(args: &Args, program: &Program, experiment: &Experiment, folder: &Path) -> Result<Vec<String>> {
    if args.engine == EngineKind::Slurm {
        return Err(usage(anyhow!(
            "--plan contradicts --engine slurm, which submits the runs itself; leave one of them out"
        )));
    }
    let Prepared { planned, selected, pending, folder: _own } = prepare(args, experiment, folder)?;
    let threads = args.threads.unwrap_or(1);
    announce(args, experiment, &planned, &selected, &pending, &format!("{} each", counted(threads)), folder)?;
    commands(&program.words()?, &pending.jobs, threads, args.data_dir.as_deref())
}

/// The runs of an experiment, and its locked folder.
struct Prepared {
    planned: Vec<PlannedRun>,
    /// The runs of the slice.
    selected: Vec<PlannedRun>,
    pending: Pending,
    folder: ResultsFolder,
}

/// Everything before the first run: the data, the folder, and the finished runs of other folders.
fn prepare(args: &Args, experiment: &Experiment, folder: &Path) -> Result<Prepared> {
    let planned = sweep::runs(experiment)?;
    let selected = args.slice.map_or_else(|| planned.clone(), |slice| slice.of(&planned));
    check_engine(args)?;
    merge::check(&args.merge, &experiment.name)?;
    let own = ResultsFolder::open(folder, &experiment.name)?;
    if let Err(error) = data::ensure(&experiment.plan.data.set, args.data_dir.as_ref()) {
        own.abandon();
        return Err(error);
    }
    let text = experiment.to_toml()?;
    own.settle()
        .and_then(|()| frozen::freeze(folder, &text, &args.merge))
        .and_then(|()| merge::merge(&args.merge, &planned, folder, &text))
        .map_err(|error| if is_no_space(&error) { no_space_error(&planned, folder) } else { error })?;
    let pending = pending(&selected, folder)?;
    Ok(Prepared { planned, selected, pending, folder: own })
}

fn no_space_error(planned: &[PlannedRun], folder: &Path) -> anyhow::Error {
    anyhow!(
        "no space is left for {}: {} runs are finished and stay as they are; make space and give the same command to continue",
        folder.display(),
        finished(planned, folder)
    )
}

/// The runs that are not done.
struct Pending {
    jobs: Vec<Job>,
    /// Number of runs that were done before.
    finished: usize,
    /// Number of finished runs whose results have no signature.
    unsigned: usize,
}

/// Makes the folders of the runs that are not done. Returns these runs by ascending batch size, because small batches take
/// longest.
///
/// A run whose results do not pass their check is done again, with the mismatch on standard error. A folder that cannot be
/// used is named on standard error, and the report lists it.
///
/// # Errors
/// A disk that has no space for the folders.
fn pending(planned: &[PlannedRun], folder: &Path) -> Result<Pending> {
    let (mut pending, mut finished, mut unsigned) = (Vec::new(), 0, 0);
    // Tasks on other machines start in other folders, so the path must be absolute.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    for run in planned {
        let own = RunFolder::of(&absolute, &run.key);
        let verified = own.verify(&run.configuration);
        if let Ok(verified @ (Verified::Signed | Verified::Unsigned)) = verified {
            finished += 1;
            unsigned += usize::from(verified == Verified::Unsigned);
            continue;
        }
        match own.prepare(&run.configuration) {
            Ok(()) => {
                if let Err(mismatch) = verified {
                    note_error!("done again {}: {mismatch:#}", run.description());
                }
                pending.push((run.configuration.train.batch_size, Job { folder: own, description: run.description() }));
            }
            Err(error) if is_no_space(&error) => return Err(no_space_error(planned, folder)),
            Err(error) => note_error!("skipped {}: {error:#}", run.description()),
        }
    }
    pending.sort_by_key(|(batch_size, _)| *batch_size);
    Ok(Pending { jobs: pending.into_iter().map(|(_, job)| job).collect(), finished, unsigned })
}

fn announce(
    args: &Args,
    experiment: &Experiment,
    planned: &[PlannedRun],
    selected: &[PlannedRun],
    pending: &Pending,
    engine: &str,
    folder: &Path,
) -> Result<()> {
    if let Some(slice) = args.slice {
        say!("slice {slice}: {} of {} runs", selected.len(), planned.len());
    }
    let plan = &experiment.plan;
    say!("{} · {} · preset {} · data {}", experiment.name, plan.figure, experiment.preset, plan.data.set);
    let (runs, before) = (selected.len(), pending.finished);
    say!("{runs} runs, {before} of them finished before; {engine}; results in {}", folder.display());
    let frozen = frozen::compare(folder, &experiment.to_toml()?);
    say!("experiment file with all settings: SHA-256 {}", frozen.sha256);
    if pending.unsigned > 0 {
        say!(
            "{} of the finished runs are unsigned: an earlier version wrote their results, and alterations cannot be detected",
            pending.unsigned
        );
    }
    Ok(())
}

/// Refuses an engine that this machine does not have, and settings that the engine does not use.
fn check_engine(args: &Args) -> Result<()> {
    match args.engine {
        EngineKind::Local if args.sbatch.is_empty() => Ok(()),
        EngineKind::Local => Err(usage(anyhow!("--sbatch needs --engine slurm"))),
        EngineKind::Slurm => {
            check_sbatch(&args.sbatch).map_err(usage)?;
            Ok(check_slurm()?)
        }
    }
}

/// The engine, and its description for the terminal.
fn engine(args: &Args, program: &Program, runs: usize, folder: &Path) -> Result<(Box<dyn Engine>, String)> {
    let program = program.words()?;
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()));
    if args.engine == EngineKind::Slurm {
        let (jobs, threads) = (args.jobs, args.threads.unwrap_or(1));
        let data_dir = args.data_dir.as_deref().map(absolute).transpose()?;
        let (results, options) = (absolute(folder)?, args.sbatch.clone());
        let slurm = Slurm { program, results, jobs, threads, data_dir, options, stop: &STOP };
        let limit = jobs.map_or_else(String::new, |jobs| format!(", {jobs} at a time"));
        return Ok((Box::new(slurm), format!("tasks of a Slurm array{limit}, {} each", counted(threads))));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).min(runs.max(1));
    let threads = args.threads.unwrap_or(cores);
    let local = Local { program, jobs, threads, data_dir: args.data_dir.clone(), stop: &STOP };
    Ok((Box::new(local), format!("{jobs} at a time, {} each", counted((threads / jobs).max(1)))))
}

fn counted(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn run_jobs(engine: &dyn Engine, jobs: &[Job]) -> Result<EngineEnd> {
    if jobs.is_empty() {
        return Ok(EngineEnd::Exhausted);
    }
    stop_on_interrupt()?;
    STOP.store(false, Ordering::SeqCst);
    let mut display = ProgressDisplay::new(jobs)?;
    let end = engine.execute(jobs, &mut |event| display.show(event));
    display.close();
    end
}

/// Makes Ctrl-C set [`STOP`]; once for the whole process.
fn stop_on_interrupt() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut listening = Ok(());
    ONCE.call_once(|| listening = ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst)));
    listening.context("cannot listen for Ctrl-C")
}

/// Writes the report of all planned runs, prints the paths of its files, and fails if a selected run failed.
fn conclude(
    args: &Args,
    invocation: &Invocation<'_>,
    experiment: Experiment,
    planned: Vec<PlannedRun>,
    selected: &[PlannedRun],
    folder: &Path,
) -> Result<Ending> {
    let failed = failures(selected, folder);
    let indexed = args.out.is_none() || args.experiment == super::all::ALL;
    let extras = report::Extras { tensorboard: args.tensorboard, indexed };
    let written = report::write(experiment, planned, folder, extras)?;
    let record = serde_json::to_string_pretty(&invocation.record())?;
    write_whole(&folder.join(RECORD), record.as_bytes())?;
    say!("\n{}", written.summary);
    say!("report   {}", written.page.display());
    say!("figure   {}", written.figure.display());
    say!("numbers  {}", written.measurements.display());
    say!("claims   {}", written.claims.display());
    if args.tensorboard {
        say!("events   {}", folder.join("tensorboard").display());
    }
    if !failed.is_empty() {
        bail!(
            "{} of the runs failed; the report was made without them, and the same command tries them again\n{}",
            failed.len(),
            failed.join("\n")
        );
    }
    Ok(Ending::Complete)
}

/// The runs without usable results, each with the reason.
fn failures(planned: &[PlannedRun], folder: &Path) -> Vec<String> {
    let reason = |run: &PlannedRun| {
        let own = RunFolder::of(folder, &run.key);
        let reason = match (own.state(), own.verify(&run.configuration)) {
            (Ok(RunState::Failed(reason)), _) => reason,
            (Err(error), _) | (_, Err(error)) => format!("{error:#}"),
            (Ok(RunState::Unfinished), _) | (_, Ok(Verified::Unfinished)) => "it was not run".to_owned(),
            (Ok(RunState::Done(_)), Ok(Verified::Signed | Verified::Unsigned)) => return None,
        };
        Some(format!("  {}: {reason}", run.description()))
    };
    planned.iter().filter_map(reason).collect()
}

/// The number of finished runs of all, such as `3 of 27`.
fn finished(planned: &[PlannedRun], folder: &Path) -> String {
    let done =
        |run: &&PlannedRun| RunFolder::of(folder, &run.key).verify(&run.configuration).is_ok_and(Verified::is_done);
    format!("{} of {}", planned.iter().filter(done).count(), planned.len())
}
