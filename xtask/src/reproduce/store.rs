//! One folder a run: the resolved configuration, what was measured, and how it ended.
//!
//! A run can be killed at any instant. `run.toml` and the marks `done` and `failed` appear whole or not at all;
//! `metrics.jsonl` only grows, and a last line that was cut is not read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::lock::FolderLock;
use super::measurement::{Measurement, Moment, Outcome};
use crate::files::write_whole;
use crate::record::Record;

const CONFIGURATION: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const DONE: &str = "done";
const FAILED: &str = "failed";
const RECORD: &str = "record.json";
const LOG: &str = "log.txt";

/// The folder of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// A file that the images of a run come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Its name.
    pub(crate) file: String,
    /// SHA-256 of its bytes, where it was checked.
    pub(crate) sha256: Option<String>,
}

/// The circumstances of a finished run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// Who, where, when and how long.
    #[serde(flatten)]
    pub(crate) work: Record,
    /// Where the images come from; nothing for those that are drawn.
    pub(crate) data: Vec<DataFile>,
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Not started, or stopped before its end.
    Unfinished,
    /// Ran to its end.
    Done(Outcome),
    /// Gave up, for this reason.
    Failed(String),
}

impl RunFolder {
    /// The folder of the run `key` among the results in `results`.
    pub(crate) fn of(results: &Path, key: &str) -> Self {
        Self { path: results.join("runs").join(key) }
    }

