//! Data sets of image files in folders: listing, decoding and caching.

use std::path::{Path, PathBuf};

use super::entry::Entry;
use crate::decode::Collector;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::folder::{self, ClassFiles, Skipped};
use crate::{Error, FileRecord, Form, LabelledImages, Result, Source};

/// Image files and the options of reading them.
pub(super) struct ImageFiles<'a> {
    pub(super) name: &'a str,
    /// The files of the training, validation and test images, in this order. A class can occur in each part.
    pub(super) files: Vec<ClassFiles>,
    /// The class names in the order of the labels.
    pub(super) classes: Vec<String>,
    /// The number of training, validation and test images.
    pub(super) parts: [usize; 3],
    pub(super) form: Form,
    /// Whether the normalisation is measured on the training images.
    pub(super) measure: bool,
}

impl<'a> ImageFiles<'a> {
    /// Files in one part, each list of which is a class.
    pub(super) fn in_one_part(name: &'a str, files: Vec<ClassFiles>, form: Form, measure: bool) -> Self {
        let count = files.iter().map(|class| class.files.len()).sum();
        let classes = files.iter().map(|class| class.class.clone()).collect();
        Self { name, files, classes, parts: [count, 0, 0], form, measure }
    }

    /// The files beside the images that are no images.
    pub(super) fn skipped(&self) -> Skipped {
        let mut skipped = Skipped::default();
        self.files.iter().for_each(|class| skipped.join(&class.skipped));
        skipped
    }

    /// The images, from the decoded cache or decoded. Skipped files are reported.
    pub(super) fn read(&self, source: &Source) -> Result<Decoded> {
        let skipped = self.skipped();
        if skipped.count > 0 {
            source.hub.progress.note(&format!("{}: skipped {}", self.name, skipped.describe()));
        }
        decoded::cached(source, &self.inputs(), || self.decode())
    }

    fn inputs(&self) -> Inputs {
        let named = |class: &ClassFiles| {
            let input = |path: &PathBuf| Input { name: class.class.clone(), path: path.clone(), sha256: None };
            class.files.iter().map(input).collect::<Vec<_>>()
        };
        Inputs {
            recipe: format!("files {:?}", (self.name, &self.classes, self.parts, self.form)),
            files: self.files.iter().flat_map(named).collect(),
        }
    }

    fn decode(&self) -> Result<Decoded> {
        let mut collector = Collector::new(self.form);
        let paths = self.files.iter().flat_map(|class| &class.files);
        let bytes = paths.clone().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum();
        let count = paths.count();
        collector.expect(count, bytes);
        let mut labels = Vec::with_capacity(count);
        for class in &self.files {
            let label = self.classes.iter().position(|name| *name == class.class).unwrap_or(self.classes.len());
            folder::read(&class.files, &mut collector)?;
            labels.extend(class.files.iter().map(|_| label as u32));
        }
        let all = labelled(self.name, collector, labels, self.classes.clone())?;
        let normalisation = self.measure.then(|| all.range(0..self.parts[0]).measure_normalisation()).transpose()?;
        let folders = self.files.iter().filter_map(|class| class.files.first()?.parent());
        let record = |folder: &Path| FileRecord { file: folder.display().to_string(), sha256: None };
        Ok(Decoded { all, parts: self.parts, normalisation, files: folders.map(record).collect() })
    }
}

/// The collected images with their labels.
///
/// **Errors** [`Error::NotFound`] if there is no image.
pub(super) fn labelled(
    name: &str,
    collector: Collector,
    labels: Vec<u32>,
    classes: Vec<String>,
) -> Result<LabelledImages> {
    let shape = collector.shape().ok_or_else(|| Error::NotFound {
        what: format!("images of {name}"),
        looked_at: Vec::new(),
        hint: "check the folder".to_owned(),
    })?;
    LabelledImages::new(name, collector.into_pixels(), shape, labels, classes)
}

/// The folder of a data set that cannot be downloaded.
pub(super) fn given_folder<'a>(entry: &Entry, source: &'a Source) -> Result<&'a Path> {
    source.data_dir.as_deref().ok_or_else(|| Error::NotFound {
        what: entry.name.to_owned(),
        looked_at: Vec::new(),
        hint: "it cannot be downloaded here: give the folder that holds it with --data-dir".to_owned(),
    })
}

/// The name of a data set in a folder: the folder's own name.
pub(super) fn name_of_folder(path: &Path) -> String {
    // `.` and `..` have no name of their own.
    let place = path.file_name().is_none().then(|| std::fs::canonicalize(path).ok()).flatten();
    place.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
