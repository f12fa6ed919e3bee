//! One download: resumed after cuts, repeated after failures, checked, and cleared away if it cannot be completed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};

use super::{Cached, Hub, HubFile, is_sha256};
use crate::{Error, Progress, Result, checksum};

/// The pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How often bytes that do not match their checksum are fetched anew.
const CORRUPT_COPIES: usize = 2;

/// Downloads a file that the cache lacks, or waits until another process has done so.
pub(super) fn fetch(hub: &Hub, file: &HubFile) -> Result<Cached> {
    let _lock = lock(hub, file)?;
    if let Some(cached) = hub.cached(file) {
        if cached.is_whole()? {
            return Ok(cached);
        }
        cached.remove();
    }
    let api = ApiBuilder::from_cache(Cache::new(hub.cache.clone()))
        .with_endpoint(hub.endpoint.clone())
        .with_token(hub.token.clone())
        .with_progress(false)
        .build();
    let api =
        api.map_err(|error| Error::Network { url: hub.endpoint.clone(), attempts: 0, reason: error.to_string() })?;
    let mut download = Download { hub, file, repo: api.repo(file.repo()), api, fruitless: 0, corrupt: 0, blob: None };
    let fetched = download.run();
    if fetched.is_err() {
        download.clear();
    }
    hub.progress.finish(&file.path);
    fetched
}

/// Waits until no other process downloads this file; the lock ends with the returned handle.
fn lock(hub: &Hub, file: &HubFile) -> Result<File> {
    let folder = hub.cache.join(".locks").join(file.repo().folder_name());
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let path = folder.join(format!("{}.lock", file.path.replace(['/', '\\'], "--")));
    let handle = File::create(&path).map_err(Error::io("create", &path))?;
    handle.lock().map_err(Error::io("lock", &path))?;
    Ok(handle)
}

struct Download<'a> {
    hub: &'a Hub,
    file: &'a HubFile,
    api: Api,
    repo: ApiRepo,
    /// Attempts in a row that brought no byte.
    fruitless: usize,
    /// Complete copies that did not match their checksum.
    corrupt: usize,
    /// Where the bytes go, once the Hub has named them.
    blob: Option<PathBuf>,
}

impl Download<'_> {
    fn run(&mut self) -> Result<Cached> {
        let metadata = self.metadata()?;
        let cache = Cache::new(self.hub.cache.clone()).repo(self.file.repo());
        let blob = self.blob.insert(cache.blob_path(metadata.etag())).clone();
        let size = metadata.size() as u64;
        self.hub.progress.start(&self.file.path, size);
        loop {
            let before = self.part_length(size);
            let outcome = self.repo.download_with_progress(&self.file.path, Meter::new(self.hub, self.file));
            let failure = match outcome {
                Ok(path) if length(&path) == size => match self.checked(path, &blob)? {
                    Some(cached) => return Ok(cached),
                    None => continue,
                },
                Ok(path) => {
                    Cached { path, sha256: None }.remove();
                    "the connection closed early".to_owned()
                }
                Err(error) => self.transient(error)?,
            };
            let reached = self.part_length(size);
            // A cut that brought something is resumed from there; only attempts in vain are counted.
            self.fruitless = if reached > before { 0 } else { self.fruitless + 1 };
            if self.fruitless > self.hub.retries {
                return Err(self.given_up(reached, size, failure));
            }
            self.pause();
        }
    }

    /// Size, commit and checksum of the file, from the Hub.
    fn metadata(&mut self) -> Result<Metadata> {
        loop {
            match self.api.metadata(&self.url()) {
                Ok(metadata) => {
                    self.fruitless = 0;
                    return Ok(metadata);
                }
                Err(error) => {
                    let reason = self.transient(error)?;
                    self.fruitless += 1;
                    if self.fruitless > self.hub.retries {
                        return Err(Error::Network { url: self.url(), attempts: self.fruitless, reason });
                    }
                    self.pause();
                }
            }
        }
    }

    /// The file if it matches its checksum; none if it did not, and should be fetched anew.
    fn checked(&mut self, path: PathBuf, blob: &Path) -> Result<Option<Cached>> {
        let name = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_sha256(name) {
            return Ok(Some(Cached { path, sha256: None }));
        }
        let cached = Cached { path, sha256: Some(name.to_owned()) };
        let got = checksum::of_file(&cached.path)?;
        if got == name {
            return Ok(Some(cached));
        }
        cached.remove();
        self.corrupt += 1;
        match self.corrupt > CORRUPT_COPIES {
            true => Err(Error::Corrupt { what: self.url(), expected: name.to_owned(), got }),
            false => Ok(None),
        }
    }

    /// The reason of a failure that may pass; others are returned as errors.
    fn transient(&self, error: ApiError) -> Result<String> {
        let status = match &error {
            ApiError::RequestError(inner) => match **inner {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        match (status, error) {
            (Some(status @ (401 | 403)), _) => Err(Error::Unauthorized { url: self.url(), status }),
            (Some(404), _) => Err(Error::NotFound {
                what: self.file.to_string(),
                looked_at: vec![self.url()],
                hint: "check the repository, revision and file name".to_owned(),
            }),
            (Some(status @ 400..=499), error) if ![408, 416, 429].contains(&status) => {
                Err(Error::Network { url: self.url(), attempts: 1, reason: error.to_string() })
            }
            (_, ApiError::IoError(source)) if is_local(&source) => {
                Err(Error::Io { action: "download into", path: self.hub.cache.clone(), source })
            }
            (_, error) => Ok(error.to_string()),
        }
    }

    fn given_up(&self, got: u64, expected: u64, reason: String) -> Error {
        let attempts = self.fruitless;
        match got {
            0 => Error::Network { url: self.url(), attempts, reason },
            got => Error::Truncated { url: self.url(), got, expected, attempts },
        }
    }

    /// The bytes that an earlier attempt left; what cannot be the beginning of the file is removed.
    fn part_length(&self, size: u64) -> u64 {
        let Some(part) = self.part() else { return 0 };
        match length(&part) {
            // All bytes without the final step: the client asks for the rest, of which there is none, and fails.
            found if found >= size => {
                let _ = fs::remove_file(&part);
                0
            }
            found => found,
        }
    }

    fn part(&self) -> Option<PathBuf> {
        self.blob.as_ref().map(|blob| blob.with_extension("part"))
    }

    /// Removes what a failed download leaves behind.
    fn clear(&self) {
        if let Some(blob) = &self.blob {
            for path in [blob.clone(), blob.with_extension("part"), blob.with_extension("lock")] {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn pause(&self) {
        std::thread::sleep(FIRST_PAUSE * 2u32.saturating_pow(self.fruitless.saturating_sub(1).min(6) as u32));
    }

    fn url(&self) -> String {
        self.repo.url(&self.file.path)
    }
}

/// Whether a failure is this machine's and will not pass by trying again.
fn is_local(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::FileTooLarge
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotADirectory
            | Kind::IsADirectory
    )
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Passes the client's progress on.
struct Meter {
    progress: Arc<dyn Progress>,
    what: String,
    done: u64,
}

impl Meter {
    fn new(hub: &Hub, file: &HubFile) -> Self {
        Self { progress: hub.progress.clone(), what: file.path.clone(), done: 0 }
    }
}

impl hf_hub::api::Progress for Meter {
    fn init(&mut self, _: usize, _: &str) {
        self.done = 0;
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        self.progress.at(&self.what, self.done);
    }

    fn finish(&mut self) {}
}