    /// The run folder at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that takes what the run says while it works.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Makes the folder, with the configuration in it, unless it is there.
    pub(crate) fn create(&self, configuration: &Configuration) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        write_whole(&self.path.join(CONFIGURATION), configuration.to_toml()?.as_bytes())
    }

    /// Makes the folder ready for a run, unless a run is at work in it.
    pub(crate) fn prepare(&self, configuration: &Configuration) -> Result<()> {
        self.create(configuration)?;
        // Where the lock is taken, a run that an earlier command started is still at work, and its files are its own.
        let Ok(_free) = FolderLock::take(&self.path) else { return Ok(()) };
        self.clear()
    }

    /// The configuration that the folder was made with.
    pub(crate) fn configuration(&self) -> Result<Configuration> {
        let path = self.path.join(CONFIGURATION);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} is no run folder: expected a `{CONFIGURATION}` written by `reproduce`", self.path.display())
        })?;
        Configuration::from_toml(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    /// How far the run has come.
    ///
    /// # Errors
    /// A mark that cannot be read or understood.
    pub(crate) fn state(&self) -> Result<State> {
        if let Some(text) = read_if_there(&self.path.join(DONE))? {
            let outcome = serde_json::from_str(&text)
                .with_context(|| format!("cannot understand {}", self.path.join(DONE).display()))?;
            return Ok(State::Done(outcome));
        }
        let failed = read_if_there(&self.path.join(FAILED))?;
        Ok(failed.map_or(State::Unfinished, |reason| State::Failed(reason.trim().to_owned())))
    }

    /// Whether the run is done and everything that a report needs of it is there.
    ///
    /// # Errors
    /// A run that is marked as done, but what it left is missing or cannot be read.
    pub(crate) fn is_whole(&self) -> Result<bool> {
        let State::Done(outcome) = self.state()? else { return Ok(false) };
        self.record()?;
        let ended =
            |measurement: &Measurement| matches!(measurement.moment, Moment::Schedule { share } if share == 1.0);
        if !self.measurements()?.iter().any(ended) && matches!(outcome, Outcome::Completed { .. }) {
            bail!("{} lacks what the run measured at the end of training", self.path.join(METRICS).display());
        }
        Ok(true)
    }

    /// Forgets an earlier attempt, so that the run can start afresh.
    pub(crate) fn clear(&self) -> Result<()> {
        for name in [DONE, FAILED, METRICS, RECORD] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds one line to the measurements.
    pub(crate) fn append(&self, measurement: &Measurement) -> Result<()> {
        let path = self.path.join(METRICS);
        let mut line = serde_json::to_vec(measurement)?;
        line.push(b'\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&line))
            .with_context(|| format!("cannot write {}: is there space?", path.display()))
    }

    /// All measurements, in the order in which they were taken; a last line without its end was cut and is left out.
    pub(crate) fn measurements(&self) -> Result<Vec<Measurement>> {
        let path = self.path.join(METRICS);
        let text = read_if_there(&path)?.unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), index + 1))
            })
            .collect()
    }

    /// Marks the run as done; the record goes first, because the mark is what makes it count.
    pub(crate) fn finish(&self, outcome: &Outcome, work: &Record, data: &[DataFile]) -> Result<()> {
        let record = RunRecord { work: work.clone(), data: data.to_vec() };
        write_whole(&self.path.join(RECORD), serde_json::to_string_pretty(&record)?.as_bytes())?;
        write_whole(&self.path.join(DONE), serde_json::to_string(outcome)?.as_bytes())
    }

    /// Marks the run as failed, with the reason.
    pub(crate) fn fail(&self, reason: &str) -> Result<()> {
        write_whole(&self.path.join(FAILED), format!("{}\n", reason.trim()).as_bytes())
    }

    /// Where and how long the run was at work, if it finished.
    pub(crate) fn record(&self) -> Result<RunRecord> {
        let path = self.path.join(RECORD);
        let text = read_if_there(&path)?.ok_or_else(|| anyhow!("{} is missing", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stopwatch;
    use crate::reproduce::experiment::Experiment;
    use crate::reproduce::measurement::Measured;
    use crate::reproduce::metric::Metric;

    fn measurement(step: usize) -> Measurement {
        let values = [(Metric::Gc, Measured::new(0.1 + 0.2, Some(f64::NAN), 7))];
        Measurement {
            moment: Moment::Schedule { share: 0.5 },
            step,
            epoch: 1.5,
            train_loss: Some(0.3),
            values: values.into_iter().collect(),
            estimates: Vec::new(),
        }
    }

    fn folder(root: &Path) -> RunFolder {
        let configuration =
            Experiment::resolve("fig4", "quick", None, None, &[]).unwrap().configuration(0, None).unwrap();
        let folder = RunFolder::of(root, &configuration.key().unwrap());
        folder.create(&configuration).unwrap();
        assert_eq!(folder.configuration().unwrap(), configuration);
        folder
    }

    #[test]
    fn what_was_appended_is_read_back_to_the_bit_and_a_cut_line_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        folder.append(&measurement(1)).unwrap();
        folder.append(&measurement(2)).unwrap();
        let path = folder.path().join(METRICS);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"moment\":{\"kind\":\"sched");
        fs::write(&path, text).unwrap();
        assert_eq!(folder.measurements().unwrap(), [measurement(1), measurement(2)]);
        assert_eq!(folder.measurements().unwrap()[0].values[&Metric::Gc].standard_error, None);
    }

    #[test]
    fn a_run_is_unfinished_failed_or_done_and_can_start_afresh() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        assert_eq!(folder.state().unwrap(), State::Unfinished);
        folder.fail("no space\n").unwrap();
        assert_eq!(folder.state().unwrap(), State::Failed("no space".to_owned()));
        folder.append(&measurement(1)).unwrap();
        folder.clear().unwrap();
        assert_eq!(folder.state().unwrap(), State::Unfinished);
        assert!(folder.measurements().unwrap().is_empty());
        let outcome = Outcome::Diverged { classes: 64, images: 9600, step: 12 };
        folder.finish(&outcome, &Stopwatch::start().record(1), &[]).unwrap();
        assert_eq!(folder.state().unwrap(), State::Done(outcome));
        assert_eq!(folder.record().unwrap().work.threads, 1);
    }

    #[test]
    fn a_run_that_is_done_is_whole_only_with_all_that_it_left() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        assert!(!folder.is_whole().unwrap());
        let outcome = Outcome::Completed { classes: 64, images: 9600, final_loss: 1.0 };
        folder.append(&measurement(1)).unwrap();
        folder.finish(&outcome, &Stopwatch::start().record(1), &[]).unwrap();
        let message = format!("{:#}", folder.is_whole().unwrap_err());
        assert!(message.contains("metrics.jsonl lacks what the run measured at the end"), "{message}");
        folder.append(&Measurement { moment: Moment::Schedule { share: 1.0 }, ..measurement(2) }).unwrap();
        assert!(folder.is_whole().unwrap());
        fs::remove_file(folder.path().join(RECORD)).unwrap();
        assert!(format!("{:#}", folder.is_whole().unwrap_err()).contains("record.json is missing"));
    }

    #[test]
    fn a_run_of_another_format_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let path = folder.path().join(CONFIGURATION);
        let text = fs::read_to_string(&path).unwrap().replace("format = 2", "format = 3");
        fs::write(&path, text).unwrap();
        let message = format!("{:#}", folder.configuration().unwrap_err());
        assert!(message.contains("run.toml") && message.contains("format 3"), "{message}");
    }
}
