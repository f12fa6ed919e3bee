//! Files that are written whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Writes beside the target, flushes to the disk, then moves into place.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path);
    let written =
        write_and_sync(&part, bytes).and_then(|()| std::fs::rename(&part, path)).and_then(|()| sync_folder(path));
    written.map_err(|source| {
        // The half-written file is of no use to anyone; that it may not exist is no further error.
        let _ = std::fs::remove_file(&part);
        Error::Io { path: path.to_owned(), action: "writing", source }
    })
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the entry of a file that was moved into place; only Unix can do so, and others do not need it.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    PathBuf::from(name)
}
