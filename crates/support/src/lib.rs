#![doc = include_str!("../README.md")]

mod atomic_file;
mod checksum;
mod error;
mod mutation;
mod names;

pub use atomic_file::{AtomicFile, write_file, write_file_with};
pub use checksum::{hexadecimal, sha256, sha256_of_file};
pub use error::{Error, FileKind, Result};
pub use mutation::damaged;
pub use names::{most_similar_names, nearest_names};
