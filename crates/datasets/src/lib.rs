#![doc = include_str!("../README.md")]
#![allow(unexpected_cfgs, reason = "`cargo fuzz` sets `fuzzing`")]

pub use candle_core::{self, Device};

mod augment;
mod batches;
#[cfg(feature = "image")]
mod contact_sheet;
mod dataset;
#[cfg(feature = "image")]
mod decode;
mod decoded;
mod error;
mod files;
mod form;
mod formats;
#[cfg(all(any(test, fuzzing), feature = "parquet"))]
#[doc(hidden)]
pub mod fuzzing;
mod glyphs;
mod hub;
mod images;
mod normalisation;
mod prefetch;
mod progress;
mod registry;
mod source;
mod split;

pub use augment::{Augmentation, Flip};
pub use batches::{Batch, BatchOptions, Batches, Order, Position};
#[cfg(feature = "image")]
pub use contact_sheet::ContactSheet;
pub use dataset::{Dataset, FileRecord};
pub use error::{Error, Result};
pub use form::Form;
#[cfg(feature = "parquet")]
pub use formats::parquet::check_parquet;
pub use glyphs::{GlyphPart, Glyphs, Script, Variation};
pub use hub::{Hub, HubFile, RepositoryKind};
pub use images::LabelledImages;
pub use normalisation::Normalisation;
pub use prefetch::Prefetch;
pub use progress::{Progress, Quiet};
#[cfg(feature = "image")]
pub use registry::load_folder;
pub use registry::{
    Entry, Origin, SplitName, UnlabelledImages, class_split, entries, fetch, find, has_class_folders, load,
    load_unlabelled, verify,
};
#[cfg(feature = "parquet")]
pub use registry::{HubTable, load_table};
pub use source::Source;
pub use split::ClassSplit;
