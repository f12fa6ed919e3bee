//! One run: the only room that calls the crates that train and measure.

mod diary;
mod estimating;
mod images;
mod measuring;
mod network;
mod pilot;
mod saving;
mod training;

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::lock::FolderLock;
use super::measurement::Outcome;
use super::store::{RunFolder, State};
use crate::record::Stopwatch;
use images::Images;
use training::Training;

pub(crate) use network::check_model;
pub(crate) use pilot::Pilot;

/// Exit code of a run that could not write because the disk, or what the user may have of it, is full.
pub(crate) const NO_SPACE: i32 = 4;

/// Exit code of a run whose parent has gone.
const ORPHANED: i32 = 3;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's folder
    folder: PathBuf,
    /// End as soon as standard input is closed, and report progress on standard output
    #[arg(long)]
    attached: bool,
    /// Take a few steps, print what they took, and leave the folder as it is
    #[arg(long)]
    pilot: bool,
    /// Threads to use
    #[arg(long, default_value_t = 1, value_parser = super::at_least_one)]
    threads: usize,
    /// Folder that holds the data set
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Save a checkpoint after every so many steps, instead of every 15 seconds
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
}

/// Brings the run in its folder to its end, from its last checkpoint if it was killed; a run that is done is left as it is.
///
/// # Errors
/// Whatever kept it from its end, which then stands in its folder too.
pub(crate) fn run_folder(args: &Args) -> Result<()> {
    let Args { attached, threads, .. } = *args;
    let folder = RunFolder::at(&args.folder);
    let configuration = folder.configuration()?;
    if args.pilot {
        threaded(threads)?;
        println!("{}", serde_json::to_string(&Pilot::of(&configuration, args.data_dir.as_deref())?)?);
        return Ok(());
    }
    let _lock = FolderLock::take(folder.path())?;
    if matches!(folder.state()?, State::Done(_)) {
        return Ok(());
    }
    if attached {
        end_with_parent();
    }
    threaded(threads)?;
    folder.clear()?;
    let watch = Stopwatch::start();
    let worked = (|| {
        let images = Images::load(&configuration, args.data_dir.as_deref())?;
        let ways = (attached, args.checkpoint_every);
        let (outcome, seconds) = Training::new(&configuration, &images, &folder, ways)?.run()?;
        Ok::<_, anyhow::Error>((outcome, seconds, images.files))
    })();
    match worked {
        Ok((outcome, seconds, files)) => {
            // What killed processes did up to their last checkpoint counts; reading the data again does too.
            let mut record = watch.record(threads);
            record.seconds = record.seconds.max((seconds * 1e3).round() / 1e3);
            folder.finish(&outcome, &record, &files)?;
            if !attached {
                println!("{}", told(&outcome));
            }
            Ok(())
        }
        Err(error) if no_space(&error) => {
            // Neither the folder nor the log may take this; whoever started the run learns it from the exit code.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            std::process::exit(NO_SPACE)
        }
        Err(error) => {
            folder.fail(&format!("{error:#}"))?;
            bail!("{error:#}")
        }
    }
}

/// Whether the system had no room for what was written. Told from the text: errors of other crates carry the system's
/// words, but not always its error.
pub(crate) fn no_space(error: &anyhow::Error) -> bool {
    // ENOSPC, EDQUOT and EFBIG.
    let text = format!("{error:#}");
    ["(os error 28)", "(os error 122)", "(os error 27)"].iter().any(|code| text.contains(code))
}

/// The main thread is one of the threads: it need not be woken after every kernel, of which a small network has thousands a
/// second. Nothing else here works with them.
fn threaded(threads: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
    pool.build_global().context("cannot start the threads")
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed { final_loss, .. } => format!("done, training loss {final_loss:.4}"),
        Outcome::Diverged { step, .. } => format!("diverged at step {step}"),
    }
}

/// Ends this process as soon as its standard input is closed: that is how a run notices that whoever started it is
/// gone, even if it was killed and could tell nobody.
fn end_with_parent() {
    std::thread::spawn(|| {
        // An error on the pipe means the same as its end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(ORPHANED);
    });
}
