//! Files of Hub repositories: from the cache where they are whole, else downloaded, checked and kept.

mod download;
mod environment;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use hf_hub::{Cache, Repo, RepoType};

use crate::{Error, Progress, Quiet, Result, checksum};

/// Where Hub files come from and where they are kept.
///
/// **Conventions** the cache has the layout of the Python client `huggingface_hub`, so both share their files. A file is
/// used only while its bytes match the SHA-256 that the Hub gave for it (which is the name of its blob); one that
/// does not is removed and fetched again.
#[derive(Clone)]
pub struct Hub {
    /// The server, without a slash at the end.
    pub endpoint: String,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// The token that opens private repositories.
    pub token: Option<String>,
    /// Whether only the cache may be used.
    pub offline: bool,
    /// How often a request that brings nothing is repeated, after growing pauses. Default 5.
    pub retries: usize,
    /// Who is told how downloads go on. Default nobody.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        let Self { endpoint, cache, offline, retries, .. } = self;
        write!(out, "Hub {{ endpoint: {endpoint:?}, cache: {cache:?}, token: {token:?}, ")?;
        write!(out, "offline: {offline}, retries: {retries} }}")
    }
}

/// A file of a data set repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// The repository, as `owner/name`.
    pub repository: String,
    /// The branch, tag or commit.
    pub revision: String,
    /// The path inside the repository.
    pub path: String,
}

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: PathBuf,
    /// The SHA-256 that the Hub gave; small files have none.
    pub(crate) sha256: Option<String>,
}

impl Hub {
    /// The Hub at an address with a cache folder, no token, online.
    pub fn new(endpoint: &str, cache: impl Into<PathBuf>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, cache: cache.into(), token: None, offline: false, retries: 5, progress: Arc::new(Quiet) }
    }

    /// The file's place in the cache, after a download if it is not there.
    ///
    /// **Errors** [`Error::Offline`], [`Error::Network`], [`Error::Unauthorized`], [`Error::NotFound`],
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::Io`]; after each of them nothing half-done is in the cache.
    pub fn file(&self, file: &HubFile) -> Result<PathBuf> {
        Ok(self.verified(file)?.path)
    }

    /// As [`Self::file`], with the checksum that the bytes were found to have.
    pub(crate) fn verified(&self, file: &HubFile) -> Result<Cached> {
        if let Some(cached) = self.cached(file) {
            if cached.is_whole()? {
                return Ok(cached);
            }
            if self.offline {
                return Err(cached.corrupt()?);
            }
        }
        if self.offline {
            return Err(Error::Offline { file: file.to_string(), cache: self.cache.clone() });
        }
        download::fetch(self, file)
    }

    /// The file in the cache, if it is there, unchecked.
    pub(crate) fn cached(&self, file: &HubFile) -> Option<Cached> {
        let path = Cache::new(self.cache.clone()).repo(file.repo()).get(&file.path)?;
        let blob = fs::canonicalize(&path).ok()?;
        let name = blob.file_name()?.to_str()?;
        let sha256 = is_sha256(name).then(|| name.to_owned());
        Some(Cached { path, sha256 })
    }
}

impl Cached {
    /// Whether the bytes match the checksum, where there is one.
    pub(crate) fn is_whole(&self) -> Result<bool> {
        match &self.sha256 {
            Some(expected) => Ok(checksum::of_file(&self.path)? == *expected),
            None => Ok(true),
        }
    }

    /// Removes the file and says why.
    pub(crate) fn corrupt(&self) -> Result<Error> {
        let got = checksum::of_file(&self.path)?;
        self.remove();
        let expected = self.sha256.clone().unwrap_or_default();
        Ok(Error::Corrupt { what: self.path.display().to_string(), expected, got })
    }

    /// Removes the file: the blob, the link to it, and the folders that are empty without the link.
    pub(crate) fn remove(&self) {
        let blob = fs::canonicalize(&self.path);
        for path in blob.iter().chain([&self.path]) {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
        // A folder that is not empty stays, and ends the walk up.
        let mut folder = self.path.parent();
        while let Some(empty) = folder.filter(|folder| fs::remove_dir(folder).is_ok()) {
            folder = empty.parent();
        }
    }
}

impl HubFile {
    pub(crate) fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Dataset, self.revision.clone())
    }
}

impl std::fmt::Display for HubFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}@{}/{}", self.repository, self.revision, self.path)
    }
}

pub(crate) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
