//! One experiment from its plan to its report.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, bail};

use super::engine::{Board, End, Engine, Job, Kind, Local, Slurm, check_sbatch, check_slurm};
use super::experiment::Experiment;
use super::results_folder::ResultsFolder;
use super::run::no_space;
use super::store::{RunFolder, State};
use super::sweep::{self, PlannedRun};
use super::{Args, STOP};
use crate::{Ending, data, report};

/// Brings every run of the experiment to its end and writes the report.
pub(super) fn work(args: &Args, experiment: Experiment, folder: &Path) -> Result<Ending> {
    let planned = sweep::runs(&experiment)?;
    check_engine(args)?;
    let own = ResultsFolder::open(folder)?;
    if let Err(error) = data::ensure(&experiment.plan.data.set, args.data_dir.as_ref()) {
        own.abandon();
        return Err(error);
    }
    own.settle()?;
    let open = open(&planned, folder)?;
    let (engine, how) = engine(args, open.jobs.len(), folder)?;
    announce(&experiment, &planned, &open, &how, folder);
    match bring(engine.as_ref(), &open.jobs)? {
        End::Exhausted => conclude(args, experiment, planned, folder),
        End::Stopped => {
            println!("stopped with {} runs finished; the same command continues", finished(&planned, folder));
            Ok(Ending::Interrupted)
        }
        End::NoSpace => Err(full(&planned, folder)),
    }
}

fn full(planned: &[PlannedRun], folder: &Path) -> anyhow::Error {
    anyhow!(
        "no space is left for {}: {} runs are finished and stay as they are; make space and give the same command to continue",
        folder.display(),
        finished(planned, folder)
    )
}

/// The runs that are still to be done.
struct Open {
    jobs: Vec<Job>,
    /// Runs that were finished before.
    finished: usize,
}

/// The open runs, with their folders made; a run that is marked as done but is not whole is done again, and a folder that
/// cannot be used is named and left to the report. Runs with small batches take longest and go first.
///
/// # Errors
/// A disk that has no space for the folders.
fn open(planned: &[PlannedRun], folder: &Path) -> Result<Open> {
    let (mut open, mut finished) = (Vec::new(), 0);
    // Tasks on other machines start in other folders.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    for run in planned {
        let at = RunFolder::of(&absolute, &run.key);
        let whole = at.is_whole();
        if matches!(whole, Ok(true)) {
            finished += 1;
            continue;
        }
        match at.prepare(&run.configuration) {
            Ok(()) => {
                if let Err(reason) = whole {
                    eprintln!("done again {}: {reason:#}", run.description());
                }
                open.push((run.configuration.train.batch_size, Job { folder: at, description: run.description() }));
            }
            Err(error) if no_space(&error) => return Err(full(planned, folder)),
            Err(error) => eprintln!("skipped {}: {error:#}", run.description()),
        }
    }
    open.sort_by_key(|(batch_size, _)| *batch_size);
    Ok(Open { jobs: open.into_iter().map(|(_, job)| job).collect(), finished })
}

fn announce(experiment: &Experiment, planned: &[PlannedRun], open: &Open, how: &str, folder: &Path) {
    println!(
        "{} · {} · preset {} · data {}\n{} runs, {} of them finished before; {how}; results in {}",
        experiment.name,
        experiment.plan.figure,
        experiment.preset,
        experiment.plan.data.set,
        planned.len(),
        open.finished,
        folder.display()
    );
}

/// Refuses an engine that is not here, and settings that it has no use for.
fn check_engine(args: &Args) -> Result<()> {
    match args.engine {
        Kind::Local if args.sbatch.is_empty() => Ok(()),
        Kind::Local => bail!("--sbatch needs --engine slurm"),
        Kind::Slurm => {
            check_sbatch(&args.sbatch)?;
            Ok(check_slurm()?)
        }
    }
}

/// The engine, and in words what it does.
fn engine(args: &Args, runs: usize, folder: &Path) -> Result<(Box<dyn Engine>, String)> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()));
    if args.engine == Kind::Slurm {
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

fn bring(engine: &dyn Engine, jobs: &[Job]) -> Result<End> {
    if jobs.is_empty() {
        return Ok(End::Exhausted);
    }
    listen()?;
    let mut board = Board::new(jobs)?;
    let end = engine.execute(jobs, &mut |event| board.show(event));
    board.close();
    end
}

/// Turns Ctrl-C into a wish to stop; once for the whole process.
fn listen() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut listening = Ok(());
    ONCE.call_once(|| listening = ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst)));
    listening.context("cannot listen for Ctrl-C")
}

/// Writes the report, says where it is, and fails if a run failed.
fn conclude(args: &Args, experiment: Experiment, planned: Vec<PlannedRun>, folder: &Path) -> Result<Ending> {
    let failed = failures(&planned, folder);
    let written = report::write(experiment, planned, folder, report::Extras { tensorboard: args.tensorboard })?;
    println!("\n{}", written.summary);
    println!("report   {}", written.page.display());
    println!("figure   {}", written.figure.display());
    println!("numbers  {}", written.measurements.display());
    println!("claims   {}", written.claims.display());
    if args.tensorboard {
        println!("events   {}", folder.join("tensorboard").display());
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

fn failures(planned: &[PlannedRun], folder: &Path) -> Vec<String> {
    let reason = |run: &PlannedRun| match RunFolder::of(folder, &run.key).state() {
        Ok(State::Done(_)) => {
            RunFolder::of(folder, &run.key).is_whole().err().map(|error| format!("  {}: {error:#}", run.description()))
        }
        Ok(State::Failed(reason)) => Some(format!("  {}: {reason}", run.description())),
        Ok(State::Unfinished) => Some(format!("  {}: it was not run", run.description())),
        Err(error) => Some(format!("  {}: {error:#}", run.description())),
    };
    planned.iter().filter_map(reason).collect()
}

/// How many of how many runs are finished.
fn finished(planned: &[PlannedRun], folder: &Path) -> String {
    let done = |run: &&PlannedRun| matches!(RunFolder::of(folder, &run.key).is_whole(), Ok(true));
    format!("{} of {}", planned.iter().filter(done).count(), planned.len())
}
