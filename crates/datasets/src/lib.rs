#![doc = include_str!("../README.md")]
#![allow(unexpected_cfgs, reason = "`cargo fuzz` sets `fuzzing`")]

pub use candle_core::Device;

mod augment;
mod batches;
mod checksum;
mod contact_sheet;
mod dataset;
mod decode;
mod decoded;
mod error;
mod files;
mod formats;
#[cfg(any(test, fuzzing))]
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
pub use contact_sheet::ContactSheet;
pub use dataset::{Dataset, FileRecord};
pub use decode::Form;
pub use error::{Error, Result};
pub use glyphs::{Glyphs, Part, Script, Variation};
pub use hub::{Hub, HubFile, RepositoryKind};
pub use images::LabelledImages;
pub use normalisation::Normalisation;
pub use prefetch::Prefetch;
pub use progress::{Progress, Quiet};
pub use registry::{
    Entry, HubTable, Origin, SplitName, class_split, entries, fetch, find, load, load_folder, load_table, verify,
};
pub use source::Source;
pub use split::ClassSplit;
