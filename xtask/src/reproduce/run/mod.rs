//! One run: the only module that calls the crates that train and measure.

#[cfg(test)]
mod added_measure;
mod estimating;
mod images;
mod measuring;
mod network;
mod pilot;
mod saving;
mod training;
mod training_log;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::child::{end_with_parent, is_no_space};
use crate::Ending;
use crate::address_space::fitting_threads;
use crate::arguments::at_least_one;
use crate::output::{note_error, say};
use crate::provenance::Stopwatch;
use crate::study::lock::FolderLock;
use crate::study::measurement::RunOutcome;
use crate::study::store::RunFolder;
use images::Images;
use training::{Training, TrainingOptions};

pub(crate) use network::check_models;
pub(crate) use pilot::Pilot;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's folder
    folder: PathBuf,
    /// End as soon as standard input is closed, and report progress on standard output
    #[arg(long)]
    attached: bool,
    /// Take a few steps, print their time and memory, and leave the folder as it is
    #[arg(long)]
    pilot: bool,
    /// Threads to use
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Folder that holds the data set
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Save a checkpoint every N steps, instead of every 15 seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
}

/// Executes the run in a folder, from its last checkpoint if it was killed. Results that pass their check are left as they
/// are.
///
/// # Errors
/// Any error of the run, which is then written into its folder too.
pub(crate) fn run_folder(args: &Args) -> Result<Ending> {
    let Args { attached, .. } = *args;
    let threads = fitting_threads(args.threads)?;
    let folder = RunFolder::at(&args.folder);
    let configuration = folder.configuration()?;
    if attached {
        end_with_parent();
    }
    if args.pilot {
        start_threads(threads)?;
        say!("{}", serde_json::to_string(&Pilot::of(&configuration, args.data_dir.as_deref())?)?);
        return Ok(Ending::Complete);
    }
    let _lock = FolderLock::take(folder.path())?;
    match folder.verify(&configuration) {
        Ok(verified) if verified.is_done() => return Ok(Ending::Complete),
        Ok(_) => {}
        Err(mismatch) => note_error!("done again: {mismatch:#}"),
    }
    start_threads(threads)?;
    folder.clear()?;
    let watch = Stopwatch::start();
    let worked = (|| {
        let images = Images::load(&configuration, args.data_dir.as_deref())?;
        let options = TrainingOptions { attached, checkpoint_every: args.checkpoint_every };
        let (outcome, seconds) = Training::new(&configuration, &images, &folder, options)?.run()?;
        Ok::<_, anyhow::Error>((outcome, seconds, images.files))
    })();
    match worked {
        Ok((outcome, seconds, files)) => {
            // The work of killed processes up to their last checkpoint counts, and so does reading the data again.
            let mut record = watch.record(threads);
            record.seconds = record.seconds.max((seconds * 1e3).round() / 1e3);
            folder.finish(&configuration, &outcome, &record, &files)?;
            if !attached {
                say!("{}", described(&outcome));
            }
            Ok(Ending::Complete)
        }
        Err(error) if is_no_space(&error) => {
            // Neither the folder nor the log may have space for the error: the exit code reports it.
            note_error!("error: {error:#}");
            Ok(Ending::NoSpace)
        }
        Err(error) => {
            folder.fail(&format!("{error:#}"))?;
            bail!("{error:#}")
        }
    }
}

/// Starts the threads. The main thread is one of them, so it need not be woken after every kernel, of which a small network
/// has thousands a second.
fn start_threads(threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
    pool.build_global().context("cannot start the threads")
}

fn described(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::Completed { final_loss, .. } => format!("done, training loss {final_loss:.4}"),
        RunOutcome::Diverged { step, .. } => format!("diverged at step {step}"),
    }
}
