//! Engines start the processes of runs and watch them; they do not depend on what a run does.

mod local;
mod progress;
mod slurm;

use anyhow::Result;

pub(crate) use local::Local;
pub(crate) use progress::ProgressDisplay;
pub(crate) use slurm::{Slurm, check as check_slurm, check_options as check_sbatch};

use super::child::RunProgress;
use crate::study::store::{RunFolder, RunState};

/// Where runs are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineKind {
    /// Child processes on this machine
    Local,
    /// Tasks of a Slurm job array, in a folder that the nodes share
    Slurm,
}

/// One run to be executed.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The folder with its configuration, which receives its results.
    pub(crate) folder: RunFolder,
    /// Its settings, for people.
    pub(crate) description: String,
}

/// An event that an engine reports. Each holds the index of a job.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A run began.
    Started(usize),
    /// A run reported progress.
    Advanced(usize, RunProgress),
    /// A run ended, in this state.
    Ended(usize, RunState),
}

/// The reason why an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineEnd {
    /// Every run ended, successfully or not.
    Exhausted,
    /// An interrupt stopped it.
    Stopped,
    /// A run found no space on the disk, and no further run was started.
    NoSpace,
}

/// Executes runs.
pub(crate) trait Engine {
    /// Executes every job, and calls `watch` with every event. The failure of a run does not stop the others.
    ///
    /// # Errors
    /// Errors of the engine itself, not those of runs.
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<EngineEnd>;
}

/// Marks a run as failed for a reason that its own process could not write down.
fn failed(job: &Job, reason: &str) -> RunState {
    match job.folder.fail(reason) {
        Ok(()) => RunState::Failed(reason.to_owned()),
        Err(error) => RunState::Failed(format!("{reason}; writing this down failed too: {error:#}")),
    }
}
