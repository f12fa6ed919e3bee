//! Data sets in parquet files with a column of images and a column of labels.

use std::path::PathBuf;

use super::location::FileLocation;
use super::split::with_test_split_off;
use crate::decode::Collector;
use crate::decoded::{self, Decoded, Inputs};
use crate::formats::{RawLabels, parquet};
use crate::{Dataset, Error, Form, HubFile, LabelledImages, Normalisation, Result, Source};

/// Parquet files of a Hub repository with a column of images and a column of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubTable {
    /// The repository, as `owner/name`.
    pub repository: String,
    /// The branch, tag or commit.
    pub revision: String,
    /// The files of the training images.
    pub train: Vec<String>,
    /// The files of the test images.
    pub test: Vec<String>,
    /// The column of the images: bytes, or a group with a column `bytes`.
    pub image: String,
    /// The column of the labels: whole numbers or names.
    pub label: String,
    /// The common form of the images.
    pub form: Form,
}

/// Reads a Hub data set with an image and a label column. The normalisation is measured on the training images.
///
/// **Errors** those of finding, downloading and reading its files, such as [`Error::MissingColumn`].
pub fn load_table(table: &HubTable, source: &Source) -> Result<Dataset> {
    table.form.check()?;
    let name = table.repository.as_str();
    let locate = |files: &[String]| -> Result<Vec<FileLocation>> {
        files
            .iter()
            .map(|file| FileLocation::find(name, HubFile::dataset(name, &table.revision, file), source))
            .collect()
    };
    let tables = Tables {
        name,
        parts: [locate(&table.train)?, Vec::new(), locate(&table.test)?],
        image: Some(&table.image),
        label: Some(&table.label),
        form: table.form,
        names: None,
    };
    tables.read(source, None)
}

/// Parquet files and the options of reading them.
pub(super) struct Tables<'a> {
    pub(super) name: &'a str,
    /// The files of the training, validation and test images.
    pub(super) parts: [Vec<FileLocation>; 3],
    /// The image column; none: the only column that qualifies.
    pub(super) image: Option<&'a str>,
    /// The label column, likewise.
    pub(super) label: Option<&'a str>,
    pub(super) form: Form,
    /// Gives the class names if the files do not list them.
    pub(super) names: Option<&'a dyn Fn() -> Result<Option<Vec<String>>>>,
}

/// The labels of one file.
struct FileLabels {
    path: PathBuf,
    /// The file and column, for messages.
    context: String,
    labels: parquet::Labels,
}

/// Where the rows of a file end among the rows of all files.
struct FileEnd {
    end: usize,
    /// The file and column, for messages.
    context: String,
}

impl Tables<'_> {
    /// Reads the data set from the decoded cache, else decodes it.
    ///
    /// Without test files, the validation files are the test files. Without these too, the last sixth of each class is the
    /// test part.
    pub(super) fn read(mut self, source: &Source, stated: Option<Normalisation>) -> Result<Dataset> {
        if self.parts[2].is_empty() {
            self.parts.swap(1, 2);
        }
        let decoded = decoded::cached(source, &self.inputs(source)?, || self.decode(source, stated.is_none()))?;
        let dataset = decoded.dataset(self.name, stated)?;
        if dataset.test.is_empty() { with_test_split_off(dataset) } else { Ok(dataset) }
    }

    fn inputs(&self, source: &Source) -> Result<Inputs> {
        let recipe = format!("tables {:?}", (self.name, self.image, self.label, self.form));
        let numbered = self.parts.iter().enumerate();
        let files = numbered.flat_map(|(part, files)| files.iter().map(move |file| file.input(part, source)));
        let files = files.collect::<Result<_>>()?;
        Ok(Inputs { recipe, files })
    }

    fn decode(&self, source: &Source, measure: bool) -> Result<Decoded> {
        let opened = self.parts.iter().flatten().map(|file| file.open(source)).collect::<Result<Vec<_>>>()?;
        let mut collector = Collector::new(self.form);
        let (mut rows, mut bytes) = (0usize, 0u64);
        for (path, _) in &opened {
            let extent = parquet::extent(path)?;
            rows = rows.saturating_add(extent.rows);
            bytes = bytes.saturating_add(extent.bytes);
        }
        collector.expect(rows, bytes);
        let (mut labels, mut ends) = (Vec::new(), Vec::new());
        for (path, _) in &opened {
            let columns = parquet::columns(path, self.image, self.label)?;
            let read = parquet::read(path, &columns, &mut collector)?;
            let context = parquet::column_context(path, &columns.label);
            labels.push(FileLabels { path: path.clone(), context, labels: read });
            ends.push(collector.len());
        }
        let Some(shape) = collector.shape() else {
            let looked_at = opened.iter().map(|(_, record)| record.file.clone()).collect();
            let hint = "the files are there but hold no row".to_owned();
            return Err(Error::NotFound { what: format!("images of {}", self.name), looked_at, hint });
        };
        let (labels, names) = self.joined(labels)?;
        let all = LabelledImages::new(self.name, collector.into_pixels(), shape, labels, names)?;
        let end = |part: usize| {
            let files: usize = self.parts[..=part].iter().map(Vec::len).sum();
            files.checked_sub(1).map_or(0, |last| ends[last])
        };
        let parts = [end(0), end(1) - end(0), end(2) - end(1)];
        let normalisation = measure.then(|| all.range(0..parts[0]).measure_normalisation()).transpose()?;
        Ok(Decoded { all, parts, normalisation, files: opened.into_iter().map(|(_, record)| record).collect() })
    }

    /// The labels of all files as numbers of one list of classes, and that list.
    ///
    /// If the files list different classes, as in data sets split by class, classes are identified by their names.
    fn joined(&self, files: Vec<FileLabels>) -> Result<(Vec<u32>, Vec<String>)> {
        let malformed = |path: PathBuf| move |reason| Error::Malformed { path, format: "parquet", reason };
        let first = files.first().and_then(|file| file.labels.names.clone());
        let alike = files.iter().all(|file| file.labels.names == first);
        let (mut joined, mut ends) = (RawLabels::default(), Vec::new());
        for FileLabels { path, context, labels } in files {
            let values = match (&labels.names, alike) {
                (Some(names), false) => labels.values.named(names, &context)?,
                _ => labels.values,
            };
            joined.append(values).map_err(malformed(path))?;
            ends.push(FileEnd { end: joined.len(), context });
        }
        let listed = match (alike, first, self.names) {
            (true, None, Some(names)) => names()?,
            (true, first, _) => first,
            (false, ..) => None,
        };
        joined.resolve(listed, self.name).map_err(|error| in_its_file(error, &ends))
    }
}

/// The error with its file and the row in that file, instead of the row among the rows of all files.
fn in_its_file(error: Error, ends: &[FileEnd]) -> Error {
    let Error::LabelOutOfRange { context, row, label, classes } = error else { return error };
    let at = ends.partition_point(|file| file.end <= row);
    let start = at.checked_sub(1).map_or(0, |before| ends[before].end);
    let context = ends.get(at).map_or(context, |file| file.context.clone());
    Error::LabelOutOfRange { context, row: row - start, label, classes }
}
