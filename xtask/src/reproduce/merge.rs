//! `--merge`: finished runs are copied from other results folders of the same experiment, such as those of slices.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::results_folder::{check_experiment, check_format};
use crate::output::{note, note_error, say};
use crate::study::frozen;
use crate::study::store::{RunFolder, Verified};
use crate::study::sweep::PlannedRun;
use crate::usage::usage;

/// Refuses folders without results, and results of a later version or of another experiment.
pub(super) fn check(sources: &[PathBuf], experiment: &str) -> Result<()> {
    for source in sources {
        check_format(source)?;
        check_experiment(source, experiment)?;
        if !source.join("runs").is_dir() {
            return Err(usage(anyhow::anyhow!(
                "--merge {}: expected a results folder of `reproduce`, but it has no folder `runs`",
                source.display()
            )));
        }
    }
    Ok(())
}

/// Copies every planned run that is finished in one of the folders and not yet in `folder`. Runs whose results do not pass
/// their check are named on standard error and not copied.
pub(super) fn merge(sources: &[PathBuf], planned: &[PlannedRun], folder: &Path, experiment: &str) -> Result<()> {
    for source in sources {
        if let Some(warning) = frozen::compare(source, experiment).warning() {
            note!("{}: the experiment file: {warning}", source.display());
        }
        let mut copied = 0;
        for run in planned {
            let (from, to) = (RunFolder::of(source, &run.key), RunFolder::of(folder, &run.key));
            if to.verify(&run.configuration).is_ok_and(Verified::is_done) {
                continue;
            }
            match from.verify(&run.configuration) {
                Ok(Verified::Signed | Verified::Unsigned) => {
                    to.copy_from(&from, &run.configuration)?;
                    if !to.verify(&run.configuration)?.is_done() {
                        bail!("{} was not copied as a whole", from.path().display());
                    }
                    copied += 1;
                }
                Ok(Verified::Unfinished) => {}
                Err(mismatch) => note_error!("not merged {}: {mismatch:#}", run.description()),
            }
        }
        say!("{copied} finished runs copied from {}", source.display());
    }
    Ok(())
}
