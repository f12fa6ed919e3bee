//! A file mapped into memory. This is the only module of this crate with `unsafe`.
//!
//! Reading 150 MB into memory would dominate the start of a run, and every process would hold its own copy. A map needs no
//! reading in advance, and processes share it.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

/// Bytes of a file of decoded images.
#[derive(Debug)]
pub(crate) struct Mapped {
    map: Mmap,
    range: Range<usize>,
}

impl Mapped {
    /// Maps a whole file. None if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        // Opening a pipe would block.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: the bytes must not change while the map exists. This crate writes a file of decoded images under another
        // name, renames it, and never opens it for writing again. A newer version replaces the name and not the mapped
        // bytes, and deleting the file keeps them too. Another program that writes to or truncates a file in this crate's
        // cache folder while it is mapped violates this condition, as for any other program's cache.
        #[allow(unsafe_code, reason = "mapping a file is unsafe by nature; see the module's documentation")]
        let map = unsafe { Mmap::map(&file)? };
        let range = 0..map.len();
        Ok(Some(Self { map, range }))
    }

    /// The same map restricted to `range`; empty if the range is not inside the map.
    pub(super) fn narrowed(self, range: Range<usize>) -> Self {
        let inside = range.start <= range.end && range.end <= self.map.len();
        Self { range: if inside { range } else { 0..0 }, ..self }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.get(self.range.clone()).unwrap_or_default()
    }
}
