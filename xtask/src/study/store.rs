//! The folder of one run: its resolved configuration, its measurements, and how it ended.
//!
//! A run can be killed at any time. `run.toml` and the marks `done` and `failed` are written as a whole or not at all.
//! `metrics.jsonl` only grows, and a last line without its end is not read. `record.json` holds a signature that ties the
//! results to the configuration ([`RunFolder::verify`]).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use support::open_input;

use super::configuration::Configuration;
use super::lock::FolderLock;
use super::measurement::{Measurement, MeasuringPoint, RunOutcome};
use crate::files::{append_to, remove_partial, write_whole};
use crate::provenance::Provenance;

const CONFIGURATION: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const DONE: &str = "done";
const FAILED: &str = "failed";
const RECORD: &str = "record.json";
const LOG: &str = "log.txt";

/// First part of the signatures of earlier versions, which cover the results alone.
const SIGNATURE_OF_RESULTS: &str = "results of a run, 1";
/// First part of every new signature, which covers the results and what computed them.
const SIGNATURE: &str = "results of a run, 2";

/// The folder of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

/// A file of the data set of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Its name.
    pub(crate) file: String,
    /// SHA-256 of its bytes, where it was computed.
    pub(crate) sha256: Option<String>,
}

/// The provenance of a finished run, in `record.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunProvenance {
    /// Program, machine, time and duration.
    #[serde(flatten)]
    pub(crate) work: Provenance,
    /// The files of the data set; none where the program draws the images.
    pub(crate) data: Vec<DataFile>,
    /// SHA-256 of the configuration, the results, and what computed them; the first versions wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RunState {
    /// Not started, or stopped before its end.
    Unfinished,
    /// Trained to the end, or to the step at which it diverged.
    Done(RunOutcome),
    /// Ended by an error, with its message.
    Failed(String),
}

/// The result of a check of a run's results without a mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// The run is not done.
    Unfinished,
    /// The signature matches the configuration and the results.
    Signed,
    /// The results are complete, but have no signature: an earlier version wrote them.
    Unsigned,
}

impl Verified {
    /// Whether the run has results that can be used.
    pub(crate) fn is_done(self) -> bool {
        self != Self::Unfinished
    }
}

impl RunFolder {
    /// The folder of the run `key` in the folder `results`.
    pub(crate) fn of(results: &Path, key: &str) -> Self {
        Self { path: results.join("runs").join(key) }
    }

