//! The engine for Slurm: the runs are tasks of job arrays, in a folder that this machine and the nodes share.
//!
//! The state of a run is read from its folder. Slurm is queried only for the tasks that have not ended. Therefore Slurm's
//! accounting is not needed, and a watcher that was killed finds its tasks again.

mod commands;
mod submission;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Engine, EngineEnd, Event, Job};
use crate::output::note;
use crate::reproduce::child::NO_SPACE;
use crate::study::store::RunState;
use commands::{TaskId, TaskStatus};
use submission::Submission;

pub(crate) use commands::check;

/// Time between two queries of Slurm.
const POLL: Duration = Duration::from_secs(2);

/// Time between two looks at the stop flag.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Time between the end of a task and the decision that its run is lost: shared folders show files late.
const GRACE: Duration = Duration::from_secs(5);

/// Time without an answer of Slurm after which the watcher gives up. The tasks go on.
const UNREACHABLE: Duration = Duration::from_secs(600);

/// Number of submissions of a run whose tasks end without a result.
const ATTEMPTS: usize = 3;

/// Executes runs as tasks of Slurm job arrays.
pub(crate) struct Slurm {
    /// The words that start this program, with its command `run FOLDER`, at a path that exists on the nodes too.
    pub(crate) program: Vec<OsString>,
    /// The results folder, at a path that exists on the nodes too.
    pub(crate) results: PathBuf,
    /// Limit on the tasks that run at a time.
    pub(crate) jobs: Option<usize>,
    /// Threads of each task.
    pub(crate) threads: usize,
    /// Folder that holds the data set, instead of the Hub and its cache.
    pub(crate) data_dir: Option<PathBuf>,
    /// Options for `sbatch`, such as `--partition=gpu`.
    pub(crate) options: Vec<String>,
    /// Set by an interrupt.
    pub(crate) stop: &'static AtomicBool,
}

/// A run that has not ended.
struct Watched {
    task: TaskId,
    attempts: usize,
    started: bool,
    /// The time at which its task was first seen to have ended.
    over: Option<Instant>,
}

impl Engine for Slurm {
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<EngineEnd> {
        let mut submission = Submission::open(self)?;
        let mut watched: BTreeMap<usize, Watched> = BTreeMap::new();
        for (index, task) in submission.unfinished(jobs)? {
            watched.insert(index, Watched { task, attempts: 1, started: false, over: None });
        }
        let fresh: Vec<usize> = (0..jobs.len()).filter(|index| !watched.contains_key(index)).collect();
        self.submit(&mut submission, jobs, &fresh, &mut watched)?;
        let ended = self.watch(&mut submission, jobs, &mut watched, watch);
        if !matches!(ended, Ok(EngineEnd::Exhausted)) {
            // After an interrupt, an error, or a full disk, tasks that are still waiting must not start.
            submission.cancel(watched.values().map(|run| &run.task))?;
        }
        ended
    }
}

impl Slurm {
    fn submit(
        &self,
        submission: &mut Submission,
        jobs: &[Job],
        indices: &[usize],
        watched: &mut BTreeMap<usize, Watched>,
    ) -> Result<()> {
        for (index, task) in submission.submit(self, jobs, indices)? {
            let attempts = watched.get(&index).map_or(0, |run| run.attempts) + 1;
            let started = watched.get(&index).is_some_and(|run| run.started);
            watched.insert(index, Watched { task, attempts, started, over: None });
        }
        Ok(())
    }

    fn watch(
        &self,
        submission: &mut Submission,
        jobs: &[Job],
        watched: &mut BTreeMap<usize, Watched>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<EngineEnd> {
        let (mut reached, mut silent) = (Instant::now(), false);
        while !watched.is_empty() {
            if self.pause() {
                return Ok(EngineEnd::Stopped);
            }
            let arrays: BTreeSet<&str> = watched.values().map(|run| run.task.array.as_str()).collect();
            let queue = match commands::queue(&arrays) {
                Ok(queue) => queue,
                Err(error) if reached.elapsed() > UNREACHABLE => return Err(error),
                Err(error) => {
                    if !silent {
                        note!("Slurm does not answer; trying again for ten minutes while its tasks go on: {error:#}");
                    }
                    silent = true;
                    continue;
                }
            };
            (reached, silent) = (Instant::now(), false);
            let (mut lost, mut full) = (Vec::new(), false);
            watched.retain(|index, run| {
                let status = queue.get(&run.task);
                full |= status.is_some_and(|status| status.exit_code == Some(NO_SPACE.into()));
                let state = self.look(&jobs[*index], run, status, &mut || watch(Event::Started(*index)));
                match state {
                    Look::Ended(state) => {
                        watch(Event::Ended(*index, state));
                        return false;
                    }
                    Look::Lost => lost.push(*index),
                    Look::Open => {}
                }
                true
            });
            if full {
                return Ok(EngineEnd::NoSpace);
            }
            if !lost.is_empty() {
                self.submit(submission, jobs, &lost, watched)?;
            }
        }
        Ok(EngineEnd::Exhausted)
    }

    /// Waits until the next query; true after an interrupt.
    fn pause(&self) -> bool {
        let since = Instant::now();
        while since.elapsed() < POLL {
            if self.stop.load(Ordering::SeqCst) {
                return true;
            }
            std::thread::sleep(HEARTBEAT);
        }
        false
    }

    /// The state of a run from its folder and from Slurm. Where they differ, the folder is right.
    fn look(&self, job: &Job, run: &mut Watched, status: Option<&TaskStatus>, start: &mut dyn FnMut()) -> Look {
        let state = state_of(job);
        let begun =
            status.is_some_and(TaskStatus::runs) || matches!(state, Some(RunState::Done(_) | RunState::Failed(_)));
        if begun && !run.started {
            run.started = true;
            start();
        }
        if let Some(ended @ (RunState::Done(_) | RunState::Failed(_))) = state {
            return Look::Ended(ended);
        }
        if status.is_some_and(TaskStatus::unfinished) {
            run.over = None;
            return Look::Open;
        }
        if run.over.get_or_insert_with(Instant::now).elapsed() < GRACE {
            return Look::Open;
        }
        let why = commands::why(&run.task, status);
        let cancelled = status.is_some_and(|status| status.state.starts_with("CANCELLED"));
        if cancelled || run.attempts >= ATTEMPTS {
            let reason = format!("Slurm task {} {why}, after {} attempts", run.task, run.attempts);
            return Look::Ended(super::failed(job, &reason));
        }
        Look::Lost
    }
}

/// The result of a look at a run.
enum Look {
    /// It has not ended.
    Open,
    /// It ended.
    Ended(RunState),
    /// Its task ended without a result; it must be submitted again.
    Lost,
}

/// The state of the run's folder, if it can be read.
fn state_of(job: &Job) -> Option<RunState> {
    job.folder.state().ok()
}

/// Refuses options of sbatch that this engine sets itself, and arguments that are no options.
pub(crate) fn check_options(options: &[String]) -> Result<()> {
    let own = ["--array", "-a", "--parsable", "--output", "-o", "--wrap"];
    for option in options {
        let name = option.split('=').next().unwrap_or(option);
        // A short option may have its value attached.
        let short = option.get(..2).filter(|_| !option.starts_with("--")).unwrap_or(name);
        if !option.starts_with('-') || own.contains(&name) || own.contains(&short) {
            bail!(
                "--sbatch {option}: expected an option for sbatch, such as --partition=gpu, and none of {}",
                own.join(", ")
            );
        }
    }
    Ok(())
}
