//! The local engine: a child process for each run, a limited number at a time, with the threads divided among them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use support::refuse_irregular;

use super::{Engine, EngineEnd, Event, Job, failed};
use crate::program::start;
use crate::reproduce::child::{NO_SPACE, RunProgress, is_no_space};
use crate::study::store::RunState;

/// Time between two looks at the stop flag.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Characters of a crashed child's log that its error repeats.
const LOG_TAIL: usize = 400;

/// Executes runs as child processes.
pub(crate) struct Local {
    /// The words that start this program, with its command `run FOLDER`.
    pub(crate) program: Vec<OsString>,
    /// Runs at a time.
    pub(crate) jobs: usize,
    /// Threads of all runs together.
    pub(crate) threads: usize,
    /// Folder that holds the data set, instead of the Hub and its cache.
    pub(crate) data_dir: Option<PathBuf>,
    /// Set by an interrupt.
    pub(crate) stop: &'static AtomicBool,
}

/// A message from the thread that reads a child's output.
enum ChildMessage {
    Advanced(usize, RunProgress),
    /// The child closed its output: it has ended or is ending.
    Closed(usize),
}

impl Engine for Local {
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<EngineEnd> {
        let (sender, messages) = channel();
        let mut children: Vec<(usize, Child)> = Vec::new();
        let ended = self.work(jobs, watch, &sender, &messages, &mut children);
        // Children are left only after an interrupt or an error of the engine.
        for (_, child) in &mut children {
            // Killing a child that has just ended is an error that needs no report.
            let _ = child.kill();
            let _ = child.wait();
        }
        ended
    }
}

impl Local {
    fn work(
        &self,
        jobs: &[Job],
        watch: &mut dyn FnMut(Event),
        sender: &Sender<ChildMessage>,
        messages: &Receiver<ChildMessage>,
        children: &mut Vec<(usize, Child)>,
    ) -> Result<EngineEnd> {
        let mut waiting = 0..jobs.len();
        let mut full = false;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(EngineEnd::Stopped);
            }
            while children.len() < self.jobs.max(1) && !full {
                let Some(index) = waiting.next() else { break };
                watch(Event::Started(index));
                match self.start(index, &jobs[index], sender) {
                    Ok(child) => children.push((index, child)),
                    Err(error) => {
                        full |= is_no_space(&error);
                        watch(Event::Ended(index, failed(&jobs[index], &format!("{error:#}"))));
                    }
                }
            }
            if children.is_empty() && full {
                return Ok(EngineEnd::NoSpace);
            }
            if children.is_empty() && waiting.is_empty() {
                return Ok(EngineEnd::Exhausted);
            }
            match messages.recv_timeout(HEARTBEAT) {
                Ok(ChildMessage::Advanced(index, advance)) => watch(Event::Advanced(index, advance)),
                Ok(ChildMessage::Closed(index)) => {
                    let Some(at) = children.iter().position(|(owner, _)| *owner == index) else { continue };
                    let (_, mut child) = children.swap_remove(at);
                    let status = child.wait().context("cannot wait for a run")?;
                    if self.stop.load(Ordering::SeqCst) {
                        return Ok(EngineEnd::Stopped);
                    }
                    full |= status.code() == Some(NO_SPACE.into());
                    watch(Event::Ended(index, ended(&jobs[index], status)));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn start(&self, index: usize, job: &Job, sender: &Sender<ChildMessage>) -> Result<Child> {
        let threads = (self.threads / self.jobs.max(1)).max(1).to_string();
        let log = job.folder.log();
        refuse_irregular(&log)?;
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = start(&self.program)?;
        command.args(["run", "--attached", "--threads", &threads]).arg(job.folder.path());
        if let Some(data_dir) = &self.data_dir {
            command.arg("--data-dir").arg(data_dir);
        }
        command.env("RAYON_NUM_THREADS", &threads).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // A terminal sends Ctrl-C to its whole foreground group. In a group of its own, a child is stopped by this process
        // alone. The standard input stays open as long as this process: a child ends when it is closed.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program[0].display()))?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("the standard output of a run is not a pipe"))?;
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(advance) = serde_json::from_str(&line) {
                    // The receiver is gone only when the engine has ended and kills its children.
                    let _ = sender.send(ChildMessage::Advanced(index, advance));
                }
            }
            let _ = sender.send(ChildMessage::Closed(index));
        });
        Ok(child)
    }
}

/// The state of a run whose process ended.
fn ended(job: &Job, status: ExitStatus) -> RunState {
    match job.folder.state() {
        Ok(RunState::Unfinished) if status.code() == Some(NO_SPACE.into()) => {
            RunState::Failed("there was no space for what it wrote".to_owned())
        }
        Ok(RunState::Unfinished) => {
            let tail = log_tail(job);
            failed(job, &format!("its process ended early ({status}){}{tail}", hint(status)))
        }
        Ok(state) => state,
        Err(error) => failed(job, &format!("{error:#}")),
    }
}

fn hint(status: ExitStatus) -> &'static str {
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) {
        return "; the system kills processes when memory runs out: give fewer --jobs";
    }
    let _ = status;
    ""
}

fn log_tail(job: &Job) -> String {
    let text = std::fs::read_to_string(job.folder.log()).unwrap_or_default();
    let text = text.trim();
    let start = text.char_indices().rev().nth(LOG_TAIL).map_or(0, |(at, _)| at);
    if text.is_empty() { String::new() } else { format!("; the end of its log: {}", text[start..].trim()) }
}
