//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Writes a file under a name of its own beside `path`, then moves it into place; a failure leaves nothing.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    create_whole(path, |file| file.write_all(bytes))
}

/// As [`write_whole`], with whatever `fill` writes.
pub(crate) fn create_whole(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let temporary = temporary(path);
    let written = File::create(&temporary).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&temporary, path));
    moved.map_err(|source| {
        // Best effort: the first failure is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path)(source)
    })
}

/// A name beside `path` that no other process or thread uses.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        let failed = create_whole(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        assert!(matches!(failed, Err(Error::Io { action: "write", .. })));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        write_whole(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
