//! Calls of Slurm's commands, and parsers of their output.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// The reason why Slurm cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// A command of Slurm does not exist on this machine.
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// A command of Slurm failed.
    Refused {
        /// Its name.
        program: &'static str,
        /// Its message.
        message: String,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(
                out,
                "the engine `slurm` needs the command `{program}`, which is not on this machine; run this on a login node \
                 of the cluster, or use --engine local"
            ),
            Self::Refused { program, message } => write!(out, "`{program}` failed: {message}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// One task of a job array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId {
    /// Number of the array's job.
    pub(crate) array: String,
    /// Index in the array.
    pub(crate) index: usize,
}

impl fmt::Display for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}_{}", self.array, self.index)
    }
}

/// The status of a task in Slurm's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskStatus {
    /// Its state, such as `PENDING`.
    pub(crate) state: String,
    /// The reason of the state.
    pub(crate) reason: String,
    /// Exit code of its process, if that ended by itself and not with 0.
    pub(crate) exit_code: Option<i32>,
}

impl TaskStatus {
    /// Whether it is running.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.state.as_str(), "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT")
    }

    /// Whether it is running or waiting.
    pub(crate) fn unfinished(&self) -> bool {
        let waits =
            ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"];
        self.runs() || waits.contains(&self.state.as_str()) || self.state == "RESIZING"
    }
}

/// Refuses a machine without Slurm's commands.
pub(crate) fn check() -> Result<(), Unavailable> {
    for program in ["sbatch", "squeue", "scancel"] {
        match Command::new(program).arg("--version").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Unavailable::Missing { program }),
            // Any other error is reported when the command is used.
            _ => {}
        }
    }
    Ok(())
}

/// Submits a script; returns the number of its job.
pub(super) fn sbatch<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let output = succeeded("sbatch", call("sbatch", arguments)?)?;
    // The output is `number` or `number;cluster`.
    let number = output.trim().split(';').next().unwrap_or_default().to_owned();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("expected the number of a job, found `{}`", output.trim());
        return Err(Unavailable::Refused { program: "sbatch", message }.into());
    }
    Ok(number)
}

/// The status of the tasks of these arrays. Slurm removes tasks from the queue some minutes after their end.
pub(super) fn queue(arrays: &BTreeSet<&str>) -> Result<BTreeMap<TaskId, TaskStatus>> {
    let mut queue = BTreeMap::new();
    // One query per array: an array that is no longer in the queue makes the whole query fail.
    for array in arrays {
        let jobs = format!("--jobs={array}");
        let format = "--Format=JobArrayID:64,RunState:32,exit_code:16,Reason:64";
        let output = call("squeue", ["--noheader", "--array", "--states=all", &jobs, format])?;
        if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("Invalid job id") {
            continue;
        }
        queue.extend(succeeded("squeue", output)?.lines().filter_map(task));
    }
    Ok(queue)
}

/// One line of `squeue`: the task, its state, its exit code and the reason.
fn task(line: &str) -> Option<(TaskId, TaskStatus)> {
    let mut words = line.split_whitespace();
    let (array, index) = words.next()?.split_once('_')?;
    let id = TaskId { array: array.to_owned(), index: index.parse().ok()? };
    let state = words.next()?.to_owned();
    let exit_code = exit_code(words.next()?);
    let reason = words.collect::<Vec<_>>().join(" ");
    Some((id, TaskStatus { state, reason, exit_code }))
}

/// The exit code in `code:signal`, or in a status of `wait`. None for a process that a signal ended, and for 0, which a
/// process that has not ended shows too.
fn exit_code(text: &str) -> Option<i32> {
    let code = match text.split_once(':') {
        Some((code, _)) => code.parse().ok()?,
        None => text.parse::<i32>().ok()? >> 8,
    };
    Some(code).filter(|code| *code != 0)
}

/// Cancels tasks, waiting or running.
pub(super) fn cancel(tasks: &[&TaskId]) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tasks.iter().map(ToString::to_string).collect();
    succeeded("scancel", call("scancel", ["--quiet".to_owned()].into_iter().chain(names))?)?;
    Ok(())
}

/// Why a task ended without a result: from the queue, or else from Slurm's accounting, where there is one.
pub(super) fn why(task: &TaskId, status: Option<&TaskStatus>) -> String {
    if let Some(status) = status {
        return format!("ended as {} ({}) without a result", status.state, status.reason);
    }
    let name = task.to_string();
    let accounts = call("sacct", ["--noheader", "--parsable2", "--allocations", "--format=RunState", "--jobs", &name]);
    let state = accounts.ok().filter(|output| output.status.success());
    let state = state.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if state.is_empty() {
        "is no longer in Slurm's queue and has no result".to_owned()
    } else {
        format!("ended as {state} without a result")
    }
}

fn call<S: AsRef<OsStr>>(program: &'static str, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Unavailable::Missing { program }.into()),
        Err(error) => Err(error).with_context(|| format!("cannot run `{program}`")),
    }
}

fn succeeded(program: &'static str, output: Output) -> Result<String, Unavailable> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Unavailable::Refused { program, message: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_queue_are_parsed() {
        let (id, status) = task("12_3      PENDING     0      Resources ").unwrap();
        assert_eq!((id.to_string().as_str(), status.unfinished(), status.runs()), ("12_3", true, false));
        assert_eq!(status.exit_code, None);
        let (_, ended) = task("12_4  FAILED  1024  NonZeroExitCode").unwrap();
        assert_eq!((exit_code("4:0"), exit_code("9"), exit_code("0:9")), (Some(4), None, None));
        assert_eq!((ended.unfinished(), ended.exit_code), (false, Some(4)));
        assert_eq!(why(&id, Some(&ended)), "ended as FAILED (NonZeroExitCode) without a result");
        assert!(task("slurm_load_jobs error").is_none() && task("").is_none());
    }

    #[test]
    fn a_missing_command_is_named_with_what_to_do() {
        let message = Unavailable::Missing { program: "sbatch" }.to_string();
        assert!(message.contains("`sbatch`") && message.contains("--engine local"), "{message}");
    }
}
