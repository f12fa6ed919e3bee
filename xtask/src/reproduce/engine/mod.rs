//! Engines start runs and watch them; they know nothing of what a run does.

mod local;
mod progress;
mod slurm;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub(crate) use local::Local;
pub(crate) use progress::Board;
pub(crate) use slurm::{Slurm, check as check_slurm, check_options as check_sbatch};

use super::store::{RunFolder, State};

/// Where runs are brought to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Child processes on this machine
    Local,
    /// Tasks of a Slurm job array, in a folder that the nodes share
    Slurm,
}

/// One run to be brought to its end.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Where its configuration is and its results go.
    pub(crate) folder: RunFolder,
    /// What tells it from the others, for people.
    pub(crate) description: String,
}

/// What an engine reports while it works; runs are named by their index among the jobs.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A run began.
    Started(usize),
    /// A run came further.
    Advanced(usize, Advance),
    /// A run ended, in this state.
    Ended(usize, State),
}

/// How far a run has come, as it says itself, one line of JSON at a time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Advance {
    /// Share of its work that is done.
    pub(crate) share: f64,
    /// Images that it has trained on.
    pub(crate) images: u64,
}

/// How the work of an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Every run ended, one way or another.
    Exhausted,
    /// Somebody asked to stop.
    Stopped,
    /// There was no space for what a run wrote, and nothing more was started.
    NoSpace,
}

/// Something that can bring runs to their end.
pub(crate) trait Engine {
    /// Brings every job to its end; the failure of one never stops the others.
    ///
    /// # Errors
    /// Only what makes the engine itself unable to go on.
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<End>;
}

/// Marks a run as failed for a reason that its own process could not give.
fn failed(job: &Job, reason: &str) -> State {
    match job.folder.fail(reason) {
        Ok(()) => State::Failed(reason.to_owned()),
        Err(error) => State::Failed(format!("{reason}; and this could not be written down: {error:#}")),
    }
}
