//! Input files that must be regular files, and output files that are written completely or not at all.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use crate::{Error, Result};

/// Opens an input file. Pipes, sockets and devices are refused before they are opened, since reading them could block or
/// never end.
///
/// **Errors** [`Error::NotRegularFile`], [`Error::Io`].
pub(crate) fn open_input(path: &Path) -> Result<File> {
    let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
    match metadata.is_file() {
        true => File::open(path).map_err(Error::io("open", path)),
        false => Err(not_regular(path, &metadata)),
    }
}

/// Whether an input file exists. A folder of this name is no file.
///
/// **Errors** [`Error::NotRegularFile`] for pipes, sockets and devices.
pub(crate) fn is_input(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(metadata) if !metadata.is_dir() => Err(not_regular(path, &metadata)),
        _ => Ok(false),
    }
}

/// The bytes of an input file.
///
/// **Errors** [`Error::NotRegularFile`], [`Error::Io`].
#[cfg(feature = "image")]
pub(crate) fn read_input(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    open_input(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

fn not_regular(path: &Path, metadata: &fs::Metadata) -> Error {
    Error::NotRegularFile { path: path.to_owned(), found: kind(metadata.file_type()).to_string() }
}

fn kind(kind: fs::FileType) -> support::FileKind {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if kind.is_fifo() {
            return support::FileKind::Fifo;
        }
        if kind.is_socket() {
            return support::FileKind::Socket;
        }
        if kind.is_char_device() {
            return support::FileKind::CharacterDevice;
        }
        if kind.is_block_device() {
            return support::FileKind::BlockDevice;
        }
    }
    if kind.is_dir() { support::FileKind::Folder } else { support::FileKind::Other }
}

/// The SHA-256 of an input file, as hexadecimal digits.
///
/// **Errors** [`Error::NotRegularFile`], [`Error::Io`].
pub(crate) fn sha256(path: &Path) -> Result<String> {
    open_input(path)?;
    support::sha256_of_file(path).map_err(Error::file)
}

/// Writes a file of a cache with `fill`, completely or not at all. Missing folders are created. A link of this name is
/// replaced and not followed.
pub(crate) fn write_cached(
    path: &Path,
    fill: impl FnOnce(&mut support::AtomicFile) -> std::io::Result<()>,
) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    support::write_file_with(path, fill).map_err(Error::file)
}

/// A partial file that was not written to for this long belongs to a process that was killed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Removes the partial files (`*.part`, `*.partial`) in the folder of a just written file that killed processes left there.
pub(crate) fn remove_stale_parts(written: &Path) {
    let changed = |path: &Path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (Some(folder), Some(now)) = (written.parent(), changed(written)) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_part = path.extension().is_some_and(|extension| extension == "part" || extension == "partial");
        let age = changed(&path).and_then(|then| now.duration_since(then).ok());
        if is_part && age.is_some_and(|age| age > STALE) {
            // A file that cannot be removed only takes up space.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_no_file() {
        use std::io::Write;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        let failed = write_cached(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        assert!(matches!(failed, Err(Error::Io { action: "write", .. })));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        write_cached(&path, |file| file.write_all(b"whole")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_a_cache_is_replaced_and_its_target_stays() {
        use std::io::Write;

        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("mine"), folder.path().join("cached"));
        fs::write(&target, b"mine").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        write_cached(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!((fs::read(&target).unwrap(), fs::read(&path).unwrap()), (b"mine".to_vec(), b"new".to_vec()));
    }

    #[test]
    fn only_partial_files_that_are_a_day_old_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, hours: u64| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            let time = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(hours * 3600);
            file.set_modified(time).unwrap();
            path
        };
        let (old, new, other) = (file("a.1.part", 25), file(".b.2.partial", 23), file("c.images", 1000));
        remove_stale_parts(&file("d.images", 0));
        assert_eq!([old.exists(), new.exists(), other.exists()], [false, true, true]);
        remove_stale_parts(&folder.path().join("none/none"));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_devices_and_folders_are_refused_by_name_and_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.png");
        // Opening a pipe that nobody writes to would block.
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (&socket, "a socket"),
            (Path::new("/dev/zero"), "a character device"),
            (folder.path(), "a folder"),
        ] {
            let failed = open_input(path).unwrap_err();
            assert!(matches!(&failed, Error::NotRegularFile { found, .. } if found == kind), "{failed}");
            assert!(failed.to_string().contains(&path.display().to_string()), "{failed}");
            assert_eq!(is_input(path).ok(), (kind == "a folder").then_some(false), "{path:?}");
            assert!(sha256(path).is_err(), "{path:?}");
        }
        assert!(matches!(is_input(&folder.path().join("none")), Ok(false)));
    }
}
