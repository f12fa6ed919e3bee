//! The file formats of data sets.

#[cfg(feature = "image")]
pub(crate) mod folder;
pub(crate) mod idx;
#[cfg(feature = "parquet")]
mod labels;
#[cfg(feature = "image")]
pub(crate) mod omniglot;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;

#[cfg(feature = "parquet")]
pub(crate) use labels::RawLabels;
