//! Names of data sets: of the registry, of the Hub, and folders.

use std::path::PathBuf;

use super::entries::find;
use super::entry::Entry;
use crate::{Error, Result, Source};

/// A parsed name.
pub(super) enum Name {
    Entry(&'static Entry),
    Repository(Repository),
    Folder(PathBuf),
}

/// A data set of the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    /// As `owner/name`.
    pub(super) id: String,
    /// The branch, tag or commit; none: `main`, or the Hub's parquet copy.
    pub(super) revision: Option<String>,
}

impl Name {
    /// **Errors** [`Error::UnknownDataset`]; [`Error::InvalidOption`] for `folder` without a folder.
    pub(super) fn parse(name: &str, source: &Source) -> Result<Self> {
        if let Some(id) = name.strip_prefix("hub:") {
            let (id, revision) =
                id.split_once('@').map_or((id, None), |(id, revision)| (id, Some(revision.to_owned())));
            return Ok(Self::Repository(Repository { id: id.to_owned(), revision }));
        }
        if let Some(path) = name.strip_prefix("folder:") {
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        match (name, &source.data_dir) {
            ("folder", Some(path)) => Ok(Self::Folder(path.clone())),
            ("folder", None) => {
                let problem = "no folder is given; write folder:PATH, or give --data-dir".to_owned();
                Err(Error::InvalidOption { option: "folder", problem })
            }
            _ => find(name).map(Self::Entry),
        }
    }
}
