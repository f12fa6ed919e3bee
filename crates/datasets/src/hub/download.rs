//! One download: resumed after cuts, repeated after failures, checked, and removed if it cannot be completed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::address::escaped;
use super::cached::{Cached, remove_empty_folders};
use super::file::{HubFile, RepositoryKind, is_sha256};
use super::layout::{Layout, folder_name};
use super::settings::{Hub, redacted};
use super::transport::{Bytes, Description, Retry, Transport};
use crate::{Error, Result, files};

/// How often a file whose bytes do not match their checksum is downloaded again.
const CORRUPT_COPIES: usize = 2;

/// The bytes of one read and write.
const BLOCK: usize = 1 << 16;

/// An attempt makes progress if it receives this many bytes or this share of the missing ones. Fewer count as none, so that
/// a server that ends every response after one byte cannot prolong a download without limit.
const PROGRESS_BYTES: u64 = 1 << 16;
const PROGRESS_SHARE: u64 = 16;

/// Downloads a file that the cache lacks, or waits until another process has done so.
pub(super) fn fetch(hub: &Hub, file: &HubFile) -> Result<Cached> {
    file.check()?;
    let _lock = lock(hub, file)?;
    if let Some(cached) = Cached::find(hub, file) {
        if cached.is_whole()? {
            return Ok(cached);
        }
        cached.remove();
        hub.progress.note(&format!("{file}: the copy in the cache does not match its SHA-256; it is downloaded again"));
    }
    let layout = Layout::of(&hub.cache, file.kind, &file.repository);
    let transport = Transport::new(hub);
    let url = url_of(hub, file);
    let mut download = Download { hub, file, url, layout, transport, fruitless: 0, corrupt: 0, part: None };
    let fetched = download.run();
    if fetched.is_err() {
        download.clear();
    }
    hub.progress.finish(&file.path);
    fetched
}

/// Waits until no other process downloads this file. The lock ends with the returned handle.
fn lock(hub: &Hub, file: &HubFile) -> Result<File> {
    let folder = hub.cache.join(".locks").join(folder_name(file.kind, &file.repository));
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let path = folder.join(format!("{}.lock", file.path.replace(['/', '\\'], "--")));
    // Never truncated: the path could be a link to a file of the user's.
    let handle = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let handle = handle.map_err(Error::io("create", &path))?;
    if let Err(fs::TryLockError::WouldBlock) = handle.try_lock() {
        hub.progress.note(&format!("another process downloads {}: waiting for it", file.path));
        handle.lock().map_err(Error::io("lock", &path))?;
    }
    Ok(handle)
}

fn url_of(hub: &Hub, file: &HubFile) -> String {
    let (revision, path) = (escaped(&file.revision, true), escaped(&file.path, false));
    // Addresses of models have no prefix.
    let kind = match file.kind {
        RepositoryKind::Dataset => "datasets/",
        RepositoryKind::Model => "",
    };
    format!("{}/{kind}{}/resolve/{revision}/{path}", hub.endpoint, file.repository)
}

struct Download<'a> {
    hub: &'a Hub,
    file: &'a HubFile,
    url: String,
    layout: Layout,
    transport: Transport<'a>,
    /// Attempts in a row without progress.
    fruitless: usize,
    /// Complete copies that did not match their checksum.
    corrupt: usize,
    /// The partial file, once the Hub has given the checksum that names it.
    part: Option<PathBuf>,
}

/// Why a copy stopped before its end.
enum Stop {
    /// A local error, which another attempt would meet again.
    Local(Error),
    /// A network error.
    Remote(Retry),
}

impl Stop {
    fn remote(reason: impl Into<String>) -> Self {
        Self::Remote(Retry::new(reason.into()))
    }
}

