//! A file mapped into memory: the one place of this crate with `unsafe`.
//!
//! Reading 150 MB into memory takes longer than the second start of a run may, and every process would hold its own copy;
//! a map is there at once, and processes share it.

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
    /// Maps a whole file; none where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: the bytes must not change while the map lives. Files of decoded images are written whole under another
        // name, moved into place, and never opened for writing again by this crate; a newer version replaces the name,
        // not the bytes that are mapped; deleting leaves them too. Whoever else writes to or cuts a file in this
        // crate's own cache folder while it is in use breaks that rule, as with any other program's cache.
        #[allow(unsafe_code, reason = "mapping a file is unsafe by nature; see the module's documentation")]
        let map = unsafe { Mmap::map(&file)? };
        let range = 0..map.len();
        Ok(Some(Self { map, range }))
    }

    /// The same map, of which only `range` shows; nothing where that is not inside.
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
