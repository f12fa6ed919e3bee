//! Checkpoints of a run: when they are saved, and how a run that was killed continues from the last one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use models::train::{Checkpoint, Checkpoints, Fit, Keep, Progress};
use models::{Error, Network};
use serde::{Deserialize, Serialize};

use super::training_log::{LogState, TrainingLog};
use crate::files::remove_partial;
use crate::output::note;
use crate::study::configuration::Configuration;
use crate::study::store::{DataFile, RunFolder};

/// The folder of the checkpoints in a run's folder.
const FOLDER: &str = "checkpoints";

/// Time between two checkpoints, unless they are saved by steps.
const SAVE_EVERY: Duration = Duration::from_secs(15);

/// The checkpoints of one run.
pub(super) struct Saving {
    folder: PathBuf,
    checkpoints: Checkpoints,
    /// Steps from one checkpoint to the next; none for the clock. The results do not depend on it.
    every: Option<u64>,
    /// SHA-256 of the configuration.
    configuration: String,
    data: Vec<DataFile>,
    started: Instant,
    saved: Instant,
    /// Seconds of work of earlier processes.
    earlier: f64,
}

/// The state of a run that a checkpoint saves beside the network and the optimiser.
#[derive(Debug, Serialize, Deserialize)]
struct CheckpointState {
    #[serde(alias = "diary")]
    training_log: LogState,
    /// SHA-256 of the configuration; earlier versions saved none.
    #[serde(default)]
    configuration: Option<String>,
    /// The files of the data set. A run cannot continue on other files.
    data: Vec<DataFile>,
    seconds: f64,
}

impl Saving {
    /// Opens the checkpoints in a run's folder.
    pub(super) fn new(
        folder: &RunFolder,
        configuration: &Configuration,
        every: Option<u64>,
        data: &[DataFile],
    ) -> Result<Self> {
        let folder = folder.path().join(FOLDER);
        let checkpoints = Checkpoints::new(&folder, Keep::default())?;
        remove_partial(&folder)?;
        let now = Instant::now();
        let configuration = configuration.digest()?;
        Ok(Self {
            folder,
            checkpoints,
            every,
            configuration,
            data: data.to_vec(),
            started: now,
            saved: now,
            earlier: 0.0,
        })
    }

    /// Restores a run from its newest usable checkpoint; without one the run starts at its beginning.
    ///
    /// A checkpoint that cannot be used is named on standard error and removed. The run loses time, and its results stay
    /// the same.
    pub(super) fn resume(
        &mut self,
        fit: &Fit,
        network: &Network,
        training_log: &mut TrainingLog,
        folder: &RunFolder,
    ) -> Result<Progress> {
        loop {
            match self.checkpoints.newest() {
                Ok(None) => return Ok(Progress::default()),
                Ok(Some(checkpoint)) => match self.restore(&checkpoint, fit, network) {
                    Ok((progress, state)) => {
                        training_log.resume(state.training_log, progress.step as usize, folder)?;
                        self.earlier = state.seconds;
                        return Ok(progress);
                    }
                    Err(reason) => self.discard(&checkpoint.path, &reason)?,
                },
                Err(Error::Checkpoint { path, reason, .. }) => self.discard(&path, &reason)?,
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Saves a checkpoint if one is due.
    pub(super) fn save_if_due(
        &mut self,
        fit: &Fit,
        network: &Network,
        progress: &Progress,
        training_log: &TrainingLog,
    ) -> Result<()> {
        let due = match self.every {
            Some(every) => progress.step.is_multiple_of(every),
            None => self.saved.elapsed() > SAVE_EVERY,
        };
        if !due || progress.step == fit.steps {
            return Ok(());
        }
        let state = CheckpointState {
            training_log: training_log.state(),
            configuration: Some(self.configuration.clone()),
            data: self.data.clone(),
            seconds: self.seconds(),
        };
        self.checkpoints.save(fit, network, progress, None, serde_json::to_value(state)?)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Removes the checkpoints of a run that has ended; returns the seconds of work of all its processes.
    pub(super) fn finish(self) -> Result<f64> {
        self.checkpoints.clear()?;
        // A folder with other files in it stays.
        let _ = std::fs::remove_dir(&self.folder);
        Ok(self.seconds())
    }

    /// Seconds of work of all processes; of killed ones, up to their last checkpoint.
    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    fn restore(
        &self,
        checkpoint: &Checkpoint,
        fit: &Fit,
        network: &Network,
    ) -> Result<(Progress, CheckpointState), String> {
        let state: CheckpointState =
            serde_json::from_value(checkpoint.header.state.clone()).map_err(|error| error.to_string())?;
        if state.data != self.data {
            return Err("the images came from other files".to_owned());
        }
        if state.configuration.as_ref().is_some_and(|digest| *digest != self.configuration) {
            return Err("it belongs to a run with another configuration".to_owned());
        }
        let mut progress = Progress::default();
        checkpoint.restore(fit, network, &mut progress).map_err(|error| error.to_string())?;
        Ok((progress, state))
    }

    fn discard(&self, path: &Path, reason: &str) -> Result<()> {
        note!("checkpoint {} is ignored: {reason}", path.display());
        Ok(self.checkpoints.discard(path)?)
    }
}
