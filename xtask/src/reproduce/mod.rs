//! `reproduce`: an experiment becomes a list of runs, an engine brings them to their end, a report reads what they left.

mod all;
pub(crate) mod configuration;
mod dry_run;
mod engine;
pub(crate) mod estimator;
pub(crate) mod experiment;
mod lock;
pub(crate) mod measurement;
pub(crate) mod metric;
mod plan;
mod results_folder;
mod run;
mod settings;
pub(crate) mod store;
pub(crate) mod sweep;
mod work;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use models::DeviceName;

use crate::{Ending, data, report};
use experiment::Experiment;

pub(crate) use run::{Args as RunArgs, run_folder};

/// Set when somebody wants the work to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Where results go unless another folder is given.
const RESULTS: &str = "results";

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which experiment: a name from --list, `all` of them, or the path of a .toml file
    #[arg(default_value = "fig4")]
    experiment: String,
    /// How large: quick (minutes), cpu (real data, up to an hour on two cores), paper (full size)
    #[arg(long, default_value = "quick")]
    preset: String,
    /// Which data set, instead of the preset's
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Folder that holds the data set, instead of the Hub and its cache
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where networks are trained and measured: cpu, cuda:N or metal, if this program was built with it
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceName>,
    /// Override one setting, such as train.epochs=5 or "sweeps.l2.values=[0, 1e-3]"; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Which seeds, such as 0,1,2
    #[arg(long, alias = "seeds", value_delimiter = ',', value_name = "SEEDS")]
    seed: Option<Vec<u64>>,
    /// Where results go [default: results/EXPERIMENT-PRESET-DATA; of `all`, a folder for each in results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the runs are done
    #[arg(long, value_enum, default_value_t = engine::Kind::Local)]
    engine: engine::Kind,
    /// Option for sbatch, such as --sbatch=--partition=gpu; may be repeated
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// Runs at once [default: the processor's threads; with slurm, as many as it likes]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Threads in all, divided among the jobs [default: the processor's threads; with slurm, of each task, 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    threads: Option<usize>,
    /// Write event files for TensorBoard too
    #[arg(long)]
    tensorboard: bool,
    /// List the experiments and their presets, and do nothing
    #[arg(long)]
    list: bool,
    /// List the runs with their time and memory as a pilot of a few steps foretells them, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Reads a count that may not be zero.
pub(crate) fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Runs the command.
pub(crate) fn reproduce(args: &Args) -> Result<Ending> {
    if args.list {
        return list().map(|()| Ending::Complete);
    }
    if args.experiment == all::ALL {
        return all::reproduce(args);
    }
    let experiment = args.resolve(&args.experiment)?;
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&experiment, Path::new(RESULTS)));
    if args.dry_run {
        return dry_run::dry_run(args, &experiment, &folder).map(|_| Ending::Complete);
    }
    let ending = work::work(args, experiment, &folder);
    if args.out.is_none() && !matches!(ending, Ok(Ending::Interrupted)) && folder.exists() {
        let index = report::write_index(Path::new(RESULTS), &[]);
        // What kept the experiment from its end says more than what then kept the index from being written.
        return ending.and_then(|ending| index.map(|_| ending));
    }
    ending
}

impl Args {
    /// The experiment `name` with everything that the arguments say applied and checked.
    fn resolve(&self, name: &str) -> Result<Experiment> {
        let seeds = self.seed.as_deref();
        let device = self.device.map(|device| format!("train.device={device}"));
        let settings: Vec<String> = self.set.iter().cloned().chain(device).collect();
        let experiment = Experiment::resolve(name, &self.preset, self.data.as_deref(), seeds, &settings)?;
        data::check(&experiment.plan.data.set, self.data_dir.as_ref(), experiment.plan.task)?;
        run::check_model(&experiment.plan.model)?;
        if matches!(self.engine, engine::Kind::Local) {
            experiment.plan.train.device.open()?;
        }
        Ok(experiment)
    }
}

/// The folder among `root` where an experiment's results go unless another is given.
fn default_folder(experiment: &Experiment, root: &Path) -> PathBuf {
    // Addresses of data sets have signs in them that mean something in a path.
    let plain = |sign: char| sign.is_alphanumeric() || "-_.".contains(sign);
    let set: String = experiment.plan.data.set.chars().map(|sign| if plain(sign) { sign } else { '-' }).collect();
    root.join(format!("{}-{}-{set}", experiment.name, experiment.preset))
}

fn list() -> Result<()> {
    for name in Experiment::names() {
        for preset in Experiment::presets(name)? {
            let experiment = Experiment::resolve(name, &preset, None, None, &[])?;
            let (plan, runs) = (&experiment.plan, sweep::runs(&experiment)?.len());
            println!("{name:<19} {preset:<6} {:<13} {runs:>3} runs  {}: {}", plan.data.set, plan.figure, plan.title);
        }
    }
    Ok(())
}
