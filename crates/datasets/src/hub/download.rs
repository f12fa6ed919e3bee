//! One download: resumed after cuts, repeated after failures, checked, and cleared away if it cannot be completed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::layout::{Layout, folder_name};
use super::transport::{Description, Transport, pause};
use super::{Cached, Hub, HubFile, is_sha256};
use crate::{Error, Result, checksum};

/// How often bytes that do not match their checksum are fetched anew.
const CORRUPT_COPIES: usize = 2;

/// Bytes that are moved at once.
const BLOCK: usize = 1 << 16;

/// Downloads a file that the cache lacks, or waits until another process has done so.
pub(super) fn fetch(hub: &Hub, file: &HubFile) -> Result<Cached> {
    file.check()?;
    let _lock = lock(hub, file)?;
    if let Some(cached) = hub.cached(file) {
        if cached.is_whole()? {
            return Ok(cached);
        }
        cached.remove();
        hub.progress.note(&format!("{file}: the copy in the cache does not match its SHA-256; it is fetched anew"));
    }
    let layout = Layout::of(hub, file.kind, &file.repository);
    let mut download =
        Download { hub, file, layout, transport: Transport::new(hub), fruitless: 0, corrupt: 0, part: None };
    let fetched = download.run();
    if fetched.is_err() {
        download.clear();
    }
    hub.progress.finish(&file.path);
    fetched
}

/// Waits until no other process downloads this file; the lock ends with the returned handle.
fn lock(hub: &Hub, file: &HubFile) -> Result<File> {
    let folder = hub.cache.join(".locks").join(folder_name(file.kind, &file.repository));
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let path = folder.join(format!("{}.lock", file.path.replace(['/', '\\'], "--")));
    let handle = File::create(&path).map_err(Error::io("create", &path))?;
    if let Err(fs::TryLockError::WouldBlock) = handle.try_lock() {
        hub.progress.note(&format!("another process fetches {}: waiting for it", file.path));
        handle.lock().map_err(Error::io("lock", &path))?;
    }
    Ok(handle)
}

struct Download<'a> {
    hub: &'a Hub,
    file: &'a HubFile,
    layout: Layout,
    transport: Transport,
    /// Attempts in a row that brought no byte.
    fruitless: usize,
    /// Complete copies that did not match their checksum.
    corrupt: usize,
    /// Where the bytes go until they are complete and checked, once the Hub has named them.
    part: Option<PathBuf>,
}

/// Why a copy stopped before its end.
enum Stop {
    /// This machine's fault, which will not pass.
    Here(Error),
    /// The network's.
    There(String),
}

impl Download<'_> {
    fn run(&mut self) -> Result<Cached> {
        let described = self.describe()?;
        let blob = self.layout.blob(&described.checksum);
        if is_sha256(&described.checksum) && blob.is_file() && checksum::of_file(&blob)? == described.checksum {
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
                Err(Stop::Here(error)) => return Err(error),
                Err(Stop::There(reason)) => reason,
            };
            let reached = length(&part);
            // A cut that brought something is resumed from there; only attempts in vain are counted.
            self.fruitless = if reached > before { 0 } else { self.fruitless + 1 };
            if self.fruitless > self.hub.retries {
                return Err(self.given_up(reached, described.size, failure));
            }
            if self.fruitless > 0 {
                self.hub.progress.note(&format!("{}: {failure}; trying again", self.file));
            }
            std::thread::sleep(pause(self.fruitless));
        }
    }

    /// Size, commit and checksum of the file, from the Hub.
    fn describe(&mut self) -> Result<Description> {
        let url = self.url();
        let described = self.hub.repeated(&url, &self.file.to_string(), || self.transport.describe(&url))?;
        Ok(described)
    }

    /// Appends what the part still lacks.
    fn copy(&self, part: &Path, size: Option<u64>) -> std::result::Result<(), Stop> {
        let mut done = length(part);
        match size {
            Some(size) if done == size => return Ok(()),
            // Not the beginning of this file.
            Some(size) if done > size => done = 0,
            // Whether a file of unknown size is complete shows only in one go.
            None => done = 0,
            Some(_) => {}
        }
        let here = |action| move |source| Stop::Here(Error::io(action, part)(source));
        let mut out = OpenOptions::new().create(true).append(true).open(part).map_err(here("write"))?;
        let url = self.url();
        let asked = self.transport.bytes(&url, done);
        let (mut body, resumed) = asked.map_err(|failure| match failure.passing(&url, &self.file.to_string()) {
            Ok(reason) => Stop::There(reason),
            Err(error) => Stop::Here(error),
        })?;
        if !resumed {
            done = 0;
        }
        if length(part) != done {
            out.set_len(done).map_err(here("write"))?;
        }
        let mut block = vec![0; BLOCK];
        loop {
            let count = body.read(&mut block).map_err(|error| Stop::There(error.to_string()))?;
            done += count as u64;
            if size.is_some_and(|size| done > size) {
                out.set_len(0).map_err(here("write"))?;
                return Err(Stop::There(format!("more bytes came than the {} announced", size.unwrap_or(0))));
            }
            out.write_all(&block[..count]).map_err(here("write"))?;
            self.hub.progress.at(&self.file.path, done);
            match size {
                _ if count > 0 => {}
                Some(size) if done < size => {
                    return Err(Stop::There(format!("the connection closed after {done} of {size} bytes")));
                }
                _ => return out.sync_all().map_err(here("write")),
            }
        }
    }

    /// Whether a complete part matches its checksum; one that does not is removed, to be fetched anew.
    fn sound(&mut self, part: &Path, described: &Description) -> Result<bool> {
        if !is_sha256(&described.checksum) {
            return Ok(true);
        }
        let got = checksum::of_file(part)?;
        if got == described.checksum {
            return Ok(true);
        }
        fs::remove_file(part).map_err(Error::io("remove", part))?;
        self.corrupt += 1;
        match self.corrupt > CORRUPT_COPIES {
            true => Err(Error::Corrupt { what: self.url(), expected: described.checksum.clone(), got }),
            false => {
                self.hub
                    .progress
                    .note(&format!("{}: what came does not match its SHA-256; it is fetched anew", self.file));
                Ok(false)
            }
        }
    }

    fn finish(&self, part: &Path, blob: &Path, described: &Description) -> Result<Cached> {
        fs::rename(part, blob).map_err(Error::io("write", blob))?;
        self.placed(blob, described)
    }

    fn placed(&self, blob: &Path, described: &Description) -> Result<Cached> {
        let path = self.layout.link(self.file, &described.commit, blob)?;
        let sha256 = is_sha256(&described.checksum).then(|| described.checksum.clone());
        Ok(Cached { path, sha256 })
    }

    fn given_up(&self, got: u64, expected: Option<u64>, reason: String) -> Error {
        let attempts = self.fruitless;
        match expected {
            Some(expected) if got > 0 => Error::Truncated { url: self.url(), got, expected, attempts },
            _ => Error::Network { url: self.url(), attempts, reason },
        }
    }

    /// Removes what a failed download leaves behind.
    fn clear(&self) {
        let Some(part) = &self.part else { return };
        let _ = fs::remove_file(part);
        // Folders that are empty without it; the first that is not ends the walk up.
        let mut folder = part.parent();
        while let Some(empty) = folder.filter(|folder| **folder != *self.hub.cache && fs::remove_dir(folder).is_ok()) {
            folder = empty.parent();
        }
    }

    fn url(&self) -> String {
        self.hub.url_of(self.file)
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
