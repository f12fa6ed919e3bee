//! Files by name: from the cache, else from the server.

use std::path::PathBuf;

use super::cached::Cached;
use super::file::HubFile;
use super::settings::Hub;
use crate::{Error, Result};

impl Hub {
    /// The file's path in the cache, after a download if the cache lacks it.
    ///
    /// **Errors** [`Error::Offline`], [`Error::Network`], [`Error::Unauthorized`], [`Error::NotFound`],
    /// [`Error::Truncated`], [`Error::Corrupt`], [`Error::TooLarge`], [`Error::Io`]; no partial file remains after any of
    /// them. [`Error::MissingFeature`] without the feature `hub`.
    pub fn file(&self, file: &HubFile) -> Result<PathBuf> {
        Ok(self.verified(file)?.path)
    }

    /// As [`Self::file`], with the verified checksum.
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
        self.download(file)
    }

    /// The file if the cache has it, without checking its bytes.
    pub(crate) fn cached(&self, file: &HubFile) -> Option<Cached> {
        Cached::find(self, file)
    }

    #[cfg(feature = "hub")]
    fn download(&self, file: &HubFile) -> Result<Cached> {
        super::download::fetch(self, file)
    }

    #[cfg(not(feature = "hub"))]
    fn download(&self, file: &HubFile) -> Result<Cached> {
        Err(Error::missing_feature("hub", format!("the download of {file}")))
    }
}
