//! A data set as it is used: training and test images of the same classes, and how they are normalised.

use crate::{ClassSplit, Error, LabelledImages, Normalisation, Result};

/// One file that a data set was read from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileRecord {
    /// Its name: repository, revision and path, or the path on disk.
    pub file: String,
    /// The SHA-256 of its bytes, where it was checked.
    pub sha256: Option<String>,
}

/// Training and test images of the same classes.
///
/// **Conventions** `train`, `validation` and `test` have the same shape, classes and label order, and share no image.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name in the registry, or the one that was given.
    pub name: String,
    /// The images to learn from.
    pub train: LabelledImages,
    /// The images to choose by, where the data set sets some apart.
    pub validation: Option<LabelledImages>,
    /// The images to test on.
    pub test: LabelledImages,
    /// What turns bytes into the values that a network sees.
    pub normalisation: Normalisation,
    /// Which classes are source, validation and target classes in transfer; none where the data set has no such lists.
    pub split: Option<ClassSplit>,
    /// The files that it was read from; none for what is drawn.
    pub files: Vec<FileRecord>,
}

impl Dataset {
    /// The images of these classes only, in all parts; the class at position i of `names` gets label i.
    ///
    /// **Errors** [`Error::UnknownClass`], [`Error::EmptyClass`].
    pub fn with_classes<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        let train = self.train.subset_class_names(names)?;
        let validation = self.validation.as_ref().map(|images| images.subset_class_names(names)).transpose()?;
        Ok(Self { train, validation, test: self.test.subset_class_names(names)?, ..self.clone() })
    }

    /// The classes to pre-train on in transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn source_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.train())
    }

    /// The classes to choose by in transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn validation_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.validation())
    }

    /// The classes to test on in transfer, new to a network that was trained on [`Self::source_classes`].
    ///
    /// **Errors** [`Error::NoClassSplit`].
    pub fn target_classes(&self) -> Result<Self> {
        self.with_classes(self.class_split()?.test())
    }

    /// The class lists for transfer.
    ///
    /// **Errors** [`Error::NoClassSplit`] where the data set has none.
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

    /// All images in one view: to learn from, to choose by, to test on.
    ///
    /// **Errors** [`Error::Inconsistent`] where they were not read together.
    pub fn all(&self) -> Result<LabelledImages> {
        match &self.validation {
            Some(validation) => self.train.joined(validation)?.joined(&self.test),
            None => self.train.joined(&self.test),
        }
    }
}
