//! Files of Hub repositories: from the cache where they are whole, else downloaded, checked and kept.

mod download;
mod environment;
mod layout;
mod transport;

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use layout::Layout;
use transport::{Failure, Transport, escaped, pause};

use crate::{Error, Progress, Quiet, Result, checksum};

/// Where Hub files come from and where they are kept.
///
/// **Conventions** the cache has the layout of the Python client `huggingface_hub`, so both share their files. A file is
/// used only while its bytes match the SHA-256 that the Hub gave for it (which is the name of its blob); one that
/// does not is removed and fetched again. The client is written here because `hf-hub` 0.5 waits for a dead connection for
/// ever, keeps bytes that do not match their checksum, and does not find files of a pinned commit.
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
    /// How long a connection may bring nothing before it is given up. Default 30 seconds.
    pub patience: Duration,
    /// Who is told how downloads go on. Default nobody.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        let Self { endpoint, cache, offline, retries, patience, .. } = self;
        write!(out, "Hub {{ endpoint: {endpoint:?}, cache: {cache:?}, token: {token:?}, ")?;
        write!(out, "offline: {offline}, retries: {retries}, patience: {patience:?} }}")
    }
}

/// What a repository of the Hub holds. Both kinds have names of their own, so one name can be both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// Data.
    Dataset,
    /// Weights of a network.
    Model,
}

/// A file of a repository.
///
/// ```
/// use datasets::{HubFile, RepositoryKind};
/// let weights = HubFile::model("timm/resnet18.a1_in1k", "main", "model.safetensors");
/// assert_eq!(weights.kind, RepositoryKind::Model);
/// assert_eq!(weights.to_string(), "timm/resnet18.a1_in1k@main/model.safetensors");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// What the repository holds.
    pub kind: RepositoryKind,
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
        let patience = Duration::from_secs(30);
        let (cache, progress) = (cache.into(), Arc::new(Quiet));
        Self { endpoint, cache, token: None, offline: false, retries: 5, patience, progress }
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
        let path = Layout::of(self, file.kind, &file.repository).find(&file.revision, &file.path)?;
        let blob = fs::canonicalize(&path).ok()?;
        let name = blob.file_name()?.to_str()?;
        let sha256 = is_sha256(name).then(|| name.to_owned());
        Some(Cached { path, sha256 })
    }

    /// The files of a data set's repository, sorted; without the network, as the Hub gave them last, else those of the cache.
    pub(crate) fn listing(&self, repository: &str, revision: &str) -> Result<Listing> {
        check_repository(repository)?;
        check_inside("revision", revision)?;
        let layout = Layout::of(self, RepositoryKind::Dataset, repository);
        let known = || {
            let files = layout.remembered(revision).unwrap_or_else(|| layout.listed(revision));
            Listing { revision: revision.to_owned(), files }
        };
        if self.offline {
            return Ok(known());
        }
        let api = format!("{}/api/datasets/{repository}/revision/{}", self.endpoint, escaped(revision, true));
        let transport = Transport::new(self);
        let text = match self.repeated(&api, &format!("{repository}@{revision}"), || transport.text(&api)) {
            Ok(text) => text,
            // What was fetched before is used without the Hub.
            Err(Error::Network { .. }) if !known().files.is_empty() => return Ok(known()),
            Err(error) => return Err(error),
        };
        let senseless = || Error::Network {
            url: api.clone(),
            attempts: 1,
            reason: "the answer is not the description of a repository".to_owned(),
        };
        let told: serde_json::Value = serde_json::from_str(&text).map_err(|_| senseless())?;
        let files = told.get("siblings").and_then(|list| list.as_array()).ok_or_else(senseless)?;
        let mut files: Vec<String> =
            files.iter().filter_map(|file| file.get("rfilename")?.as_str().map(str::to_owned)).collect();
        files.retain(|path| is_inside(path));
        files.sort();
        // Where it cannot be kept, no file can be either, which is then said.
        let _ = layout.remember(revision, &files);
        Ok(Listing { revision: revision.to_owned(), files })
    }

    /// The answer of a request that is repeated while its failure may pass.
    fn repeated<T>(
        &self,
        url: &str,
        what: &str,
        mut request: impl FnMut() -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut attempts = 0;
        loop {
            let reason = match request() {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure.passing(url, what)?,
            };
            attempts += 1;
            if attempts > self.retries {
                return Err(Error::Network { url: url.to_owned(), attempts, reason });
            }
            self.progress.note(&format!("{what}: {reason}; trying again"));
            std::thread::sleep(pause(attempts));
        }
    }

    fn url_of(&self, file: &HubFile) -> String {
        let (revision, path) = (escaped(&file.revision, true), escaped(&file.path, false));
        // Models have the plain addresses; theirs was the first kind.
        let kind = match file.kind {
            RepositoryKind::Dataset => "datasets/",
            RepositoryKind::Model => "",
        };
        format!("{}/{kind}{}/resolve/{revision}/{path}", self.endpoint, file.repository)
    }
}

/// The files of a repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) revision: String,
    pub(crate) files: Vec<String>,
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
    /// A file of a data set's repository.
    pub fn dataset(repository: &str, revision: &str, path: &str) -> Self {
        let [repository, revision, path] = [repository, revision, path].map(str::to_owned);
        Self { kind: RepositoryKind::Dataset, repository, revision, path }
    }

    /// A file of a model's repository.
    pub fn model(repository: &str, revision: &str, path: &str) -> Self {
        Self { kind: RepositoryKind::Model, ..Self::dataset(repository, revision, path) }
    }

    /// Refuses names that would lead out of the cache.
    fn check(&self) -> Result<()> {
        check_repository(&self.repository)?;
        check_inside("revision", &self.revision)?;
        check_inside("file", &self.path)
    }
}

fn check_repository(repository: &str) -> Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match repository.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok(()),
        _ => {
            let problem = format!("`{repository}` is no repository of the Hub; write owner/name");
            Err(Error::InvalidOption { option: "repository", problem })
        }
    }
}

fn check_inside(option: &'static str, path: &str) -> Result<()> {
    match is_inside(path) {
        true => Ok(()),
        false => Err(Error::InvalidOption { option, problem: format!("`{path}` is no name inside a repository") }),
    }
}

fn is_inside(path: &str) -> bool {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    inside && !path.is_empty() && !path.contains('\\')
}

impl std::fmt::Display for HubFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}@{}/{}", self.repository, self.revision, self.path)
    }
}

pub(crate) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
