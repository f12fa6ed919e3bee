#![doc = include_str!("../README.md")]

mod atomic_file;
mod checksum;
mod error;
mod input;
mod names;

pub use atomic_file::{AtomicFile, refuse_irregular, write_file, write_file_with};
pub use checksum::{hexadecimal, sha256, sha256_of_file};
pub use error::{Error, FileKind, Result};
pub use input::{open_input, read_text};
pub use names::{most_similar_names, nearest_names};
