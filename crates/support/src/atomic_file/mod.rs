//! Files that are written as a whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, FileKind, Result};

/// Writes `bytes` to a file, as a whole or not at all.
///
/// **Conventions** as for [`AtomicFile`].
///
/// **Errors** as for [`AtomicFile::create`] and [`AtomicFile::commit`].
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.txt");
/// support::write_file(&path, b"one")?;
/// support::write_file(&path, b"two")?;
/// assert_eq!(std::fs::read(&path)?, b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// Writes a file with `fill`, as a whole or not at all; where `fill` fails the target is unchanged.
///
/// **Conventions** as for [`AtomicFile`].
///
/// **Errors** [`Error::Io`] with the error of `fill`; otherwise as for [`AtomicFile::create`] and [`AtomicFile::commit`].
///
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("table.csv");
/// support::write_file_with(&path, |file| (0..3).try_for_each(|row| writeln!(file, "{row}")))?;
/// assert_eq!(std::fs::read(&path)?, b"0\n1\n2\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file_with(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut AtomicFile) -> std::io::Result<()>,
) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file).map_err(Error::io("write", &file.path))?;
    file.commit()
}

/// A buffered writer whose target appears, or changes, only by [`AtomicFile::commit`].
///
/// **Conventions**
/// - The bytes go to a temporary file in the folder of the target. `commit` flushes the file to the disk, renames it to
///   the target and flushes the folder. A writer that is dropped before removes its temporary file.
/// - A symbolic link to a regular file is followed: the file that it names is replaced, and the link stays.
/// - An existing target keeps its permissions; a new one has those of [`File::create`] (`0o666` less the umask).
/// - The target is examined once, by `create`. A file that another process puts in its place afterwards is replaced.
///
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("log.txt");
/// let mut file = support::AtomicFile::create(&path)?;
/// file.write_all(b"line\n")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, b"line\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    /// The path that the caller gave, for error messages.
    path: PathBuf,
    /// The path that is replaced: `path`, or the file that it links to.
    target: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Opens a temporary file beside the target.
    ///
    /// **Errors** [`Error::NotARegularFile`] where the target is a folder, a device, a pipe, a socket or a broken link;
    /// [`Error::NoFileName`]; [`Error::Io`] where the folder of the target does not exist or cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let Destination { target, permissions } = Destination::of(path)?;
        let temporary = create_temporary(&target, permissions).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), target, writer: BufWriter::new(temporary) })
    }

    /// Flushes everything to the disk and renames the temporary file to the target.
    ///
    /// **Errors** [`Error::Io`]; the target is then unchanged, except where only the flush of its folder failed.
    pub fn commit(self) -> Result<()> {
        let Self { path, target, writer } = self;
        let replace = || -> std::io::Result<()> {
            let temporary = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&target).map_err(|error| error.error)?;
            sync_folder(folder_of(&target))
        };
        replace().map_err(Error::io("write", path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// The file that a write replaces.
struct Destination {
    target: PathBuf,
    /// The permissions of an existing target.
    permissions: Option<Permissions>,
}

impl Destination {
    fn of(path: &Path) -> Result<Self> {
        let refuse = |found| Err(Error::NotARegularFile { path: path.to_owned(), found });
        let link = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.is_symlink(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match path.file_name() {
                    Some(_) => Ok(Self { target: path.to_owned(), permissions: None }),
                    None => Err(Error::NoFileName { path: path.to_owned() }),
                };
            }
            Err(error) => return Err(Error::io("write", path)(error)),
        };
        let target = match link {
            false => path.to_owned(),
            true => match fs::canonicalize(path) {
                Ok(target) => target,
                Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied) => {
                    return Err(Error::io("write", path)(error));
                }
                Err(_) => return refuse(FileKind::BrokenLink),
            },
        };
        let metadata = fs::metadata(&target).map_err(Error::io("write", path))?;
        match irregular(metadata.file_type()) {
            Some(kind) => refuse(kind),
            None => Ok(Self { target, permissions: Some(metadata.permissions()) }),
        }
    }
}

/// Refuses a path at which anything but a regular file exists.
///
/// A link or a device at the place of a result would send it somewhere else. [`write_file`] follows links; call this function
/// first where it must not.
///
/// **Errors** [`Error::NotARegularFile`] for a link, a folder, a device, a pipe or a socket; [`Error::Io`].
///
/// ```
/// let folder = tempfile::tempdir()?;
/// assert!(support::refuse_irregular(folder.path()).is_err());
/// assert!(support::refuse_irregular(&folder.path().join("new.json")).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn refuse_irregular(path: &Path) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Some(FileKind::Link),
        Ok(metadata) => irregular(metadata.file_type()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("write", path)(error)),
    };
    found.map_or(Ok(()), |found| Err(Error::NotARegularFile { path: path.to_owned(), found }))
}

/// The kind of anything that is not a regular file.
pub(crate) fn irregular(kind: fs::FileType) -> Option<FileKind> {
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some(FileKind::Folder);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        for (is, found) in [
            (kind.is_char_device(), FileKind::CharacterDevice),
            (kind.is_block_device(), FileKind::BlockDevice),
            (kind.is_fifo(), FileKind::Fifo),
            (kind.is_socket(), FileKind::Socket),
        ] {
            if is {
                return Some(found);
            }
        }
    }
    Some(FileKind::Other)
}

fn create_temporary(target: &Path, permissions: Option<Permissions>) -> std::io::Result<NamedTempFile> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    // The mode of `File::create`: the umask of the process is applied when the file is opened.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(folder_of(target))?;
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions)?;
    }
    Ok(temporary)
}

/// The folder of a path; the current one for a bare file name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Flushes the entry of a renamed file to the disk, where the file system can.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot flush a folder and return an error of this kind.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Other systems than Unix cannot open a folder.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