    /// The run folder at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that receives the standard error of the run.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Makes the folder with the configuration in it.
    pub(crate) fn create(&self, configuration: &Configuration) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        write_whole(&self.path.join(CONFIGURATION), configuration.to_toml()?.as_bytes())
    }

    /// Prepares the folder for a run, unless another process holds its lock.
    pub(crate) fn prepare(&self, configuration: &Configuration) -> Result<()> {
        self.create(configuration)?;
        // If the lock is held, a run that an earlier command started is still writing to its files.
        let Ok(_free) = FolderLock::take(&self.path) else { return Ok(()) };
        self.clear()
    }

    /// The configuration that the folder was made with.
    pub(crate) fn configuration(&self) -> Result<Configuration> {
        let path = self.path.join(CONFIGURATION);
        let text = read_if_there(&path)?.with_context(|| {
            format!("{} is no run folder: expected a `{CONFIGURATION}` written by `reproduce`", self.path.display())
        })?;
        Configuration::from_toml(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    /// The state of the run, from its marks alone.
    ///
    /// # Errors
    /// A mark that cannot be read or parsed.
    pub(crate) fn state(&self) -> Result<RunState> {
        if let Some(text) = read_if_there(&self.path.join(DONE))? {
            let outcome = serde_json::from_str(&text)
                .with_context(|| format!("cannot parse {}", self.path.join(DONE).display()))?;
            return Ok(RunState::Done(outcome));
        }
        let failed = read_if_there(&self.path.join(FAILED))?;
        Ok(failed.map_or(RunState::Unfinished, |reason| RunState::Failed(reason.trim().to_owned())))
    }

    /// Checks that the results are complete and are those of `configuration`.
    ///
    /// # Errors
    /// A run that is marked as done, but whose results are incomplete, cannot be read, belong to another configuration, or
    /// do not match their signature. The message states the mismatch.
    pub(crate) fn verify(&self, configuration: &Configuration) -> Result<Verified> {
        let RunState::Done(outcome) = self.state()? else { return Ok(Verified::Unfinished) };
        let record = self.record()?;
        if let Some(difference) = self.configuration()?.first_difference(configuration)? {
            bail!("{} belongs to another run: {difference}", self.path.join(CONFIGURATION).display());
        }
        let at_end = |measurement: &Measurement| matches!(measurement.measuring_point, MeasuringPoint::Schedule { share } if share == 1.0);
        if !self.measurements()?.iter().any(at_end) && matches!(outcome, RunOutcome::Completed { .. }) {
            bail!("{} lacks the measurement at the end of training", self.path.join(METRICS).display());
        }
        match &record.signature {
            None => Ok(Verified::Unsigned),
            Some(signature) if *signature == self.signature(configuration, &outcome, &record)? => Ok(Verified::Signed),
            Some(signature) if *signature == self.signature_of_results(configuration, &outcome, &record.data)? => {
                Ok(Verified::Signed)
            }
            Some(_) => bail!(
                "the results in {} do not match their signature: a file was altered, or belongs to another run",
                self.path.display()
            ),
        }
    }

    /// SHA-256 of the results, of their configuration, and of the program and processor that the report names for them. The machine's
    /// name and the time are only a record.
    fn signature(&self, configuration: &Configuration, outcome: &RunOutcome, record: &RunProvenance) -> Result<String> {
        let results = self.results(configuration, outcome, &record.data)?;
        let computed_by = serde_json::to_string(&record.work.computed_by())?;
        Ok(digest([SIGNATURE.to_owned(), computed_by].into_iter().chain(results)))
    }

    /// The signature of earlier versions, without program and processor.
    fn signature_of_results(
        &self,
        configuration: &Configuration,
        outcome: &RunOutcome,
        data: &[DataFile],
    ) -> Result<String> {
        let results = self.results(configuration, outcome, data)?;
        Ok(digest(std::iter::once(SIGNATURE_OF_RESULTS.to_owned()).chain(results)))
    }

    /// What every signature covers: the configuration, the outcome, the data files and the bytes of the measurements.
    fn results(&self, configuration: &Configuration, outcome: &RunOutcome, data: &[DataFile]) -> Result<[String; 4]> {
        let metrics = read_if_there(&self.path.join(METRICS))?.unwrap_or_default();
        Ok([configuration.identity()?, serde_json::to_string(outcome)?, serde_json::to_string(data)?, metrics])
    }

    /// Removes the results of an earlier attempt and the temporary files of killed processes. The folder must be locked.
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
        remove_partial(&self.path)
    }

    /// Takes over the results of a finished run in another folder. The mark of its end is copied last.
    pub(crate) fn copy_from(&self, source: &Self, configuration: &Configuration) -> Result<()> {
        self.create(configuration)?;
        let _lock = FolderLock::take(&self.path)?;
        self.clear()?;
        for name in [METRICS, RECORD, DONE] {
            let from = source.path.join(name);
            let text = read_if_there(&from)?.with_context(|| format!("{} is missing", from.display()))?;
            write_whole(&self.path.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Appends one line to the measurements.
    pub(crate) fn append(&self, measurement: &Measurement) -> Result<()> {
        let path = self.path.join(METRICS);
        let mut line = serde_json::to_vec(measurement)?;
        line.push(b'\n');
        append_to(&path)?.write_all(&line).with_context(|| format!("cannot write {}: is there space?", path.display()))
    }

    /// All measurements, in the order in which they were taken, without a last line that was cut.
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

    /// Signs the results and marks the run as done. The mark is written last, because with it the results count.
    pub(crate) fn finish(
        &self,
        configuration: &Configuration,
        outcome: &RunOutcome,
        work: &Provenance,
        data: &[DataFile],
    ) -> Result<()> {
        let mut record = RunProvenance { work: work.clone(), data: data.to_vec(), signature: None };
        record.signature = Some(self.signature(configuration, outcome, &record)?);
        write_whole(&self.path.join(RECORD), serde_json::to_string_pretty(&record)?.as_bytes())?;
        write_whole(&self.path.join(DONE), serde_json::to_string(outcome)?.as_bytes())
    }

    /// Marks the run as failed, with the reason.
    pub(crate) fn fail(&self, reason: &str) -> Result<()> {
        write_whole(&self.path.join(FAILED), format!("{}\n", reason.trim()).as_bytes())
    }

    /// The provenance of the run, if it is done.
    pub(crate) fn record(&self) -> Result<RunProvenance> {
        let path = self.path.join(RECORD);
        let text = read_if_there(&path)?.ok_or_else(|| anyhow!("{} is missing", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))
    }
}

/// SHA-256 of texts, with the length of each, which keeps the end of one and the beginning of the next apart.
fn digest(parts: impl Iterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    support::hexadecimal(&hash.finalize())
}

/// The text of a file, if there is one. Pipes and devices are refused: reading them could block.
fn read_if_there(path: &Path) -> Result<Option<String>> {
    if fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut text = String::new();
    let read = open_input(path)?.read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::{Stopwatch, VERSION};
    use crate::study::experiment::Experiment;
    use crate::study::measurement::Measured;
    use crate::study::metric::measures;

    const COMPLETED: RunOutcome = RunOutcome::Completed { classes: 64, images: 9600, final_loss: 1.0 };

    fn measurement(step: usize, share: f64) -> Measurement {
        let values = [(measures::GC, Measured::new(0.1 + 0.2, Some(f64::NAN), 7))];
        Measurement {
            measuring_point: MeasuringPoint::Schedule { share },
            step,
            epoch: 1.5,
            train_loss: Some(0.3),
            values: values.into_iter().collect(),
            estimates: Vec::new(),
            layers: Vec::new(),
        }
    }

    fn configuration(seed: u64) -> Configuration {
        Experiment::resolve("fig4", "quick", None, None, &[]).unwrap().configuration(seed, None).unwrap()
    }

    fn folder(root: &Path, seed: u64) -> RunFolder {
        let configuration = configuration(seed);
        let folder = RunFolder::of(root, &configuration.key().unwrap());
        folder.create(&configuration).unwrap();
        assert_eq!(folder.configuration().unwrap(), configuration);
        folder
    }

    fn finish(folder: &RunFolder, seed: u64, outcome: &RunOutcome) {
        let files = [DataFile { file: "images.parquet".to_owned(), sha256: Some("ab".repeat(32)) }];
        folder.finish(&configuration(seed), outcome, &Stopwatch::start().record(1), &files).unwrap();
    }

    /// A finished run of this seed.
    fn finished(root: &Path, seed: u64) -> RunFolder {
        let folder = folder(root, seed);
        folder.append(&measurement(1, 0.5)).unwrap();
        folder.append(&measurement(2, 1.0)).unwrap();
        finish(&folder, seed, &COMPLETED);
        folder
    }

    fn mismatch(folder: &RunFolder, seed: u64) -> String {
        format!("{:#}", folder.verify(&configuration(seed)).unwrap_err())
    }

    #[test]
    fn measurements_are_read_back_to_the_bit_without_a_cut_last_line() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), 0);
        folder.append(&measurement(1, 0.5)).unwrap();
        folder.append(&measurement(2, 0.5)).unwrap();
        let path = folder.path().join(METRICS);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"measuring_point\":{\"kind\":\"sched");
        fs::write(&path, text).unwrap();
        assert_eq!(folder.measurements().unwrap(), [measurement(1, 0.5), measurement(2, 0.5)]);
        assert_eq!(folder.measurements().unwrap()[0].values[&measures::GC].standard_error, None);
    }

    #[test]
    fn a_run_is_unfinished_failed_or_done_and_can_start_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), 0);
        assert_eq!(folder.state().unwrap(), RunState::Unfinished);
        folder.fail("no space\n").unwrap();
        assert_eq!(folder.state().unwrap(), RunState::Failed("no space".to_owned()));
        folder.append(&measurement(1, 0.5)).unwrap();
        fs::write(folder.path().join(".done.77.partial"), "{").unwrap();
        folder.clear().unwrap();
        assert!(!folder.path().join(".done.77.partial").exists());
        assert_eq!(folder.state().unwrap(), RunState::Unfinished);
        assert!(folder.measurements().unwrap().is_empty());
        // A run may diverge before its first measurement.
        let outcome = RunOutcome::Diverged { classes: 64, images: 9600, step: 12 };
        finish(&folder, 0, &outcome);
        assert_eq!(folder.state().unwrap(), RunState::Done(outcome));
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Signed);
        assert_eq!(folder.record().unwrap().work.threads, 1);
    }

    #[test]
    fn results_need_the_measurement_at_the_end_and_their_record() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), 0);
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Unfinished);
        folder.append(&measurement(1, 0.5)).unwrap();
        finish(&folder, 0, &COMPLETED);
        assert!(mismatch(&folder, 0).contains("metrics.jsonl lacks the measurement at the end"));
        let folder = finished(root.path(), 1);
        fs::remove_file(folder.path().join(RECORD)).unwrap();
        assert!(mismatch(&folder, 1).contains("record.json is missing"));
    }

    #[test]
    fn every_altered_digit_of_the_results_is_a_stated_mismatch() {
        let root = tempfile::tempdir().unwrap();
        let folder = finished(root.path(), 0);
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Signed);
        for (name, from, to) in [
            (METRICS, "\"step\":1,", "\"step\":7,"),
            (METRICS, "0.30000000000000004", "0.30000000000000005"),
            (METRICS, "\n", "\n\n"),
            (DONE, "9600", "9601"),
            (DONE, "1.0", "1.5"),
            (RECORD, "abab", "abac"),
            (RECORD, "\"threads\": 1", "\"threads\": 2"),
            (RECORD, &format!("\"version\": \"{VERSION}\""), "\"version\": \"0.0.7\""),
            (RECORD, "\"candle\": \"0.", "\"candle\": \"1."),
            (RECORD, std::env::consts::ARCH, "z80"),
        ] {
            let path = folder.path().join(name);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{name}: {from} is not in {text}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let message = mismatch(&folder, 0);
            let stated = message.contains("do not match their signature") || message.contains("metrics.jsonl, line");
            assert!(stated, "{name}, {from}: {message}");
            fs::write(&path, text).unwrap();
        }
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Signed);
    }

    #[test]
    fn every_fact_of_the_program_is_signed_and_the_time_is_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = finished(root.path(), 0);
        let path = folder.path().join(RECORD);
        let text = fs::read_to_string(&path).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (name, value) in record.as_object().unwrap().iter().filter(|(name, _)| *name != "signature") {
            let mut altered = record.clone();
            altered[name] = match value {
                serde_json::Value::Number(number) => (number.as_f64().unwrap() as u64 + 1).into(),
                serde_json::Value::Array(_) => serde_json::Value::Array(Vec::new()),
                _ => "another".into(),
            };
            fs::write(&path, altered.to_string()).unwrap();
            let is_only_a_record = ["host", "started", "seconds"].contains(&name.as_str());
            assert_eq!(folder.verify(&configuration(0)).is_ok(), is_only_a_record, "{name}");
        }
    }

    #[test]
    fn signatures_of_the_results_alone_are_those_of_earlier_versions() {
        let root = tempfile::tempdir().unwrap();
        let folder = finished(root.path(), 0);
        let mut record = folder.record().unwrap();
        record.signature = Some(folder.signature_of_results(&configuration(0), &COMPLETED, &record.data).unwrap());
        let write = |record: &RunProvenance| {
            write_whole(&folder.path().join(RECORD), serde_json::to_string(record).unwrap().as_bytes()).unwrap();
        };
        write(&record);
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Signed);
        record.data.clear();
        write(&record);
        assert!(mismatch(&folder, 0).contains("do not match their signature"));
    }

    #[test]
    fn files_and_folders_of_another_run_are_a_stated_mismatch() {
        let root = tempfile::tempdir().unwrap();
        let (own, other) = (finished(root.path(), 0), finished(root.path(), 1));
        // Another value in the metrics of the other run, so that its files differ.
        other.append(&measurement(3, 0.5)).unwrap();
        finish(&other, 1, &RunOutcome::Completed { classes: 64, images: 9600, final_loss: 2.0 });
        for name in [METRICS, DONE, RECORD] {
            let bytes = fs::read(own.path().join(name)).unwrap();
            fs::copy(other.path().join(name), own.path().join(name)).unwrap();
            assert!(mismatch(&own, 0).contains("do not match their signature"), "{name}");
            fs::write(own.path().join(name), bytes).unwrap();
        }
        // The folder of another seed, complete and signed, in the place of this one.
        fs::remove_dir_all(own.path()).unwrap();
        fs::rename(other.path(), own.path()).unwrap();
        let message = mismatch(&own, 0);
        assert!(message.contains("belongs to another run: `seed` is 1, expected 0"), "{message}");
        // The same with the configuration of this run in it.
        own.create(&configuration(0)).unwrap();
        assert!(mismatch(&own, 0).contains("do not match their signature"));
    }

    #[test]
    fn results_without_a_signature_are_accepted_as_unsigned() {
        let root = tempfile::tempdir().unwrap();
        let folder = finished(root.path(), 0);
        let mut record = folder.record().unwrap();
        record.signature = None;
        write_whole(&folder.path().join(RECORD), serde_json::to_string(&record).unwrap().as_bytes()).unwrap();
        assert_eq!(folder.verify(&configuration(0)).unwrap(), Verified::Unsigned);
        assert!(mismatch(&folder, 1).contains("`seed` is 0, expected 1"));
    }

    #[test]
    fn a_run_of_another_format_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), 0);
        let path = folder.path().join(CONFIGURATION);
        let text = fs::read_to_string(&path).unwrap().replace("format = 2", "format = 3");
        fs::write(&path, text).unwrap();
        let message = format!("{:#}", folder.configuration().unwrap_err());
        assert!(message.contains("run.toml") && message.contains("format 3"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn measurements_are_not_written_through_links_or_to_devices() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), 0);
        std::os::unix::fs::symlink("/dev/null", folder.path().join(METRICS)).unwrap();
        let message = format!("{:#}", folder.append(&measurement(1, 0.5)).unwrap_err());
        assert!(message.contains("metrics.jsonl") && message.contains("regular file"), "{message}");
    }
}
