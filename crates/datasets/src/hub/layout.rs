//! The layout of a repository in the cache, as the Python client `huggingface_hub` defines it.

use std::fs;
#[cfg(feature = "hub")]
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use super::file::HubFile;
use super::file::RepositoryKind;
#[cfg(feature = "hub")]
use crate::{Error, Result, files};

/// The folder of one repository: `blobs/<checksum>`, `snapshots/<commit>/<path>` (links to blobs), `refs/<revision>`
/// (the commit of a branch or tag).
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn of(cache: &Path, kind: RepositoryKind, repository: &str) -> Self {
        Self { root: cache.join(folder_name(kind, repository)) }
    }

    /// The folder of the repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    #[cfg(feature = "hub")]
    pub(super) fn blob(&self, checksum: &str) -> PathBuf {
        self.root.join("blobs").join(checksum)
    }

    /// The file's path if it exists. The revision is the name of a branch or tag, or a commit.
    pub(super) fn find(&self, revision: &str, path: &str) -> Option<PathBuf> {
        let place = self.snapshot(revision).join(path);
        place.exists().then_some(place)
    }

    /// The folder of a revision's files.
    pub(super) fn snapshot(&self, revision: &str) -> PathBuf {
        let named = fs::read_to_string(self.root.join("refs").join(revision));
        let commit = named.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        self.root.join("snapshots").join(commit)
    }

    /// Links the blob into the commit's snapshot, and records the commit as the one that the revision names.
    #[cfg(feature = "hub")]
    pub(super) fn link(&self, file: &HubFile, commit: &str, blob: &Path) -> Result<PathBuf> {
        let place = self.root.join("snapshots").join(commit).join(&file.path);
        let folder = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        // From the file's folder up to the repository's: one step per component of the path, one for the commit and one
        // for `snapshots`, less the file name itself.
        let steps = Path::new(&file.path).components().count() + 1;
        let blob_name = blob.file_name().unwrap_or_default();
        let target: PathBuf = (0..steps).map(|_| Path::new("..")).collect::<PathBuf>().join("blobs").join(blob_name);
        place_link(&target, blob, &place).map_err(Error::io("write", &place))?;
        if file.revision != commit {
            let name = self.root.join("refs").join(&file.revision);
            files::write_cached(&name, |file| file.write_all(commit.as_bytes()))?;
        }
        Ok(place)
    }

    /// Writes the list of all files of a revision, from which missing files are recognised without the Hub.
    #[cfg(feature = "hub")]
    pub(super) fn remember(&self, revision: &str, files: &[String]) -> Result<()> {
        let text = serde_json::to_vec(files).unwrap_or_default();
        files::write_cached(&self.listing(revision), |file| file.write_all(&text))
    }

    /// The list of all files of a revision that the Hub gave last.
    pub(super) fn remembered(&self, revision: &str) -> Option<Vec<String>> {
        serde_json::from_slice(&fs::read(self.listing(revision)).ok()?).ok()
    }

    /// The file of that list, in a folder that the Python client does not use.
    fn listing(&self, revision: &str) -> PathBuf {
        self.root.join("listings").join(revision).with_added_extension("json")
    }

    /// The files of a revision that the cache has, by their paths inside the repository.
    pub(super) fn listed(&self, revision: &str) -> Vec<String> {
        let snapshot = self.snapshot(revision);
        let (mut folders, mut found) = (vec![snapshot.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.extend(path.strip_prefix(&snapshot).ok().and_then(Path::to_str).map(str::to_owned)),
                }
            }
        }
        found.sort();
        found
    }
}

pub(super) fn folder_name(kind: RepositoryKind, repository: &str) -> String {
    let kind = match kind {
        RepositoryKind::Dataset => "datasets",
        RepositoryKind::Model => "models",
    };
    format!("{kind}--{}", repository.replace('/', "--"))
}

/// Creates a link at `place`, in place of any file of that name. Where links cannot be made, the blob itself is moved there.
#[cfg(feature = "hub")]
fn place_link(target: &Path, blob: &Path, place: &Path) -> io::Result<()> {
    // Downloads hold the lock of their file, so no other process or thread uses this name. A killed one may have left it.
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let fresh = place.with_file_name(name);
    let _ = fs::remove_file(&fresh);
    match symlink(target, &fresh) {
        Ok(()) => fs::rename(&fresh, place).inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        }),
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            fs::rename(blob, place)
        }
        Err(error) => Err(error),
    }
}

#[cfg(all(unix, feature = "hub"))]
fn symlink(target: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(all(windows, feature = "hub"))]
fn symlink(target: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, place)
}

#[cfg(all(not(any(unix, windows)), feature = "hub"))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
#[cfg(feature = "hub")]
mod tests {
    use super::*;

    #[test]
    fn a_linked_file_is_found_by_branch_and_by_commit() {
        let cache = tempfile::tempdir().unwrap();
        let layout = Layout::of(cache.path(), RepositoryKind::Dataset, "owner/name");
        let blob = layout.blob("abc");
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, b"bytes").unwrap();
        let file = HubFile::dataset("owner/name", "refs/convert/parquet", "plain/deep/0.parquet");
        let place = layout.link(&file, "c0ffee", &blob).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"bytes");
        assert_eq!(layout.find("refs/convert/parquet", &file.path), Some(place.clone()));
        assert_eq!(layout.find("c0ffee", &file.path), Some(place));
        assert_eq!(layout.find("main", &file.path), None);
        assert_eq!(layout.listed("c0ffee"), ["plain/deep/0.parquet"]);
        assert_eq!(layout.remembered("refs/pr/1"), None);
        layout.remember("refs/pr/1", std::slice::from_ref(&file.path)).unwrap();
        assert_eq!(layout.remembered("refs/pr/1").unwrap(), [file.path.as_str()]);
        assert_eq!(layout.remembered("refs/pr/1.0"), None, "a full stop in a revision's name is part of the name");
        assert!(cache.path().join("datasets--owner--name/refs/refs/convert/parquet").is_file());
    }
}
