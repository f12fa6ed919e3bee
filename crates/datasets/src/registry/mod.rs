//! The registry: every data set with a name, and how it is found and read.

#[cfg(feature = "parquet")]
mod card;
mod class_lists;
mod digits;
mod entries;
mod entry;
mod fetch;
#[cfg(feature = "image")]
mod folders;
#[cfg(feature = "image")]
mod image_files;
mod load;
mod location;
#[cfg(feature = "image")]
mod mini_imagenet;
mod name;
#[cfg(feature = "image")]
mod omniglot;
mod repository;
#[cfg(feature = "image")]
mod split;
#[cfg(feature = "parquet")]
mod tables;
mod unlabelled;

#[cfg(all(any(test, fuzzing), feature = "parquet"))]
pub(crate) use card::class_names;
pub use class_lists::SplitName;
pub use entries::{entries, find};
pub use entry::{Entry, Origin};
pub use fetch::{fetch, verify};
#[cfg(feature = "image")]
pub use folders::load_folder;
pub use load::{class_split, load};
#[cfg(feature = "parquet")]
pub use tables::{HubTable, load_table};
pub use unlabelled::{UnlabelledImages, has_class_folders, load_unlabelled};
