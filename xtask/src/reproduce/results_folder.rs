//! The results folder of an experiment: its lock, its format, and its removal if nothing was written into it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use support::read_text;

use crate::files::{LARGEST_TEXT, remove_partial, writable_folder, write_whole};
use crate::study::configuration::FORMAT;
use crate::study::experiment::Experiment;
use crate::study::lock::{FolderLock, LOCK};

/// The file with the format of the results.
const MARK: &str = "format";

/// The file with the name of the experiment whose results are in the folder; earlier versions wrote none.
const EXPERIMENT: &str = "experiment";

/// Where results go unless --out gives another folder.
pub(super) const RESULTS: &str = "results";

/// The folder below `root` for the results of an experiment.
pub(super) fn default_folder(experiment: &Experiment, root: &Path) -> PathBuf {
    // Addresses of data sets contain characters with a meaning in paths.
    let plain = |sign: char| sign.is_alphanumeric() || "-_.".contains(sign);
    let set: String = experiment.plan.data.set.chars().map(|sign| if plain(sign) { sign } else { '-' }).collect();
    root.join(format!("{}-{}-{set}", experiment.name, experiment.preset))
}

/// A results folder that this process has locked.
#[derive(Debug)]
pub(crate) struct ResultsFolder {
    path: PathBuf,
    /// The name of the experiment.
    experiment: String,
    /// The topmost folder that this process made.
    made: Option<PathBuf>,
    _lock: FolderLock,
}

impl ResultsFolder {
    /// Locks the folder, makes it where it is missing, and removes the temporary files of killed processes.
    ///
    /// # Errors
    /// A folder of a newer format or of another experiment, one that cannot be written to, or one that another process holds.
    pub(crate) fn open(path: &Path, experiment: &str) -> Result<Self> {
        check_format(path)?;
        check_experiment(path, experiment)?;
        let made = path.ancestors().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()).last();
        let made = made.map(Path::to_owned);
        writable_folder(path)?;
        let lock = FolderLock::take(path)?;
        remove_partial(path)?;
        Ok(Self { path: path.to_owned(), experiment: experiment.to_owned(), made, _lock: lock })
    }

    /// Writes the name of the experiment and the format into the folder, which is kept from then on.
    pub(crate) fn settle(&self) -> Result<()> {
        write_whole(&self.path.join(EXPERIMENT), format!("{}\n", self.experiment).as_bytes())?;
        write_whole(&self.path.join(MARK), format!("{FORMAT}\n").as_bytes())
    }

    /// Removes the folders that this process made, if they are empty.
    pub(crate) fn abandon(self) {
        let Some(made) = &self.made else { return };
        // A folder into which something else was written stays; that is no error.
        let _ = fs::remove_file(self.path.join(LOCK));
        for folder in self.path.ancestors().take_while(|folder| folder.starts_with(made)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Refuses a folder with the results of another experiment.
pub(crate) fn check_experiment(path: &Path, experiment: &str) -> Result<()> {
    let recorded = read_text(path.join(EXPERIMENT), LARGEST_TEXT).ok().map(|name| name.trim().to_owned());
    // Earlier versions wrote the name with the report alone.
    match recorded.or_else(|| report_of(path)) {
        Some(other) if other != experiment => bail!(
            "{} has results of the experiment `{other}`, not of `{experiment}`: give another folder with --out, or remove this one",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// The name of the experiment in the digest of a report.
fn report_of(path: &Path) -> Option<String> {
    let text = read_text(path.join("digest.json"), LARGEST_TEXT).ok()?;
    let digest: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(digest.get("name")?.as_str()?.to_owned())
}

/// Refuses results of a later version.
pub(crate) fn check_format(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        bail!("{} is not a folder: give a folder of results, or a new one, with --out", path.display());
    }
    let mark = path.join(MARK);
    let Ok(text) = read_text(&mark, LARGEST_TEXT) else { return Ok(()) };
    let format: u32 = text.trim().parse().with_context(|| {
        format!("{} does not hold the number of a format: is {} a results folder?", mark.display(), path.display())
    })?;
    if format > FORMAT {
        bail!(
            "{} has results of format {format}, and this program knows formats up to {FORMAT}; use a newer version, or give \
             another folder with --out",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_and_an_older_one_is_used() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let folder = ResultsFolder::open(&path, "fig1").unwrap();
        folder.settle().unwrap();
        drop(folder);
        fs::write(path.join(MARK), format!("{}\n", FORMAT - 1)).unwrap();
        drop(ResultsFolder::open(&path, "fig1").unwrap());
        fs::write(path.join(MARK), format!("{}\n", FORMAT + 1)).unwrap();
        let message = ResultsFolder::open(&path, "fig1").unwrap_err().to_string();
        assert!(message.contains(&format!("format {}", FORMAT + 1)) && message.contains("--out"), "{message}");
    }

    #[test]
    fn a_file_is_no_results_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "mine").unwrap();
        assert!(check_format(&path).unwrap_err().to_string().contains("not a folder"));
        assert!(ResultsFolder::open(&path, "fig1").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn results_of_another_experiment_are_refused_and_nothing_is_changed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        ResultsFolder::open(&path, "fig1").unwrap().settle().unwrap();
        drop(ResultsFolder::open(&path, "fig1").unwrap());
        let message = ResultsFolder::open(&path, "fig2").unwrap_err().to_string();
        assert!(
            message.contains("results of the experiment `fig1`, not of `fig2`") && message.contains("--out"),
            "{message}"
        );
        assert_eq!(fs::read_to_string(path.join(EXPERIMENT)).unwrap(), "fig1\n");
        // A folder of an earlier version has the name in its report alone.
        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::write(old.join("digest.json"), "{\"name\": \"fig4\"}").unwrap();
        assert!(ResultsFolder::open(&old, "vit").unwrap_err().to_string().contains("`fig4`"));
        assert_eq!(fs::read_dir(&old).unwrap().count(), 1);
        drop(ResultsFolder::open(&old, "fig4").unwrap());
    }

    #[test]
    fn abandoned_folders_are_removed_unless_they_existed_before() {
        let root = tempfile::tempdir().unwrap();
        ResultsFolder::open(&root.path().join("a/b/c"), "fig1").unwrap().abandon();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        ResultsFolder::open(&old, "fig1").unwrap().abandon();
        assert!(old.exists());
    }
}
