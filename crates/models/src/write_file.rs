//! Files that are written whole or not at all, with this crate's errors.

use std::path::Path;

use crate::{Error, Result};

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: support::Error| Error::Io { path: path.to_owned(), action: "writing", source: error.into() };
    support::write_file(path, bytes).map_err(failed)
}
