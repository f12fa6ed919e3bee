//! Decoded images and their parts.

use crate::{Dataset, FileRecord, LabelledImages, Normalisation, Result};

/// A decoded data set.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) all: LabelledImages,
    /// The number of training, validation and test images, which follow each other in this order.
    pub(crate) parts: [usize; 3],
    /// Measured on the training images; none if the registry states it.
    pub(crate) normalisation: Option<Normalisation>,
    pub(crate) files: Vec<FileRecord>,
}

impl Decoded {
    /// The data set with views of its parts.
    pub(crate) fn dataset(self, name: &str, stated: Option<Normalisation>) -> Result<Dataset> {
        let [train, validation, test] = self.parts;
        let border = train + validation;
        let (all, learn) = (&self.all, self.all.range(0..train));
        let normalisation = match stated.or(self.normalisation) {
            Some(normalisation) => normalisation,
            None => learn.measure_normalisation()?,
        };
        Ok(Dataset {
            name: name.to_owned(),
            train: learn,
            validation: (validation > 0).then(|| all.range(train..border)),
            test: all.range(border..border + test),
            normalisation,
            split: None,
            files: self.files,
            skipped_files: 0,
        })
    }
}
