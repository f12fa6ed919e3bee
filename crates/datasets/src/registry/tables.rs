//! Data sets that are parquet files with a column of images and one of labels.

use std::path::{Path, PathBuf};

use super::load::divided;
use super::{Entry, Origin};
use crate::decode::Collector;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::{RawLabels, parquet};
use crate::{Dataset, Error, FileRecord, Form, HubFile, LabelledImages, Normalisation, Result, Source, checksum};

/// Parquet files of any Hub repository with a column of images and one of labels.
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
    /// The form that images are read in.
    pub form: Form,
}

/// Any Hub data set with an image and a label column; the normalisation is measured on the training images.
///
/// **Errors** whatever keeps its files from being found, fetched or read, such as [`Error::MissingColumn`].
pub fn load_table(table: &HubTable, source: &Source) -> Result<Dataset> {
    let name = table.repository.as_str();
    let locate = |files: &[String]| -> Result<Vec<Place>> {
        files.iter().map(|file| Place::of(name, [name, &table.revision], file, source)).collect()
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

/// A data set of the registry that the Hub has.
pub(super) fn read_entry(entry: &Entry, source: &Source) -> Result<Dataset> {
    let Origin::Hub { repository, revision, train, test, image, label } = entry.origin else {
        return Err(Error::InvalidOption { option: "origin", problem: format!("{} has no tables", entry.name) });
    };
    let revision = source.revision.as_deref().unwrap_or(revision);
    let locate = |files: &[&str]| -> Result<Vec<Place>> {
        files.iter().map(|file| Place::of(entry.name, [repository, revision], file, source)).collect()
    };
    let parts = [locate(train)?, Vec::new(), locate(test)?];
    let tables =
        Tables { name: entry.name, parts, image: Some(image), label: Some(label), form: entry.form(), names: None };
    Ok(Dataset { split: entry.class_split()?, ..tables.read(source, Some(entry.normalisation()?))? })
}

/// A file on this machine or on the Hub.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Disk(PathBuf),
    Hub(HubFile),
}

impl Place {
    /// A file of a repository: in the given folder, else in the Hub's cache, else on the Hub.
    pub(super) fn of(name: &str, [repository, revision]: [&str; 2], file: &str, source: &Source) -> Result<Self> {
        let Some(folder) = &source.data_dir else {
            return Ok(Self::Hub(HubFile::dataset(repository, revision, file)));
        };
        // As the Hub lays it out, with or without the folders above; or all files in one folder.
        let base = Path::new(file).file_name().map_or(Path::new(file), Path::new);
        let places =
            [folder.join(file), folder.join(repository).join(file), folder.join(name).join(file), folder.join(base)];
        match places.iter().find(|place| place.is_file()) {
            Some(path) => Ok(Self::Disk(path.clone())),
            None => Err(Error::NotFound {
                what: format!("{file} of {name}"),
                looked_at: places.iter().map(|place| place.display().to_string()).collect(),
                hint: "copy the file there, or leave out --data-dir to use the Hub".to_owned(),
            }),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Disk(path) => path.display().to_string(),
            Self::Hub(file) => file.to_string(),
        }
    }

    /// What stands for the file, without reading it where that can be avoided.
    fn input(&self, role: usize, source: &Source) -> Result<Input> {
        let (path, sha256) = match self {
            Self::Disk(path) => (path.clone(), None),
            Self::Hub(file) => {
                let cached = match source.hub.cached(file) {
                    Some(cached) => cached,
                    None => source.hub.verified(file)?,
                };
                (cached.path, cached.sha256)
            }
        };
        Ok(Input { name: format!("{role} {}", self.name()), path, sha256 })
    }

    /// The file, its bytes checked, and how it is recorded.
    pub(super) fn open(&self, source: &Source) -> Result<(PathBuf, FileRecord)> {
        let (path, sha256) = match self {
            Self::Disk(path) => (path.clone(), Some(checksum::of_file(path)?)),
            Self::Hub(file) => {
                let cached = source.hub.verified(file)?;
                (cached.path, cached.sha256)
            }
        };
        Ok((path, FileRecord { file: self.name(), sha256 }))
    }
}

/// Parquet files and how they are read.
pub(super) struct Tables<'a> {
    pub(super) name: &'a str,
    /// To learn from, to choose by, to test on.
    pub(super) parts: [Vec<Place>; 3],
    /// The columns; found by what they hold where they are not named.
    pub(super) image: Option<&'a str>,
    pub(super) label: Option<&'a str>,
    pub(super) form: Form,
    /// Asked for the class names where the files themselves do not list them.
    pub(super) names: Option<&'a dyn Fn() -> Result<Option<Vec<String>>>>,
}

