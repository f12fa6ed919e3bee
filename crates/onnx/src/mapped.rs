//! A file mapped into memory. This is the only module of this crate with `unsafe`.
//!
//! A graph has several hundred MB of weights, which are converted to tensors one at a time. A map needs no copy of the file
//! beside them.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps a whole file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe would block.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = File::open(path)?;
        // SAFETY: the bytes must not change while the map exists. This program never writes to a graph that it reads. The map
        // lives while the graph is read, and not while it is evaluated. Another program that truncates the file in this time
        // ends this one, as with every reader that maps files.
        #[allow(unsafe_code, reason = "mapping a file is unsafe by nature; see the module's documentation")]
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(map))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
