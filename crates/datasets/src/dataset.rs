//! A data set: training and test images of the same classes, and their normalisation.

use crate::{ClassSplit, Error, LabelledImages, Normalisation, Result};

/// A file from which a data set was read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileRecord {
    /// Its name: repository, revision and path, or the path on disk.
    pub file: String,
    /// The SHA-256 of its bytes, if it was checked.
    pub sha256: Option<String>,
}

/// Training and test images of the same classes.
///
/// **Conventions** `train`, `validation` and `test` have the same shape, classes and label order, and share no image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dataset {
    /// The name in the registry, of the repository or of the folder.
    pub name: String,
    /// The training images.
    pub train: LabelledImages,
    /// The validation images, if the data set has some.
    pub validation: Option<LabelledImages>,
    /// The test images.
    pub test: LabelledImages,
    /// The conversion of bytes into the inputs of a network.
    pub normalisation: Normalisation,
    /// The source, validation and target classes of transfer; none if the data set has no such lists.
    pub split: Option<ClassSplit>,
    /// The files from which it was read; none for drawn images.
    pub files: Vec<FileRecord>,
    /// The number of files in class folders that are no images and were skipped, such as `Thumbs.db`.
    pub skipped_files: usize,
}

impl Dataset {
    /// The images of these classes only, in all parts. The class at position i of `names` gets label i.
    ///
    /// **Errors** [`Error::UnknownClass`], [`Error::EmptyClass`].
    pub fn with_classes<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        let train = self.train.subset_class_names(names)?;
        let validation = self.validation.as_ref().map(|images| images.subset_class_names(names)).transpose()?;
        Ok(Self { train, validation, test: self.test.subset_class_names(names)?, ..self.clone() })
    }

    /// The source classes: those of pre-training in transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn source_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.train())
    }

    /// The validation classes of transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn validation_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.validation())
    }

    /// The target classes: those of testing in transfer, disjoint from [`Self::source_classes`].
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn target_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.test())
    }

    /// The class lists for transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`] if the data set has none.
    pub fn class_split(&self) -> Result<&ClassSplit> {
        self.split.as_ref().ok_or_else(|| Error::NoClassSplit {
            dataset: self.name.clone(),
            others: crate::entries()
                .iter()
                .filter(|entry| entry.has_split())
                .map(|entry| entry.name.to_owned())
                .collect(),
        })
    }

    /// All images in one view: training, validation, test.
    ///
    /// **Errors** [`Error::Inconsistent`] if they do not share their pixels.
    pub fn all(&self) -> Result<LabelledImages> {
        match &self.validation {
            Some(validation) => self.train.joined(validation)?.joined(&self.test),
            None => self.train.joined(&self.test),
        }
    }
}
