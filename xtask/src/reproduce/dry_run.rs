//! `--dry-run`: the runs of an experiment, with their time and memory estimated by pilots of a few steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::args::Args;
use super::run::Pilot;
use crate::output::say;
use crate::program::{Program, start};
use crate::provenance::duration;
use crate::study::configuration::Configuration;
use crate::study::experiment::Experiment;
use crate::study::store::{RunFolder, RunState, Verified};
use crate::study::sweep::{self, PlannedRun};
use crate::study::train::LearningRateSchedule;

/// Time after which a pilot is stopped.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Lists the runs with their estimated time and memory; returns the seconds, if the pilots succeeded.
pub(super) fn dry_run(args: &Args, program: &Program, experiment: &Experiment, folder: &Path) -> Result<Option<f64>> {
    super::results_folder::check_format(folder)?;
    super::results_folder::check_experiment(folder, &experiment.name)?;
    let planned = sweep::runs(experiment)?;
    let planned = args.slice.map_or_else(|| planned.clone(), |slice| slice.of(&planned));
    say!("{} runs in {}", planned.len(), folder.display());
    for run in &planned {
        say!("  {}  {:<44} {:<9} {}", run.key, run.description(), state(run, folder), sweep_labels(experiment, run));
    }
    let left: Vec<&PlannedRun> =
        planned.iter().filter(|run| ![FINISHED, UNSIGNED].contains(&state(run, folder))).collect();
    match estimate(args, program, &left) {
        Ok(estimate) => {
            say!("{}", estimate.described());
            Ok(Some(estimate.seconds()))
        }
        Err(error) => {
            say!("time and memory are not known: {error:#}");
            Ok(None)
        }
    }
}

const FINISHED: &str = "finished";
const UNSIGNED: &str = "finished, unsigned";

fn state(run: &PlannedRun, folder: &Path) -> &'static str {
    let at = RunFolder::of(folder, &run.key);
    match (at.verify(&run.configuration), at.state()) {
        (Ok(Verified::Signed), _) => FINISHED,
        (Ok(Verified::Unsigned), _) => UNSIGNED,
        (Err(_), _) | (_, Err(_)) => "unusable, to be done again",
        (_, Ok(RunState::Failed(_))) => "failed, to be tried again",
        (_, Ok(RunState::Unfinished | RunState::Done(_))) => "to do",
    }
}

fn sweep_labels(experiment: &Experiment, run: &PlannedRun) -> String {
    let labels: Vec<&str> =
        run.positions.iter().map(|position| experiment.plan.sweeps[&position.sweep].label.as_str()).collect();
    if labels.is_empty() { String::new() } else { format!("in the sweep of {}", labels.join(", ")) }
}

/// Estimated time and memory of the runs.
struct Estimate {
    runs: usize,
    /// Seconds of process time of all runs, and of the longest.
    total: f64,
    longest: f64,
    jobs: usize,
    /// Peak memory of one process in bytes, if the system reports it.
    peak: Option<u64>,
}

impl Estimate {
    /// Seconds until the last run ends: the longest run or an even division among the jobs, whichever is longer.
    fn seconds(&self) -> f64 {
        (self.total / self.jobs as f64).max(self.longest)
    }

    fn described(&self) -> String {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let memory = self.peak.map_or_else(String::new, |peak| {
            let (one, all) = (mebibytes(peak), mebibytes(peak) * self.jobs as f64);
            format!(", {one:.0} MiB of memory each, {all:.0} MiB in all")
        });
        format!("{} runs left: about {}, {} at a time{memory}", self.runs, duration(self.seconds()), self.jobs)
    }
}

fn estimate(args: &Args, program: &Program, runs: &[&PlannedRun]) -> Result<Estimate> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).min(runs.len().max(1));
    let threads = (args.threads.unwrap_or(cores) / jobs).max(1);
    let mut pilots: BTreeMap<String, Pilot> = BTreeMap::new();
    let (mut total, mut longest, mut peak) = (0.0, 0.0, None);
    for run in runs {
        let alike = alike(&run.configuration)?;
        if !pilots.contains_key(&alike) {
            pilots.insert(alike.clone(), pilot(args, program, run, threads)?);
        }
        let pilot = &pilots[&alike];
        let seconds = pilot.seconds(&run.configuration);
        (total, longest, peak) = (total + seconds, f64::max(longest, seconds), peak.max(pilot.peak_bytes));
    }
    Ok(Estimate { runs: runs.len(), total, longest, jobs, peak })
}

/// The configuration without the settings that do not change the time of a step.
fn alike(configuration: &Configuration) -> Result<String> {
    let mut alike = configuration.clone();
    alike.seed = 0;
    (alike.train.learning_rate, alike.train.l2, alike.train.momentum) = (1.0, 0.0, 0.0);
    alike.train.schedule = LearningRateSchedule::default();
    alike.train.gc_penalty = f64::from(u8::from(alike.train.gc_penalty > 0.0));
    alike.to_toml()
}

/// Runs a pilot in its own process, so that its memory can be measured, and in a temporary folder.
fn pilot(args: &Args, program: &Program, run: &PlannedRun, threads: usize) -> Result<Pilot> {
    let folder = std::env::temp_dir().join(format!("reproduce-pilot-{}-{}", std::process::id(), run.key));
    let piloted =
        RunFolder::at(&folder).create(&run.configuration).and_then(|()| watched(args, program, &folder, threads));
    // If the folder cannot be removed now, the system removes it with its other temporary folders.
    let _ = std::fs::remove_dir_all(&folder);
    piloted
}

fn watched(args: &Args, program: &Program, folder: &Path, threads: usize) -> Result<Pilot> {
    let mut command = start(&program.words()?)?;
    command.args(["run", "--pilot", "--attached", "--threads", &threads.to_string()]).arg(folder);
    if let Some(data_dir) = &args.data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    // A dry run fetches nothing.
    command.env("HF_HUB_OFFLINE", "1").env("RAYON_NUM_THREADS", threads.to_string());
    // The standard input stays open until the pilot has ended: it ends with this process.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        if since.elapsed() > TIME_LIMIT {
            child.kill().and_then(|()| child.wait())?;
            bail!("a pilot of a few steps took more than {}", duration(TIME_LIMIT.as_secs_f64()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.trim().trim_start_matches("error: "));
    }
    serde_json::from_slice(&output.stdout).context("a pilot ended without a result")
}
