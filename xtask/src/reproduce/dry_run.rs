//! What an experiment would do: its runs, and their time and memory as a pilot of a few steps foretells them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Args;
use super::configuration::Configuration;
use super::experiment::Experiment;
use super::run::Pilot;
use super::store::{RunFolder, State};
use super::sweep::{self, PlannedRun};
use crate::record::duration;

/// A pilot that takes longer than this foretells nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lists the runs and what they would take; the seconds, where a pilot could tell.
pub(super) fn dry_run(args: &Args, experiment: &Experiment, folder: &Path) -> Result<Option<f64>> {
    super::results_folder::check_format(folder)?;
    let planned = sweep::runs(experiment)?;
    println!("{} runs in {}", planned.len(), folder.display());
    for run in &planned {
        println!("  {}  {:<44} {:<9} {}", run.key, run.description(), word(run, folder), places(experiment, run));
    }
    let left: Vec<&PlannedRun> = planned.iter().filter(|run| word(run, folder) != FINISHED).collect();
    match foretell(args, &left) {
        Ok(estimate) => {
            println!("{}", estimate.told());
            Ok(Some(estimate.seconds()))
        }
        Err(error) => {
            println!("time and memory are not known: {error:#}");
            Ok(None)
        }
    }
}

const FINISHED: &str = "finished";

fn word(run: &PlannedRun, folder: &Path) -> &'static str {
    let at = RunFolder::of(folder, &run.key);
    match (at.is_whole(), at.state()) {
        (Ok(true), _) => FINISHED,
        (Err(_), _) | (_, Err(_)) => "unreadable, to be tried again",
        (_, Ok(State::Failed(_))) => "failed, to be tried again",
        (_, Ok(State::Unfinished | State::Done(_))) => "to do",
    }
}

fn places(experiment: &Experiment, run: &PlannedRun) -> String {
    let labels: Vec<&str> =
        run.places.iter().map(|place| experiment.plan.sweeps[&place.sweep].label.as_str()).collect();
    if labels.is_empty() { String::new() } else { format!("in the sweep of {}", labels.join(", ")) }
}

/// What the runs would take.
struct Estimate {
    runs: usize,
    /// Process time of all runs and of the longest.
    total: f64,
    longest: f64,
    jobs: usize,
    /// Peak memory of one process, where the system tells it.
    peak: Option<u64>,
}

impl Estimate {
    /// Seconds until the last run ends: no less than the longest run, and no less than an even division.
    fn seconds(&self) -> f64 {
        (self.total / self.jobs as f64).max(self.longest)
    }

    fn told(&self) -> String {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let memory = self.peak.map_or_else(String::new, |peak| {
            let (one, all) = (mebibytes(peak), mebibytes(peak) * self.jobs as f64);
            format!(", {one:.0} MiB of memory each, {all:.0} MiB in all")
        });
        format!("{} runs left: about {}, {} at a time{memory}", self.runs, duration(self.seconds()), self.jobs)
    }
}

fn foretell(args: &Args, runs: &[&PlannedRun]) -> Result<Estimate> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).min(runs.len().max(1));
    let threads = (args.threads.unwrap_or(cores) / jobs).max(1);
    let mut pilots: BTreeMap<String, Pilot> = BTreeMap::new();
    let (mut total, mut longest, mut peak) = (0.0, 0.0, None);
    for run in runs {
        let alike = alike(&run.configuration)?;
        if !pilots.contains_key(&alike) {
            pilots.insert(alike.clone(), pilot(args, run, threads)?);
        }
        let pilot = &pilots[&alike];
        let seconds = pilot.seconds(&run.configuration);
        (total, longest, peak) = (total + seconds, f64::max(longest, seconds), peak.max(pilot.peak_bytes));
    }
    Ok(Estimate { runs: runs.len(), total, longest, jobs, peak })
}

/// The configuration without what does not change how long a step takes.
fn alike(configuration: &Configuration) -> Result<String> {
    let mut alike = configuration.clone();
    alike.seed = 0;
    (alike.train.learning_rate, alike.train.l2, alike.train.momentum) = (1.0, 0.0, 0.0);
    alike.train.gc_penalty = f64::from(u8::from(alike.train.gc_penalty > 0.0));
    alike.to_toml()
}

/// Runs a pilot as a process of its own, so that its memory can be told, in a folder that goes with it.
fn pilot(args: &Args, run: &PlannedRun, threads: usize) -> Result<Pilot> {
    let folder = std::env::temp_dir().join(format!("reproduce-pilot-{}-{}", std::process::id(), run.key));
    let piloted = RunFolder::at(&folder).create(&run.configuration).and_then(|()| watched(args, &folder, threads));
    // A folder of the system's for passing things: if it cannot be removed now, the system removes it.
    let _ = std::fs::remove_dir_all(&folder);
    piloted
}

fn watched(args: &Args, folder: &Path, threads: usize) -> Result<Pilot> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let mut command = Command::new(program);
    command.args(["run", "--pilot", "--threads", &threads.to_string()]).arg(folder);
    if let Some(data_dir) = &args.data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    // A dry run fetches nothing.
    command.env("HF_HUB_OFFLINE", "1").env("RAYON_NUM_THREADS", threads.to_string());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        if since.elapsed() > PATIENCE {
            child.kill().and_then(|()| child.wait())?;
            bail!("a pilot of a few steps took more than {}", duration(PATIENCE.as_secs_f64()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{}", words.trim().trim_start_matches("error: "));
    }
    serde_json::from_slice(&output.stdout).context("a pilot ended without its figures")
}
