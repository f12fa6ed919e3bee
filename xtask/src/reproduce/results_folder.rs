//! The folder of an experiment's results: whose it is, of which format, and gone again if nothing came into it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::configuration::FORMAT;
use super::lock::{FolderLock, LOCK};
use crate::files::{writable_folder, write_whole};

/// The file that says which format the results have.
const MARK: &str = "format";

/// A results folder that this process alone works in.
#[derive(Debug)]
pub(crate) struct ResultsFolder {
    path: PathBuf,
    /// The topmost folder that had to be made.
    made: Option<PathBuf>,
    _lock: FolderLock,
}

impl ResultsFolder {
    /// Takes the folder, making it where it is missing.
    ///
    /// # Errors
    /// A folder of a newer format, one that cannot be written to, or one that another process holds.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        check_format(path)?;
        let made = path.ancestors().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()).last();
        let made = made.map(Path::to_owned);
        writable_folder(path)?;
        Ok(Self { path: path.to_owned(), made, _lock: FolderLock::take(path)? })
    }

    /// Marks the folder as one of this program's results; from here on it stays.
    pub(crate) fn settle(&self) -> Result<()> {
        write_whole(&self.path.join(MARK), format!("{FORMAT}\n").as_bytes())
    }

    /// Gives the folder up, and takes away what this process made of it.
    pub(crate) fn abandon(self) {
        let Some(made) = &self.made else { return };
        // What else came into it meanwhile is not ours: a folder that is not empty stays, and nobody need hear of it.
        let _ = fs::remove_file(self.path.join(LOCK));
        for folder in self.path.ancestors().take_while(|folder| folder.starts_with(made)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Refuses results that a later version wrote.
pub(crate) fn check_format(path: &Path) -> Result<()> {
    let mark = path.join(MARK);
    let Ok(text) = fs::read_to_string(&mark) else { return Ok(()) };
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
    fn a_newer_format_is_refused_and_an_older_one_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let folder = ResultsFolder::open(&path).unwrap();
        folder.settle().unwrap();
        drop(folder);
        fs::write(path.join(MARK), format!("{}\n", FORMAT - 1)).unwrap();
        drop(ResultsFolder::open(&path).unwrap());
        fs::write(path.join(MARK), format!("{}\n", FORMAT + 1)).unwrap();
        let message = ResultsFolder::open(&path).unwrap_err().to_string();
        assert!(message.contains(&format!("format {}", FORMAT + 1)) && message.contains("--out"), "{message}");
    }

    #[test]
    fn what_is_abandoned_is_gone_and_what_was_there_before_stays() {
        let root = tempfile::tempdir().unwrap();
        ResultsFolder::open(&root.path().join("a/b/c")).unwrap().abandon();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        ResultsFolder::open(&old).unwrap().abandon();
        assert!(old.exists());
    }
}
