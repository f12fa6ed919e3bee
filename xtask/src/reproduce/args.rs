//! Arguments of `reproduce`.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use models::DeviceName;

use super::engine::EngineKind;
use super::run;
use super::slice::Slice;
use crate::arguments::{data_set, experiment, preset, up_to};
use crate::data;
use crate::study::experiment::Experiment;
use crate::usage::usage;

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which experiment: a name from --list, `all` of them, or the path of a .toml file
    #[arg(default_value = "fig4", value_parser = experiment(), hide_possible_values = true)]
    pub(super) experiment: String,
    /// How large: quick (minutes), cpu (real data, hours on two cores), paper-lite (one GPU), paper (full size)
    #[arg(long, default_value = "quick", value_parser = preset(), hide_possible_values = true)]
    pub(super) preset: String,
    /// Which data set, instead of the preset's
    #[arg(long, value_name = "NAME", value_parser = data_set(), hide_possible_values = true)]
    pub(super) data: Option<String>,
    /// Folder that holds the data set, instead of the Hub and its cache
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) data_dir: Option<PathBuf>,
    /// Where networks are trained and measured: cpu, cuda:N or metal, if this program was built with it
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Option<DeviceName>,
    /// Override one setting, such as train.epochs=5 or "sweeps.l2.values=[0, 1e-3]"; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Which seeds, such as 0,1,2
    #[arg(long, alias = "seeds", value_delimiter = ',', value_name = "SEEDS", value_parser = crate::arguments::seed, allow_negative_numbers = true)]
    pub(super) seed: Option<Vec<u64>>,
    /// Where results go [default: results/EXPERIMENT-PRESET-DATA; of `all`, a folder for each in results]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) out: Option<PathBuf>,
    /// Do one of every N runs, such as 2/6 for the second of six slices; --merge combines their folders
    #[arg(long, value_name = "I/N")]
    pub(super) slice: Option<Slice>,
    /// Results folder whose finished runs are copied first, such as that of a slice; may be repeated
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) merge: Vec<PathBuf>,
    /// Where the runs are done
    #[arg(long, value_enum, default_value_t = EngineKind::Local)]
    pub(super) engine: EngineKind,
    /// Option for sbatch, such as --sbatch=--partition=gpu; may be repeated
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub(super) sbatch: Vec<String>,
    /// Runs at once [default: the processor's threads; with slurm, as many as it allows]
    #[arg(long, value_name = "N", value_parser = up_to::<4_096>)]
    pub(super) jobs: Option<usize>,
    /// Threads in all, divided among the jobs [default: the processor's threads; with slurm, of each task, 1]
    #[arg(long, value_name = "N", value_parser = up_to::<4_096>)]
    pub(super) threads: Option<usize>,
    /// Write event files for TensorBoard too
    #[arg(long)]
    pub(super) tensorboard: bool,
    /// List the experiments and their presets, and do nothing
    #[arg(long)]
    pub(super) list: bool,
    /// List the runs with their time and memory, estimated by a pilot of a few steps, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do nothing but write the runs that are left into this file, one command a line, for xargs, GNU parallel or any scheduler;
    /// when they have ended, the same command without --plan makes the report
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "dry_run", "jobs", "sbatch", "tensorboard"])]
    pub(super) plan: Option<PathBuf>,
}

impl Args {
    /// The experiment `name` with all arguments applied and checked.
    ///
    /// # Errors
    /// Those of the experiment file, and of the command line where the file alone has none; a device that this program or
    /// machine does not have.
    pub(super) fn resolve(&self, name: &str) -> Result<Experiment> {
        let sets_seeds = |setting: &String| setting.split('=').next().is_some_and(|key| key.trim() == "seeds");
        if self.seed.is_some() && self.set.iter().any(sets_seeds) {
            return Err(usage(anyhow!("--seed and --set seeds=… both say which seeds; give one of them")));
        }
        let device = self.device.map(|device| format!("train.device={device}"));
        let settings: Vec<String> = self.set.iter().cloned().chain(device).collect();
        let resolved = Experiment::resolve(name, &self.preset, self.data.as_deref(), self.seed.as_deref(), &settings);
        let experiment = resolved.and_then(|experiment| self.checked(experiment)).map_err(|error| {
            let file_alone =
                || Experiment::resolve(name, &self.preset, None, None, &[]).and_then(|own| self.checked(own));
            if file_alone().is_ok() { usage(error) } else { error }
        })?;
        if self.engine == EngineKind::Local {
            experiment.plan.train.device.open()?;
        }
        Ok(experiment)
    }

    fn checked(&self, experiment: Experiment) -> Result<Experiment> {
        data::check(&experiment.plan.data.set, self.data_dir.as_ref(), experiment.plan.task)?;
        run::check_models(&experiment)?;
        Ok(experiment)
    }
}
