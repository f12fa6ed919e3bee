//! A data set of the registry.

use super::class_lists::SplitName;
use crate::{ClassSplit, Normalisation, Result};

/// The name, origin, expected contents and licence of a data set of the registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The name of the data set.
    pub name: &'static str,
    /// A description in one line.
    pub summary: &'static str,
    /// Where its images come from.
    pub origin: Origin,
    /// The number of classes of the complete data set.
    pub classes: usize,
    /// \[channels, height, width\] of its images after reading.
    pub shape: [usize; 3],
    /// The number of training images; none where it depends on options.
    pub train_count: Option<usize>,
    /// The number of test images; none where it depends on options.
    pub test_count: Option<usize>,
    /// The mean of every channel, in \[0, 1\] units.
    pub mean: &'static [f32],
    /// The standard deviation of every channel, in \[0, 1\] units.
    pub std: &'static [f32],
    /// Its class lists for transfer.
    pub split: Option<SplitName>,
    /// The licence, as far as it is known.
    pub licence: &'static str,
}

/// Where the images of an [`Entry`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Drawn by this crate.
    Embedded,
    /// A folder of the user's, laid out as `class/image` or `split/class/image`.
    Folder,
    /// Omniglot's zip files, or their contents, in a folder of the user's.
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

impl Entry {
    /// The normalisation of its images.
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

    /// The common form of its images.
    #[cfg(feature = "image")]
    pub(super) fn form(&self) -> crate::Form {
        let resized = self.origin == Origin::Folder;
        crate::Form { channels: Some(self.shape[0]), size: resized.then_some([self.shape[1], self.shape[2]]) }
    }
}
