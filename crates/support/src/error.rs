//! Errors of reading and writing files.

use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The errors of reading and writing a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// The operation, as a verb (`read`, `write`).
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason that the system gives. The message contains it, so it is not the error's `source` as well.
        reason: std::io::Error,
    },
    /// The target of a write exists and is not a regular file.
    #[error("cannot write {}: it is {found}, expected a regular file or no file; give another path", path.display())]
    NotARegularFile {
        /// The target.
        path: PathBuf,
        /// What exists at the path.
        found: FileKind,
    },
    /// A file to be read is not a regular file.
    #[error("cannot read {}: it is {found}, expected a regular file; copy its contents into one first", path.display())]
    NotAnInputFile {
        /// The file.
        path: PathBuf,
        /// What exists at the path.
        found: FileKind,
    },
    /// A text file is larger than any file of its kind.
    #[error("cannot read {}: it has {bytes} bytes, expected at most {limit}; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The path of a write has no file name, such as an empty path.
    #[error("cannot write to `{}`: the path names no file", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
}

/// Anything that a path can name besides a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A character device, such as `/dev/full` or a terminal.
    CharacterDevice,
    /// A block device, such as a disk.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link, where none is followed.
    Link,
    /// A symbolic link whose target does not exist, or a circle of links.
    BrokenLink,
    /// A file of another kind.
    Other,
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Folder => "a folder",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Link => "a symbolic link",
            Self::BrokenLink => "a broken symbolic link",
            Self::Other => "no regular file",
        })
    }
}

impl Error {
    /// Adds the operation and the file to an I/O error.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { action, path, reason }
    }
}

/// For closures that return `io::Result`: the system's error as it is, any other as [`std::io::ErrorKind::InvalidInput`].
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { reason, .. } => reason,
            other => Self::new(std::io::ErrorKind::InvalidInput, other),
        }
    }
}
