//! One experiment from its plan to its report.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};

use super::engine::{Board, End, Engine, Job, Local};
use super::experiment::Experiment;
use super::results_folder::ResultsFolder;
use super::store::{RunFolder, State};
use super::sweep::{self, PlannedRun};
use super::{Args, STOP};
use crate::{Ending, data, report};

/// Brings every run of the experiment to its end and writes the report.
pub(super) fn work(args: &Args, experiment: Experiment, folder: &Path) -> Result<Ending> {
    let planned = sweep::runs(&experiment)?;
    let own = ResultsFolder::open(folder)?;
    if let Err(error) = data::ensure(&experiment.plan.data.set, args.data_dir.as_ref()) {
        own.abandon();
        return Err(error);
    }
    own.settle()?;
    let open = open(&planned, folder);
    let local = local(args, open.jobs.len())?;
    announce(&experiment, &planned, &open, &local, folder);
    match bring(&local, &open.jobs)? {
        End::Exhausted => conclude(experiment, planned, folder),
        End::Stopped => {
            println!("stopped with {} runs finished; the same command continues", finished(&planned, folder));
            Ok(Ending::Interrupted)
        }
        End::NoSpace => bail!(
            "no space is left for {}: {} runs are finished and stay as they are; make space and give the same command to continue",
            folder.display(),
            finished(&planned, folder)
        ),
    }
}

/// The runs that are still to be done.
struct Open {
    jobs: Vec<Job>,
    /// Runs that were finished before.
    finished: usize,
}

/// The open runs, with their folders made; a folder that cannot be used is named and left to the report. Runs with
/// small batches take longest and go first.
fn open(planned: &[PlannedRun], folder: &Path) -> Open {
    let (mut open, mut finished) = (Vec::new(), 0);
    for run in planned {
        let at = RunFolder::of(folder, &run.key);
        if matches!(at.state(), Ok(State::Done(_))) {
            finished += 1;
            continue;
        }
        match at.prepare(&run.configuration) {
            Ok(()) => {
                open.push((run.configuration.train.batch_size, Job { folder: at, description: run.description() }));
            }
            Err(error) => eprintln!("skipped {}: {error:#}", run.description()),
        }
    }
    open.sort_by_key(|(batch_size, _)| *batch_size);
    Open { jobs: open.into_iter().map(|(_, job)| job).collect(), finished }
}

fn announce(experiment: &Experiment, planned: &[PlannedRun], open: &Open, local: &Local, folder: &Path) {
    let threads = (local.threads / local.jobs).max(1);
    println!(
        "{} · {} · preset {} · data {}\n{} runs, {} of them finished before; {} at a time, {threads} thread{} each; results in {}",
        experiment.name,
        experiment.plan.figure,
        experiment.preset,
        experiment.plan.data.set,
        planned.len(),
        open.finished,
        local.jobs,
        if threads > 1 { "s" } else { "" },
        folder.display()
    );
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
        Ok(State::Done(_)) => None,
        Ok(State::Failed(reason)) => Some(format!("  {}: {reason}", run.description())),
        Ok(State::Unfinished) => Some(format!("  {}: it was not run", run.description())),
        Err(error) => Some(format!("  {}: {error:#}", run.description())),
    };
    planned.iter().filter_map(reason).collect()
}

/// How many of how many runs are finished.
fn finished(planned: &[PlannedRun], folder: &Path) -> String {
    let done = |run: &&PlannedRun| matches!(RunFolder::of(folder, &run.key).state(), Ok(State::Done(_)));
    format!("{} of {}", planned.iter().filter(done).count(), planned.len())
}
