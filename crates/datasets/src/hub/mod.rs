//! Files of Hub repositories, from the cache where they are complete, else downloaded, checked and cached.
//!
//! The client is written here because the published ones do not fit. `hf-hub` 0.5 has no read timeout, keeps bytes that do
//! not match their checksum, and does not find the files of a pinned commit. `hf-hub` 1.0 depends on 297
//! crates, among them tokio, xet and a C crypto library. This crate needs three kinds of requests, which `ureq` makes
//! synchronously.

#[cfg(feature = "hub")]
mod address;
mod cached;
mod client;
#[cfg(feature = "hub")]
mod download;
mod environment;
mod file;
mod layout;
mod listing;
mod settings;
#[cfg(feature = "hub")]
mod transport;

pub use file::{HubFile, RepositoryKind};
#[cfg(all(any(test, fuzzing), feature = "hub"))]
pub(crate) use listing::files_of_description;
pub use settings::Hub;
