//! The name of a file in a repository of the Hub.

use std::path::{Component, Path};

use crate::{Error, Result};

/// The kind of a repository of the Hub. Each kind has its own name space, so one name can belong to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// A data set.
    Dataset,
    /// The weights of a network.
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
    /// The kind of the repository.
    pub kind: RepositoryKind,
    /// The repository, as `owner/name`.
    pub repository: String,
    /// The branch, tag or commit.
    pub revision: String,
    /// The path inside the repository.
    pub path: String,
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

    /// Refuses names that lead out of the cache.
    #[cfg(feature = "hub")]
    pub(super) fn check(&self) -> Result<()> {
        check_repository(&self.repository)?;
        check_inside("revision", &self.revision)?;
        check_inside("file", &self.path)
    }
}

impl std::fmt::Display for HubFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}@{}/{}", self.repository, self.revision, self.path)
    }
}

pub(super) fn check_repository(repository: &str) -> Result<()> {
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

pub(super) fn check_inside(option: &'static str, path: &str) -> Result<()> {
    match is_inside(path) {
        true => Ok(()),
        false => Err(Error::InvalidOption { option, problem: format!("`{path}` is no name inside a repository") }),
    }
}

/// Whether a path stays inside the folder that it is joined to.
pub(super) fn is_inside(path: &str) -> bool {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    inside && !path.is_empty() && !path.contains('\\')
}

/// Whether a blob's name is a SHA-256. Small files have another checksum as their name.
pub(super) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