impl Tables<'_> {
    /// The data set, decoded or from the folder of decoded images.
    ///
    /// Without files to test on, those to choose by take their place; without these too, the last sixth of each class.
    pub(super) fn read(mut self, source: &Source, stated: Option<Normalisation>) -> Result<Dataset> {
        if self.parts[2].is_empty() {
            self.parts.swap(1, 2);
        }
        let decoded = decoded::cached(source, &self.inputs(source)?, || self.decode(source, stated.is_none()))?;
        let dataset = decoded.dataset(self.name, stated)?;
        if dataset.test.is_empty() { divided(dataset) } else { Ok(dataset) }
    }

    fn inputs(&self, source: &Source) -> Result<Inputs> {
        let recipe = format!("tables {:?}", (self.name, self.image, self.label, self.form));
        let places = self.parts.iter().enumerate().flat_map(|(role, places)| places.iter().map(move |p| (role, p)));
        let files = places.map(|(role, place)| place.input(role, source)).collect::<Result<_>>()?;
        Ok(Inputs { recipe, files })
    }

    fn decode(&self, source: &Source, measure: bool) -> Result<Decoded> {
        let places: Vec<&Place> = self.parts.iter().flatten().collect();
        let opened = places.iter().map(|place| place.open(source)).collect::<Result<Vec<_>>>()?;
        let mut collector = Collector::new(self.form);
        let mut expected = (0usize, 0u64);
        for (path, _) in &opened {
            let (rows, bytes) = parquet::extent(path)?;
            expected = (expected.0.saturating_add(rows), expected.1.saturating_add(bytes));
        }
        collector.expect(expected.0, expected.1);
        let (mut labels, mut ends) = (Vec::new(), Vec::new());
        for (path, _) in &opened {
            let columns = parquet::columns(path, self.image, self.label)?;
            let read = parquet::read(path, &columns, &mut collector)?;
            labels.push((path.clone(), parquet::place_of(path, &columns.label), read));
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

    /// Labels of all files as numbers of one list of classes.
    ///
    /// Files that list other classes than the first have theirs found by name, as in data sets split by class.
    fn joined(&self, files: Vec<(PathBuf, String, parquet::Labels)>) -> Result<(Vec<u32>, Vec<String>)> {
        let malformed = |path: PathBuf| move |reason| Error::Malformed { path, format: "parquet", reason };
        let first = files.first().and_then(|(.., labels)| labels.names.clone());
        let alike = files.iter().all(|(.., labels)| labels.names == first);
        let (mut joined, mut ends) = (RawLabels::default(), Vec::new());
        for (path, place, labels) in files {
            let values = match (&labels.names, alike) {
                (Some(names), false) => labels.values.named(names, &place)?,
                _ => labels.values,
            };
            joined.append(values).map_err(malformed(path))?;
            ends.push((joined.len(), place));
        }
        let listed = match (alike, first, self.names) {
            (true, None, Some(ask)) => ask()?,
            (true, first, _) => first,
            (false, ..) => None,
        };
        joined.resolve(listed, self.name).map_err(|error| in_its_file(error, &ends))
    }
}

/// The error with the table and the row in it, in place of the row among those of all tables, which end at `ends`.
fn in_its_file(error: Error, ends: &[(usize, String)]) -> Error {
    let Error::LabelOutOfRange { context, row, label, classes } = error else { return error };
    let at = ends.partition_point(|(end, _)| *end <= row);
    let start = at.checked_sub(1).map_or(0, |before| ends[before].0);
    let context = ends.get(at).map_or(context, |(_, place)| place.clone());
    Error::LabelOutOfRange { context, row: row - start, label, classes }
}
