//! Job arrays: the script of their tasks, and the run of each task.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Slurm;
use super::commands::{self, TaskId, TaskStatus};
use crate::files::{append_to, write_whole};
use crate::reproduce::engine::Job;
use crate::shell::quoted;

/// Most tasks of one array: below the default of `MaxArraySize`, 1001.
const LARGEST: usize = 1000;

/// The job arrays of a results folder, recorded in its folder `slurm`.
pub(super) struct Submission {
    folder: PathBuf,
}

/// One array: a line of `arrays.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Array {
    /// Number of its job.
    job: String,
    /// The run folders of its tasks, in their order.
    runs: Vec<PathBuf>,
}

impl Submission {
    /// The job arrays of a results folder.
    pub(super) fn open(slurm: &Slurm) -> Result<Self> {
        let folder = slurm.results.join("slurm");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The jobs that an earlier watcher submitted and whose tasks have not ended, by index.
    pub(super) fn unfinished(&self, jobs: &[Job]) -> Result<Vec<(usize, TaskId)>> {
        let arrays = self.arrays()?;
        let numbers: BTreeSet<&str> = arrays.iter().map(|array| array.job.as_str()).collect();
        let queue = commands::queue(&numbers)?;
        let mut unfinished = Vec::new();
        for (task, _) in queue.iter().filter(|(_, status)| TaskStatus::unfinished(status)) {
            let array = arrays.iter().rev().find(|array| array.job == task.array);
            let Some(run) = array.and_then(|array| array.runs.get(task.index)) else { continue };
            unfinished.extend(jobs.iter().position(|job| job.folder.path() == run).map(|index| (index, task.clone())));
        }
        Ok(unfinished)
    }

    /// Submits the jobs with these indices; returns the task of each.
    pub(super) fn submit(&self, slurm: &Slurm, jobs: &[Job], indices: &[usize]) -> Result<Vec<(usize, TaskId)>> {
        let mut tasks = Vec::new();
        for part in indices.chunks(LARGEST) {
            let runs: Vec<PathBuf> = part.iter().map(|index| jobs[*index].folder.path().to_owned()).collect();
            let array = Array { job: self.array(slurm, &runs)?, runs };
            let own = part.iter().enumerate();
            tasks.extend(own.map(|(at, index)| (*index, TaskId { array: array.job.clone(), index: at })));
            self.remember(&array)?;
        }
        Ok(tasks)
    }

    /// Cancels tasks.
    pub(super) fn cancel<'a>(&self, tasks: impl Iterator<Item = &'a TaskId>) -> Result<()> {
        commands::cancel(&tasks.collect::<Vec<_>>())
    }

    fn array(&self, slurm: &Slurm, runs: &[PathBuf]) -> Result<String> {
        let number = self.arrays()?.len();
        let (list, script) = (self.folder.join(format!("{number}.runs")), self.folder.join(format!("{number}.sh")));
        let lines: String = runs.iter().map(|run| format!("{}\n", run.display())).collect();
        write_whole(&list, lines.as_bytes())?;
        write_whole(&script, task_script(slurm, &list).as_bytes())?;
        let limit = slurm.jobs.map_or_else(String::new, |jobs| format!("%{jobs}"));
        let mut arguments = vec![
            "--parsable".to_owned(),
            "--job-name=reproduce".to_owned(),
            format!("--array=0-{}{limit}", runs.len().saturating_sub(1)),
            format!("--cpus-per-task={}", slurm.threads),
            format!("--output={}", self.folder.join("%A_%a.txt").display()),
        ];
        arguments.extend(slurm.options.iter().cloned());
        arguments.push(script.display().to_string());
        commands::sbatch(&arguments)
    }

    fn list(&self) -> PathBuf {
        self.folder.join("arrays.jsonl")
    }

    fn remember(&self, array: &Array) -> Result<()> {
        let mut line = serde_json::to_vec(array)?;
        line.push(b'\n');
        append_to(&self.list())?
            .write_all(&line)
            .with_context(|| format!("cannot write {}: is there space?", self.list().display()))
    }

    /// Every array of the results folder, without lines that were cut.
    fn arrays(&self) -> Result<Vec<Array>> {
        match fs::read_to_string(self.list()) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.list().display())),
        }
    }
}

/// The script of every task: the same command that the local engine starts.
fn task_script(slurm: &Slurm, list: &Path) -> String {
    let program: Vec<String> = slurm.program.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    let data_dir = slurm.data_dir.as_ref().map_or_else(String::new, |folder| format!(" --data-dir {}", path(folder)));
    format!(
        "#!/bin/sh\n\
         # Written by `reproduce`: each task of the array executes one run.\n\
         run=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {})\n\
         export RAYON_NUM_THREADS={threads}\n\
         exec {} run --threads {threads}{data_dir} \"$run\" >\"$run/log.txt\" 2>&1\n",
        path(list),
        program.join(" "),
        threads = slurm.threads,
    )
}

/// A path as one quoted word of a shell.
fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}
