//! The files of a repository at a revision.

#[cfg(feature = "hub")]
use super::file::is_inside;
use super::file::{RepositoryKind, check_inside, check_repository};
use super::layout::Layout;
use super::settings::Hub;
use crate::Result;

/// The files of a repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) revision: String,
    pub(crate) files: Vec<String>,
}

/// The files in the Hub's description of a repository (JSON), sorted; none if the text is no such description. Names that lead
/// out of the repository are left out.
#[cfg(feature = "hub")]
pub(crate) fn files_of_description(text: &str) -> Option<Vec<String>> {
    let response: serde_json::Value = serde_json::from_str(text).ok()?;
    let files = response.get("siblings")?.as_array()?;
    let mut files: Vec<String> =
        files.iter().filter_map(|file| file.get("rfilename")?.as_str().map(str::to_owned)).collect();
    files.retain(|path| is_inside(path));
    files.sort();
    Some(files)
}

impl Hub {
    /// The files of a data set's repository, sorted. Without the network: the last list that the Hub gave, else the files
    /// of the cache.
    pub(crate) fn listing(&self, repository: &str, revision: &str) -> Result<Listing> {
        check_repository(repository)?;
        check_inside("revision", revision)?;
        let layout = Layout::of(&self.cache, RepositoryKind::Dataset, repository);
        let known = || layout.remembered(revision).unwrap_or_else(|| layout.listed(revision));
        let files = if self.offline { known() } else { self.online_files(repository, revision, &layout, known)? };
        Ok(Listing { revision: revision.to_owned(), files })
    }

    #[cfg(feature = "hub")]
    fn online_files(
        &self,
        repository: &str,
        revision: &str,
        layout: &Layout,
        known: impl Fn() -> Vec<String>,
    ) -> Result<Vec<String>> {
        use super::transport::Transport;
        use super::{address, settings::redacted};
        use crate::Error;

        let endpoint = &self.endpoint;
        let api = format!("{endpoint}/api/datasets/{repository}/revision/{}", address::escaped(revision, true));
        let transport = Transport::new(self);
        let text = match transport.repeated(&api, &format!("{repository}@{revision}"), || transport.text(&api)) {
            Ok(text) => text,
            // Files that were fetched before are usable without the Hub.
            Err(error @ Error::Network { .. }) => {
                let files = known();
                return if files.is_empty() { Err(error) } else { Ok(files) };
            }
            Err(error) => return Err(error),
        };
        let invalid_response = || Error::Network {
            url: redacted(&api),
            attempts: 1,
            reason: "the response is not the description of a repository".to_owned(),
        };
        let files = files_of_description(&text).ok_or_else(invalid_response)?;
        // If the list cannot be written, neither can a file of the repository, and that write reports the error.
        let _ = layout.remember(revision, &files);
        Ok(files)
    }

    #[cfg(not(feature = "hub"))]
    fn online_files(
        &self,
        repository: &str,
        _: &str,
        _: &Layout,
        known: impl Fn() -> Vec<String>,
    ) -> Result<Vec<String>> {
        let files = known();
        match files.is_empty() {
            true => Err(crate::Error::missing_feature("hub", format!("the list of files of {repository}"))),
            false => Ok(files),
        }
    }
}
