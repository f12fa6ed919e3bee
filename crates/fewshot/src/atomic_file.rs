//! Files that are written completely or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// A temporary file beside its target, which `commit` renames to the target. Dropping it before that deletes it.
pub(crate) struct AtomicFile {
    target: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl AtomicFile {
    pub(crate) fn create(target: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = target.with_file_name(format!(".{name}.{}.{count}.partial", std::process::id()));
        let file = File::create(&partial).map_err(Error::io(&partial))?;
        Ok(Self { target: target.to_owned(), partial, writer: Some(BufWriter::new(file)) })
    }

    /// Renames the file to its target.
    pub(crate) fn commit(mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let file = writer.into_inner().map_err(|error| Error::io(&self.partial)(error.into_error()))?;
            file.sync_all().map_err(Error::io(&self.partial))?;
        }
        fs::rename(&self.partial, &self.target).map_err(Error::io(&self.target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.as_mut().map_or(Ok(bytes.len()), |writer| writer.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the temporary file no longer exists, and the error is ignored.
        let _ = fs::remove_file(&self.partial);
    }
}
