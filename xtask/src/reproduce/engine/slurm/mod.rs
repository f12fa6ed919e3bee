//! A Slurm cluster: the runs as tasks of job arrays, in a folder that this machine and the nodes share.
//!
//! What became of a run stands in its folder; Slurm is only asked which tasks are still to come. So it does not matter
//! whether Slurm keeps accounts, and a watcher that was killed finds its tasks again.

mod commands;
mod submission;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{End, Engine, Event, Job};
use crate::reproduce::run::NO_SPACE;
use crate::reproduce::store::State;
use commands::{Standing, TaskId};
use submission::Submission;

pub(crate) use commands::check;

/// How often Slurm is asked.
const POLL: Duration = Duration::from_secs(2);

/// How often a wish to stop is looked for.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How long a task may be over before its run counts as lost: shared folders show files late.
const GRACE: Duration = Duration::from_secs(5);

/// How long Slurm may be unreachable before the watcher gives up; the tasks go on.
const UNREACHABLE: Duration = Duration::from_secs(600);

/// How often a run is submitted in all when its tasks end without a result.
const ATTEMPTS: usize = 3;

/// Runs as tasks of Slurm job arrays.
pub(crate) struct Slurm {
    /// The program that understands `run FOLDER`, at a path that the nodes have too.
    pub(crate) program: PathBuf,
    /// The folder of the results, which the nodes have too.
    pub(crate) results: PathBuf,
    /// Tasks at once, if they are to be limited.
    pub(crate) jobs: Option<usize>,
    /// Threads of each task.
    pub(crate) threads: usize,
    /// Folder that holds the data set, instead of the Hub and its cache.
    pub(crate) data_dir: Option<PathBuf>,
    /// Options for `sbatch`, such as `--partition=gpu`.
    pub(crate) options: Vec<String>,
    /// Set by whoever wants the work to stop.
    pub(crate) stop: &'static AtomicBool,
}

/// What is known of a run that has not ended.
struct Watched {
    task: TaskId,
    attempts: usize,
    started: bool,
    /// Since when its task is over.
    over: Option<Instant>,
}

impl Engine for Slurm {
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<End> {
        let mut submission = Submission::open(self)?;
        let mut watched: BTreeMap<usize, Watched> = BTreeMap::new();
        for (index, task) in submission.alive(jobs)? {
            watched.insert(index, Watched { task, attempts: 1, started: false, over: None });
        }
        let fresh: Vec<usize> = (0..jobs.len()).filter(|index| !watched.contains_key(index)).collect();
        self.submit(&mut submission, jobs, &fresh, &mut watched)?;
        let ended = self.watch(&mut submission, jobs, &mut watched, watch);
        if !matches!(ended, Ok(End::Exhausted)) {
            // On a stop, an error, or a full disk: what is still waiting must not start.
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
    ) -> Result<End> {
        let (mut reached, mut silent) = (Instant::now(), false);
        while !watched.is_empty() {
            if self.pause() {
                return Ok(End::Stopped);
            }
            let arrays: BTreeSet<&str> = watched.values().map(|run| run.task.array.as_str()).collect();
            let queue = match commands::queue(&arrays) {
                Ok(queue) => queue,
                Err(error) if reached.elapsed() > UNREACHABLE => return Err(error),
                Err(error) => {
                    if !silent {
                        eprintln!(
                            "Slurm does not answer, and is asked again for ten minutes; its tasks go on: {error:#}"
                        );
                    }
                    silent = true;
                    continue;
                }
            };
            (reached, silent) = (Instant::now(), false);
            let (mut lost, mut full) = (Vec::new(), false);
            watched.retain(|index, run| {
                let standing = queue.get(&run.task);
                full |= standing.is_some_and(|standing| standing.exit_code == Some(NO_SPACE));
                let state = self.look(&jobs[*index], run, standing, &mut || watch(Event::Started(*index)));
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
                return Ok(End::NoSpace);
            }
            if !lost.is_empty() {
                self.submit(submission, jobs, &lost, watched)?;
            }
        }
        Ok(End::Exhausted)
    }

    /// Waits for the next poll; true if somebody wants to stop.
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

    /// What a run's folder and Slurm say together; the folder is right where they differ.
    fn look(&self, job: &Job, run: &mut Watched, standing: Option<&Standing>, start: &mut dyn FnMut()) -> Look {
        let state = state_of(job);
        let begun = standing.is_some_and(Standing::runs) || matches!(state, Some(State::Done(_) | State::Failed(_)));
        if begun && !run.started {
            run.started = true;
            start();
        }
        if let Some(ended @ (State::Done(_) | State::Failed(_))) = state {
            return Look::Ended(ended);
        }
        if standing.is_some_and(Standing::alive) {
            run.over = None;
            return Look::Open;
        }
        if run.over.get_or_insert_with(Instant::now).elapsed() < GRACE {
            return Look::Open;
        }
        let why = commands::why(&run.task, standing);
        let cancelled = standing.is_some_and(|standing| standing.state.starts_with("CANCELLED"));
        if cancelled || run.attempts >= ATTEMPTS {
            let reason = format!("Slurm task {} {why}, after {} attempts", run.task, run.attempts);
            return Look::Ended(super::failed(job, &reason));
        }
        Look::Lost
    }
}

/// What became of a run.
enum Look {
    /// It goes on.
    Open,
    /// It ended.
    Ended(State),
    /// Its task ended without a result.
    Lost,
}

/// The state in the run's folder, where it can be read.
fn state_of(job: &Job) -> Option<State> {
    job.folder.state().ok()
}

/// Refuses options that this engine sets itself.
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
