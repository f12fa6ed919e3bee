//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Writes `bytes` to a temporary file beside `path` and renames it, so that a reader, or a crash, never meets half a file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(name) = path.file_name() else { bail!("cannot write to {}: it names no file", path.display()) };
    let temporary = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing of it may stay; that the removal may fail too adds nothing to the first reason.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("cannot write {}: is the folder writable, and is there space?", path.display()))
}

/// Creates the folder if it is missing and proves that files can be made in it.
pub(crate) fn writable_folder(folder: &Path) -> Result<()> {
    let advice = || format!("cannot write to the folder {}: give another one with --out", folder.display());
    fs::create_dir_all(folder).with_context(advice)?;
    let probe = folder.join(format!(".probe.{}", std::process::id()));
    File::create(&probe).and_then(|_| fs::remove_file(&probe)).with_context(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let message = format!("{:#}", writable_folder(&file.join("below")).unwrap_err());
        assert!(message.contains("file/below") && message.contains("--out"), "{message}");
    }
}