impl Download<'_> {
    fn run(&mut self) -> Result<Cached> {
        let described =
            self.transport.repeated(&self.url, &self.file.to_string(), || self.transport.describe(&self.url))?;
        let blob = self.layout.blob(&described.checksum);
        if is_sha256(&described.checksum) && blob.is_file() && files::sha256(&blob)? == described.checksum {
            // Another revision has the same file.
            return self.placed(&blob, &described);
        }
        let folder = blob.parent().unwrap_or(&blob);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let part = self.part.insert(blob.with_extension("part")).clone();
        self.hub.progress.start(&self.file.path, described.size.unwrap_or(0));
        loop {
            let before = length(&part);
            let failure = match self.copy(&part, described.size) {
                Ok(()) if self.sound(&part, &described)? => return self.finish(&part, &blob, &described),
                Ok(()) => continue,
                Err(Stop::Local(error)) => return Err(error),
                Err(Stop::Remote(failure)) => failure,
            };
            let reached = length(&part);
            self.fruitless = if progressed(before, reached, described.size) { 0 } else { self.fruitless + 1 };
            if self.fruitless > self.hub.retries {
                return Err(self.given_up(reached, described.size, failure.reason));
            }
            if self.fruitless > 0 {
                self.hub.progress.note(&format!("{}: {}; trying again", self.file, failure.reason));
            }
            failure.wait(self.fruitless);
        }
    }

    /// Appends the missing bytes to the partial file.
    fn copy(&self, part: &Path, size: Option<u64>) -> std::result::Result<(), Stop> {
        let local = |action| move |source| Stop::Local(Error::io(action, part)(source));
        let mut done = length(part);
        match size {
            Some(size) if done == size => return Ok(()),
            // These are not the first bytes of this file.
            Some(size) if done > size => done = 0,
            // The end of a file of unknown size shows in one uninterrupted response only.
            None => done = 0,
            Some(_) => {}
        }
        let mut out = open_part(part).map_err(local("write"))?;
        let response = self.transport.bytes(&self.url, done);
        let Bytes { mut body, resumed } =
            response.map_err(|failure| match failure.retry(&self.url, &self.file.to_string()) {
                Ok(retry) => Stop::Remote(retry),
                Err(error) => Stop::Local(error),
            })?;
        if !resumed {
            done = 0;
        }
        if length(part) != done {
            out.set_len(done).map_err(local("write"))?;
        }
        let mut block = vec![0; BLOCK];
        loop {
            let count = body.read(&mut block).map_err(|error| Stop::remote(redacted(&error.to_string())))?;
            done += count as u64;
            match size {
                Some(size) if done > size => {
                    out.set_len(0).map_err(local("write"))?;
                    return Err(Stop::remote(format!("received more bytes than the announced {size}")));
                }
                None if done > self.hub.max_unstated_size => return Err(Stop::Local(self.too_large(done))),
                _ => {}
            }
            out.write_all(&block[..count]).map_err(local("write"))?;
            self.hub.progress.at(&self.file.path, done);
            match size {
                _ if count > 0 => {}
                Some(size) if done < size => {
                    return Err(Stop::remote(format!("the connection closed after {done} of {size} bytes")));
                }
                _ => return out.sync_all().map_err(local("write")),
            }
        }
    }

    /// Whether a complete partial file matches its checksum. One that does not is removed, to be downloaded again.
    fn sound(&mut self, part: &Path, described: &Description) -> Result<bool> {
        if !is_sha256(&described.checksum) {
            return Ok(true);
        }
        let got = files::sha256(part)?;
        if got == described.checksum {
            return Ok(true);
        }
        fs::remove_file(part).map_err(Error::io("remove", part))?;
        self.corrupt += 1;
        if self.corrupt > CORRUPT_COPIES {
            return Err(Error::Corrupt { what: redacted(&self.url), expected: described.checksum.clone(), got });
        }
        let message = format!("{}: the received bytes do not match their SHA-256; downloading again", self.file);
        self.hub.progress.note(&message);
        Ok(false)
    }

    fn finish(&self, part: &Path, blob: &Path, described: &Description) -> Result<Cached> {
        fs::rename(part, blob).map_err(Error::io("write", blob))?;
        files::remove_stale_parts(blob);
        self.placed(blob, described)
    }

    fn placed(&self, blob: &Path, described: &Description) -> Result<Cached> {
        let path = self.layout.link(self.file, &described.commit, blob)?;
        let sha256 = is_sha256(&described.checksum).then(|| described.checksum.clone());
        Ok(Cached::new(path, sha256, &self.layout))
    }

    fn given_up(&self, got: u64, expected: Option<u64>, reason: String) -> Error {
        let (url, attempts) = (redacted(&self.url), self.fruitless);
        match expected {
            Some(expected) if got > 0 => Error::Truncated { url, got, expected, attempts },
            _ => Error::Network { url, attempts, reason },
        }
    }

    fn too_large(&self, wanted: u64) -> Error {
        let limit = self.hub.max_unstated_size;
        Error::TooLarge { context: redacted(&self.url), what: "a file of unstated size", wanted, limit }
    }

    /// Removes the partial file of a failed download and the folders that are empty without it.
    fn clear(&self) {
        let Some(part) = &self.part else { return };
        let _ = fs::remove_file(part);
        remove_empty_folders(part.parent(), self.layout.root());
    }
}

/// Opens the partial file for appending. Anything else than a regular file of that name, such as a link, is removed first.
fn open_part(part: &Path) -> std::io::Result<File> {
    if fs::symlink_metadata(part).is_ok_and(|metadata| !metadata.is_file()) {
        fs::remove_file(part)?;
    }
    OpenOptions::new().create(true).append(true).open(part)
}

fn length(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 })
}

fn progressed(before: u64, reached: u64, size: Option<u64>) -> bool {
    let missing = size.unwrap_or(0).saturating_sub(before);
    reached.saturating_sub(before) >= (missing / PROGRESS_SHARE).clamp(1, PROGRESS_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_of_many_are_no_progress() {
        assert!(progressed(0, 1 << 16, Some(1 << 40)) && progressed(10, 11, Some(12)) && progressed(0, 5, Some(80)));
        assert!(!progressed(0, 4, Some(80)) && !progressed(0, 1000, Some(1 << 40)) && !progressed(7, 7, Some(8)));
        assert!(!progressed(9, 3, Some(10)), "a file that begins anew");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_partial_file_is_removed_and_its_target_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (target, part) = (folder.path().join("mine"), folder.path().join("x.part"));
        fs::write(&target, b"mine").unwrap();
        std::os::unix::fs::symlink(&target, &part).unwrap();
        assert_eq!(length(&part), 0);
        open_part(&part).unwrap().write_all(b"new").unwrap();
        assert_eq!((fs::read(&target).unwrap(), fs::read(&part).unwrap()), (b"mine".to_vec(), b"new".to_vec()));
    }
}
