//! Checkpoints of a run: when they are written, and how a run that was killed goes on from the last one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use models::train::{Checkpoint, Checkpoints, Fit, Keep, Progress};
use models::{Error, Network};
use serde::{Deserialize, Serialize};

use super::diary::{Diary, Kept};
use crate::reproduce::store::{DataFile, RunFolder};

/// The folder of a run's checkpoints inside its own.
const FOLDER: &str = "checkpoints";

/// How long a run works until it saves again, unless it is told to save by steps.
const PAUSE: Duration = Duration::from_secs(15);

/// The checkpoints of one run.
pub(super) struct Saving {
    folder: PathBuf,
    checkpoints: Checkpoints,
    /// Steps from one checkpoint to the next; by the clock if none, which no result depends on.
    every: Option<u64>,
    data: Vec<DataFile>,
    started: Instant,
    saved: Instant,
    /// Seconds of work before this process took over.
    earlier: f64,
}

/// What a checkpoint keeps beside the network and the optimiser.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    diary: Kept,
    /// Where the images came from: others would not give the same run.
    data: Vec<DataFile>,
    seconds: f64,
}

impl Saving {
    pub(super) fn new(folder: &RunFolder, every: Option<u64>, data: &[DataFile]) -> Result<Self> {
        let folder = folder.path().join(FOLDER);
        let checkpoints = Checkpoints::new(&folder, Keep::default())?;
        let now = Instant::now();
        Ok(Self { folder, checkpoints, every, data: data.to_vec(), started: now, saved: now, earlier: 0.0 })
    }

    /// Brings a run back to its newest usable checkpoint; without one it starts at its beginning.
    ///
    /// A checkpoint that cannot be used is named on standard error and removed: the run loses time, not its result.
    pub(super) fn resume(
        &mut self,
        fit: &Fit,
        network: &Network,
        diary: &mut Diary,
        folder: &RunFolder,
    ) -> Result<Progress> {
        loop {
            match self.checkpoints.newest() {
                Ok(None) => return Ok(Progress::default()),
                Ok(Some(checkpoint)) => match self.restore(&checkpoint, fit, network) {
                    Ok((progress, state)) => {
                        diary.resume(state.diary, progress.step as usize, folder)?;
                        self.earlier = state.seconds;
                        return Ok(progress);
                    }
                    Err(reason) => self.give_up(&checkpoint.path, &reason)?,
                },
                Err(Error::Checkpoint { path, reason, .. }) => self.give_up(&path, &reason)?,
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Saves if it is time to.
    pub(super) fn save_if_due(
        &mut self,
        fit: &Fit,
        network: &Network,
        progress: &Progress,
        diary: &Diary,
    ) -> Result<()> {
        let due = match self.every {
            Some(every) => progress.step.is_multiple_of(every),
            None => self.saved.elapsed() > PAUSE,
        };
        if !due || progress.step == fit.steps {
            return Ok(());
        }
        let state = State { diary: diary.kept(), data: self.data.clone(), seconds: self.seconds() };
        self.checkpoints.save(fit, network, progress, None, serde_json::to_value(state)?)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Removes the checkpoints of a run that has come to its end, and tells how long it worked in all.
    pub(super) fn finish(self) -> Result<f64> {
        self.checkpoints.clear()?;
        // Whatever else lies there is not this program's to remove.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(self.seconds())
    }

    /// Seconds of work, those of killed processes up to their last checkpoint included.
    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    fn restore(&self, checkpoint: &Checkpoint, fit: &Fit, network: &Network) -> Result<(Progress, State), String> {
        let state: State =
            serde_json::from_value(checkpoint.header.state.clone()).map_err(|error| error.to_string())?;
        if state.data != self.data {
            return Err("its images came from other files".to_owned());
        }
        let mut progress = Progress::default();
        checkpoint.restore(fit, network, &mut progress).map_err(|error| error.to_string())?;
        Ok((progress, state))
    }

    fn give_up(&self, path: &Path, reason: &str) -> Result<()> {
        // Standard error is the run's log; where it cannot be written, the run goes on all the same.
        let _ = writeln!(std::io::stderr(), "checkpoint {} is left aside: {reason}", path.display());
        Ok(self.checkpoints.discard(path)?)
    }
}
