//! This machine's processes: a child for each run, so many at once, the threads divided among them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::{Advance, End, Engine, Event, Job, failed};
use crate::reproduce::run::{NO_SPACE, no_space};
use crate::reproduce::store::State;

/// How often a wish to stop is looked for.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How much of a crashed child's last words is repeated.
const LAST_WORDS: usize = 400;

/// Runs as child processes of this one.
pub(crate) struct Local {
    /// The program that understands `run FOLDER`.
    pub(crate) program: PathBuf,
    /// Runs at once.
    pub(crate) jobs: usize,
    /// Threads in all.
    pub(crate) threads: usize,
    /// Folder that holds the data set, instead of the Hub and its cache.
    pub(crate) data_dir: Option<PathBuf>,
    /// Set by whoever wants the work to stop.
    pub(crate) stop: &'static AtomicBool,
}

/// What the reader of a child's output passes on.
enum Word {
    Advanced(usize, Advance),
    /// The child closed its output: it has ended or is about to.
    Closed(usize),
}

impl Engine for Local {
    fn execute(&self, jobs: &[Job], watch: &mut dyn FnMut(Event)) -> Result<End> {
        let (sender, words) = channel();
        let mut children: Vec<(usize, Child)> = Vec::new();
        let ended = self.work(jobs, watch, &sender, &words, &mut children);
        // On every way out: a stop, an error of the engine, or nothing left.
        for (_, child) in &mut children {
            // A child that has ended in the meantime cannot be killed, and need not be.
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
        sender: &Sender<Word>,
        words: &Receiver<Word>,
        children: &mut Vec<(usize, Child)>,
    ) -> Result<End> {
        let mut waiting = 0..jobs.len();
        let mut full = false;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(End::Stopped);
            }
            while children.len() < self.jobs.max(1) && !full {
                let Some(index) = waiting.next() else { break };
                watch(Event::Started(index));
                match self.start(index, &jobs[index], sender) {
                    Ok(child) => children.push((index, child)),
                    Err(error) => {
                        full |= no_space(&error);
                        watch(Event::Ended(index, failed(&jobs[index], &format!("{error:#}"))));
                    }
                }
            }
            if children.is_empty() && full {
                return Ok(End::NoSpace);
            }
            if children.is_empty() && waiting.is_empty() {
                return Ok(End::Exhausted);
            }
            match words.recv_timeout(HEARTBEAT) {
                Ok(Word::Advanced(index, advance)) => watch(Event::Advanced(index, advance)),
                Ok(Word::Closed(index)) => {
                    let Some(at) = children.iter().position(|(owner, _)| *owner == index) else { continue };
                    let (_, mut child) = children.swap_remove(at);
                    let status = child.wait().context("cannot wait for a run")?;
                    if self.stop.load(Ordering::SeqCst) {
                        return Ok(End::Stopped);
                    }
                    full |= status.code() == Some(NO_SPACE);
                    watch(Event::Ended(index, verdict(&jobs[index], status)));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn start(&self, index: usize, job: &Job, sender: &Sender<Word>) -> Result<Child> {
        let threads = (self.threads / self.jobs.max(1)).max(1).to_string();
        let log =
            File::create(job.folder.log()).with_context(|| format!("cannot write {}", job.folder.log().display()))?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--attached", "--threads", &threads]).arg(job.folder.path());
        if let Some(data_dir) = &self.data_dir {
            command.arg("--data-dir").arg(data_dir);
        }
        command.env("RAYON_NUM_THREADS", &threads).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C in the terminal goes to the whole foreground group; the children are stopped by this process alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("a run started without its output"))?;
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(advance) = serde_json::from_str(&line) {
                    // The receiver outlives every child unless the engine has already given up on all of them.
                    let _ = sender.send(Word::Advanced(index, advance));
                }
            }
            let _ = sender.send(Word::Closed(index));
        });
        Ok(child)
    }
}

/// What became of a run whose process ended.
fn verdict(job: &Job, status: ExitStatus) -> State {
    match job.folder.state() {
        Ok(State::Unfinished) if status.code() == Some(NO_SPACE) => {
            State::Failed("there was no space for what it wrote".to_owned())
        }
        Ok(State::Unfinished) => {
            let words = last_words(job);
            failed(job, &format!("its process ended early ({status}){}{words}", hint(status)))
        }
        Ok(state) => state,
        Err(error) => failed(job, &format!("{error:#}")),
    }
}

fn hint(status: ExitStatus) -> &'static str {
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) {
        return "; the system does this when memory runs out, fewer --jobs need less";
    }
    let _ = status;
    ""
}

fn last_words(job: &Job) -> String {
    let text = std::fs::read_to_string(job.folder.log()).unwrap_or_default();
    let text = text.trim();
    let start = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
    if text.is_empty() { String::new() } else { format!("; its last words: {}", text[start..].trim()) }
}
