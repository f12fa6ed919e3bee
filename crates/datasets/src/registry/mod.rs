//! Every data set that has a name here, and how each is found and read.

mod card;
mod digits;
mod entries;
mod fetch;
mod folders;
mod load;
mod repository;
mod splits;
mod tables;

use std::path::PathBuf;

pub use entries::entries;
pub use fetch::{fetch, verify};
pub use folders::load_folder;
pub use load::{class_split, load};
pub use tables::{HubTable, load_table};

use crate::error::suggestions;
use crate::{ClassSplit, Error, Form, Normalisation, Result, Source};
use repository::Repository;

/// How one data set of the registry is called, found, read and credited.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Where its images come from.
    pub origin: Origin,
    /// How many classes it has when it is complete.
    pub classes: usize,
    /// \[channels, height, width\] of its images once read.
    pub shape: [usize; 3],
    /// Training images that it must have; none where that depends on options.
    pub train_count: Option<usize>,
    /// Test images that it must have; likewise.
    pub test_count: Option<usize>,
    /// Mean of every channel, in \[0, 1\] units.
    pub mean: &'static [f32],
    /// Standard deviation of every channel, in \[0, 1\] units.
    pub std: &'static [f32],
    /// Which class lists for transfer it has.
    pub split: Option<SplitName>,
    /// Under which terms it may be used, as far as is known.
    pub licence: &'static str,
}

/// Where the images of an [`Entry`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Drawn by this crate.
    Embedded,
    /// A folder that the user gives, laid out as `class/image` or `split/class/image`.
    Folder,
    /// Omniglot's zip files, or what was unpacked from them, in a folder that the user gives.
    Omniglot,
    /// Parquet files of a Hub repository.
    Hub {
        /// The repository, as `owner/name`.
        repository: &'static str,
        /// The branch, tag or commit.
        revision: &'static str,
        /// The files of the training images.
        train: &'static [&'static str],
        /// The files of the test images.
        test: &'static [&'static str],
        /// The column of the images.
        image: &'static str,
        /// The column of the labels.
        label: &'static str,
    },
}

/// The class lists that come with this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitName {
    /// By script (see [`Glyphs::split`](crate::Glyphs::split)).
    Glyphs,
    /// CIFAR-FS: 64, 16 and 20 classes of CIFAR-100. Bertinetto, Henriques, Torr, Vedaldi, ICLR 2019.
    CifarFs,
    /// mini-ImageNet: 64, 16 and 20 classes of ImageNet. Ravi, Larochelle, ICLR 2017.
    MiniImagenet,
}

impl Entry {
    /// How its bytes become the values that a network sees.
    pub fn normalisation(&self) -> Result<Normalisation> {
        Normalisation::new(self.mean, self.std)
    }

    /// Whether it has class lists for transfer.
    pub fn has_split(&self) -> bool {
        self.split.is_some()
    }

    /// Its class lists for transfer.
    pub fn class_split(&self) -> Result<Option<ClassSplit>> {
        self.split.map(SplitName::lists).transpose()
    }

    /// The form that its images are read in.
    pub(crate) fn form(&self) -> Form {
        let resized = self.origin == Origin::Folder;
        Form { channels: Some(self.shape[0]), size: resized.then_some([self.shape[1], self.shape[2]]) }
    }
}

/// The entry with this name.
///
/// **Errors** [`Error::UnknownDataset`] with the nearest names.
///
/// ```
/// assert_eq!(datasets::find("cifar10")?.classes, 10);
/// let message = datasets::find("cifr10").unwrap_err().to_string();
/// assert!(message.contains("cifar10"), "{message}");
/// # datasets::Result::Ok(())
/// ```
pub fn find(name: &str) -> Result<&'static Entry> {
    entries().iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known = || entries().iter().map(|entry| entry.name);
        Error::UnknownDataset {
            name: name.to_owned(),
            suggestions: suggestions(name, known()),
            known: known().map(str::to_owned).collect(),
        }
    })
}

/// What a name stands for.
enum Name {
    Entry(&'static Entry),
    Repository(Repository),
    Folder(PathBuf),
}

impl Name {
    /// **Errors** [`Error::UnknownDataset`]; [`Error::InvalidOption`] for `folder` without one.
    fn parse(name: &str, source: &Source) -> Result<Self> {
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
                let problem = "which one? Write folder:PATH, or give --data-dir".to_owned();
                Err(Error::InvalidOption { option: "folder", problem })
            }
            _ => find(name).map(Self::Entry),
        }
    }
}
