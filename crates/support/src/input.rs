//! Input files, which must be regular files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::atomic_file::irregular;
use crate::{Error, Result};

/// Opens a file for reading. Links are followed.
///
/// Pipes, sockets and devices are refused before they are opened: reading them could block, or never end.
///
/// **Errors** [`Error::NotAnInputFile`], [`Error::Io`].
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let refused = support::open_input(folder.path());
/// assert!(matches!(refused, Err(support::Error::NotAnInputFile { found: support::FileKind::Folder, .. })));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn open_input(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    let kind = fs::metadata(path).map_err(Error::io("read", path))?.file_type();
    match irregular(kind) {
        Some(found) => Err(Error::NotAnInputFile { path: path.to_owned(), found }),
        None => File::open(path).map_err(Error::io("read", path)),
    }
}

/// The text of a file of at most `limit` bytes, such as a configuration.
///
/// **Errors** [`Error::NotAnInputFile`], [`Error::TooLarge`], [`Error::Io`] also for text that is not UTF-8.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("net.toml");
/// std::fs::write(&path, "classes = 10")?;
/// assert_eq!(support::read_text(&path, 1 << 20)?, "classes = 10");
/// assert!(matches!(support::read_text(&path, 11), Err(support::Error::TooLarge { bytes: 12, limit: 11, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_text(path: impl AsRef<Path>, limit: u64) -> Result<String> {
    let path = path.as_ref();
    let file = open_input(path)?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    if bytes > limit {
        return Err(Error::TooLarge { path: path.to_owned(), bytes, limit });
    }
    let mut text = String::new();
    // The file may grow while it is read.
    file.take(limit).read_to_string(&mut text).map_err(Error::io("read", path))?;
    Ok(text)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::FileKind;

    #[test]
    fn pipes_and_devices_are_refused_before_they_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, kind) in [(pipe.as_path(), FileKind::Fifo), (Path::new("/dev/zero"), FileKind::CharacterDevice)] {
            let refused = read_text(path, 10);
            assert!(matches!(&refused, Err(Error::NotAnInputFile { found, .. }) if *found == kind), "{refused:?}");
        }
        let missing = read_text(folder.path().join("missing"), 10).unwrap_err().to_string();
        assert!(missing.contains("cannot read") && missing.contains("missing"), "{missing}");
        std::fs::write(folder.path().join("latin1"), b"\xe9").unwrap();
        assert!(matches!(read_text(folder.path().join("latin1"), 10), Err(Error::Io { action: "read", .. })));
        std::os::unix::fs::symlink("latin1", folder.path().join("link")).unwrap();
        assert!(open_input(folder.path().join("link")).is_ok());
    }
}
