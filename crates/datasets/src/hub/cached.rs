//! A file of the cache: finding, checking and removing it.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{HubFile, is_sha256};
use super::layout::Layout;
use super::settings::Hub;
use crate::{Error, Result, files};

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: PathBuf,
    /// The SHA-256 that the Hub gave; none for small files.
    pub(crate) sha256: Option<String>,
    /// The folder of the repository in the cache. Nothing outside it is ever removed.
    root: PathBuf,
}

impl Cached {
    pub(super) fn new(path: PathBuf, sha256: Option<String>, layout: &Layout) -> Self {
        Self { path, sha256, root: layout.root().to_owned() }
    }

    /// The file if the cache has it, without checking its bytes.
    pub(super) fn find(hub: &Hub, file: &HubFile) -> Option<Self> {
        let layout = Layout::of(&hub.cache, file.kind, &file.repository);
        let path = layout.find(&file.revision, &file.path)?;
        let blob = fs::canonicalize(&path).ok()?;
        let name = blob.file_name()?.to_str()?;
        let sha256 = is_sha256(name).then(|| name.to_owned());
        Some(Self::new(path, sha256, &layout))
    }

    /// Whether the bytes match the checksum, where there is one.
    pub(super) fn is_whole(&self) -> Result<bool> {
        match &self.sha256 {
            Some(expected) => Ok(files::sha256(&self.path)? == *expected),
            None => Ok(true),
        }
    }

    /// Removes the file and gives the error with the reason.
    pub(super) fn corrupt(&self) -> Result<Error> {
        let got = files::sha256(&self.path)?;
        self.remove();
        let expected = self.sha256.clone().unwrap_or_default();
        Ok(Error::Corrupt { what: self.path.display().to_string(), expected, got })
    }

    /// Removes the link to the file, the blob that it points to, and the folders that are empty afterwards.
    ///
    /// A blob outside the repository's folder stays: the link to it was not made by a Hub client.
    pub(super) fn remove(&self) {
        let root = fs::canonicalize(&self.root);
        let inside = |path: &PathBuf| root.as_ref().is_ok_and(|root| path.starts_with(root));
        let blob = fs::canonicalize(&self.path).ok().filter(inside);
        for path in blob.iter().chain([&self.path]) {
            // A file that is already gone needs no removal.
            let _ = fs::remove_file(path);
        }
        remove_empty_folders(self.path.parent(), &self.root);
    }
}

/// Removes empty folders from `folder` upwards, at most up to and including `root`.
pub(super) fn remove_empty_folders(folder: Option<&Path>, root: &Path) {
    let mut folder = folder;
    while let Some(empty) = folder.filter(|folder| folder.starts_with(root) && fs::remove_dir(folder).is_ok()) {
        folder = empty.parent();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// A cache whose file of `owner/name` is a link to `target`, and the file's name.
    fn linked(cache: &Path, target: &Path) -> HubFile {
        let file = HubFile::dataset("owner/name", "c0ffee", "a/b.bin");
        let place = cache.join("datasets--owner--name/snapshots/c0ffee/a/b.bin");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, &place).unwrap();
        file
    }

    #[test]
    fn a_link_out_of_the_cache_is_removed_and_its_target_stays() {
        let (parent, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = parent.path().join("deep/cache");
        // The name of a checksum that the bytes do not have, so that the file counts as corrupt.
        let target = outside.path().join("0".repeat(64));
        fs::write(&target, b"mine").unwrap();
        let file = linked(&cache, &target);
        let hub = Hub { offline: true, ..Hub::new("", &cache) };
        let failed = hub.file(&file);
        assert!(matches!(failed, Err(Error::Corrupt { .. })), "{failed:?}");
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        assert_eq!(Cached::find(&hub, &file), None, "the link is gone");
        assert!(cache.is_dir(), "empty folders are removed inside the repository's folder only");
    }

    #[test]
    fn a_corrupt_blob_inside_the_cache_is_removed_also_where_the_cache_is_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("real/datasets--owner--name/blobs").join("0".repeat(64));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, b"rotten").unwrap();
        let cache = folder.path().join("cache");
        std::os::unix::fs::symlink(folder.path().join("real"), &cache).unwrap();
        let file = linked(&cache, &blob);
        let failed = Hub { offline: true, ..Hub::new("", &cache) }.file(&file);
        assert!(matches!(failed, Err(Error::Corrupt { .. })), "{failed:?}");
        assert!(!blob.exists());
    }
}
