//! From an entry and a source to a data set in memory.

use std::path::{Path, PathBuf};

use super::{Entry, Origin, find, folders};
use crate::decode::Collector;
use crate::formats::{RawLabels, parquet};
use crate::{Dataset, Error, FileRecord, Form, Glyphs, HubFile, LabelledImages, Result, Source};

/// Training images that `glyphs` draws of every class unless told otherwise.
const GLYPHS_TRAIN: usize = 200;

/// Test images likewise.
const GLYPHS_TEST: usize = 100;

/// The data set with this name, from wherever `source` finds it first.
///
/// **Errors** [`Error::UnknownDataset`], and whatever keeps its files from being found, fetched or read.
///
/// ```
/// use datasets::{Hub, Source};
/// let source = Source { train_per_class: Some(2), test_per_class: Some(1), ..Source::of_hub(Hub::new("", "")) };
/// let glyphs = datasets::load("glyphs", &source)?;
/// assert_eq!(glyphs.target_classes()?.train.len(), 2 * glyphs.class_split()?.test().len());
/// # datasets::Result::Ok(())
/// ```
pub fn load(name: &str, source: &Source) -> Result<Dataset> {
    let entry = find(name)?;
    let dataset = match entry.origin {
        Origin::Embedded => return draw_glyphs(entry, source),
        Origin::Hub { .. } => read_tables(entry, source)?,
        Origin::Folder => folders::read_folder(entry, source)?,
        Origin::Omniglot => folders::read_omniglot(entry, source)?,
    };
    check_counts(entry, &dataset)?;
    Ok(limited(chosen(dataset, source)?, source))
}

fn draw_glyphs(entry: &Entry, source: &Source) -> Result<Dataset> {
    let mut glyphs = Glyphs { seed: source.seed, variation: source.variation, ..Glyphs::default() };
    let mut split = entry.class_split()?;
    if let Some(classes) = &source.classes {
        split = split.map(|split| split.restricted_to(classes));
        glyphs.classes.clone_from(classes);
    }
    let (train, test) = glyphs
        .draw_both(source.train_per_class.unwrap_or(GLYPHS_TRAIN), source.test_per_class.unwrap_or(GLYPHS_TEST))?;
    Ok(Dataset {
        name: entry.name.to_owned(),
        train,
        test,
        normalisation: entry.normalisation()?,
        split,
        files: Vec::new(),
    })
}

fn chosen(dataset: Dataset, source: &Source) -> Result<Dataset> {
    let Some(classes) = &source.classes else { return Ok(dataset) };
    let split = dataset.split.as_ref().map(|split| split.restricted_to(classes));
    Ok(Dataset { split, ..dataset.with_classes(classes)? })
}

fn limited(dataset: Dataset, source: &Source) -> Dataset {
    let limit = |images: LabelledImages, count: Option<usize>| match count {
        Some(count) => images.limit_per_class(count, source.seed),
        None => images,
    };
    Dataset {
        train: limit(dataset.train, source.train_per_class),
        test: limit(dataset.test, source.test_per_class),
        ..dataset
    }
}

/// A file on this machine and how it is recorded.
struct Located {
    path: PathBuf,
    record: FileRecord,
}

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
    let locate = |files: &[String]| -> Result<Vec<Located>> {
        files.iter().map(|file| locate(name, [name, &table.revision], file, source)).collect()
    };
    let columns = parquet::Columns { image: &table.image, label: &table.label };
    let tables = read_files(name, [locate(&table.train)?, locate(&table.test)?], columns, table.form)?;
    let (train, test) = tables.parts();
    let normalisation = train.measure_normalisation()?;
    let dataset = Dataset { name: name.to_owned(), train, test, normalisation, split: None, files: tables.files };
    Ok(limited(chosen(dataset, source)?, source))
}

fn read_tables(entry: &Entry, source: &Source) -> Result<Dataset> {
    let Origin::Hub { repository, revision, train, test, image, label } = entry.origin else {
        return Err(Error::InvalidOption { option: "origin", problem: format!("{} has no tables", entry.name) });
    };
    let locate = |files: &[&str]| -> Result<Vec<Located>> {
        files.iter().map(|file| locate(entry.name, [repository, revision], file, source)).collect()
    };
    let columns = parquet::Columns { image, label };
    let tables = read_files(entry.name, [locate(train)?, locate(test)?], columns, entry.form())?;
    let (train, test) = tables.parts();
    Ok(Dataset {
        name: entry.name.to_owned(),
        train,
        test,
        normalisation: entry.normalisation()?,
        split: entry.class_split()?,
        files: tables.files,
    })
}

/// All images of some files, the training images first.
struct Tables {
    all: LabelledImages,
    train_count: usize,
    files: Vec<FileRecord>,
}

impl Tables {
    fn parts(&self) -> (LabelledImages, LabelledImages) {
        (self.all.range(0..self.train_count), self.all.range(self.train_count..self.all.len()))
    }
}

fn read_files(
    name: &str,
    [train, test]: [Vec<Located>; 2],
    columns: parquet::Columns<'_>,
    form: Form,
) -> Result<Tables> {
    let mut collector = Collector::new(form);
    let (mut labels, mut names, mut train_count) = (RawLabels::default(), None, 0);
    for (index, file) in train.iter().chain(&test).enumerate() {
        let read = parquet::read(&file.path, columns, &mut collector)?;
        labels.append(read.values).map_err(|reason| malformed(&file.path, reason))?;
        names = names.or(read.names);
        if index < train.len() {
            train_count = collector.len();
        }
    }
    let Some(shape) = collector.shape() else {
        let looked_at = train.iter().chain(&test).map(|file| file.record.file.clone()).collect();
        let hint = "the files are there but hold no row".to_owned();
        return Err(Error::NotFound { what: format!("images of {name}"), looked_at, hint });
    };
    let (labels, names) = labels.resolve(names, name)?;
    let all = LabelledImages::new(name, collector.pixels, shape, labels, names)?;
    let files = train.into_iter().chain(test).map(|file| file.record).collect();
    Ok(Tables { all, train_count, files })
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Malformed { path: path.to_owned(), format: "parquet", reason }
}

fn check_counts(entry: &Entry, dataset: &Dataset) -> Result<()> {
    let (train, test) = (&dataset.train, &dataset.test);
    let inconsistent = |what, expected: String, got: String| {
        Err(Error::Inconsistent { dataset: entry.name.to_owned(), what, expected, got })
    };
    if train.shape() != entry.shape {
        return inconsistent("image shape", format!("{:?}", entry.shape), format!("{:?}", train.shape()));
    }
    // Without counts the data set may be there in part, with some of its classes.
    let classes = if entry.train_count.is_some() { entry.classes } else { train.class_count() };
    let checks = [
        ("training images", entry.train_count.unwrap_or(train.len()), train.len()),
        ("test images", entry.test_count.unwrap_or(test.len()), test.len()),
        ("classes", classes, train.class_count()),
    ];
    match checks.into_iter().find(|(_, expected, got)| expected != got) {
        None => Ok(()),
        Some((what, expected, got)) => inconsistent(what, expected.to_string(), got.to_string()),
    }
}

/// A file of a repository: in the given folder, else in the Hub's cache, else from the Hub.
fn locate(name: &str, [repository, revision]: [&str; 2], file: &str, source: &Source) -> Result<Located> {
    let Some(folder) = &source.data_dir else {
        let file = HubFile { repository: repository.to_owned(), revision: revision.to_owned(), path: file.to_owned() };
        let cached = source.hub.verified(&file)?;
        let record = FileRecord { file: file.to_string(), sha256: cached.sha256 };
        return Ok(Located { path: cached.path, record });
    };
    // As the Hub lays it out, with or without the folders above; or all files in one folder.
    let base = Path::new(file).file_name().map_or(Path::new(file), Path::new);
    let places =
        [folder.join(file), folder.join(repository).join(file), folder.join(name).join(file), folder.join(base)];
    match places.iter().find(|place| place.is_file()) {
        Some(path) => {
            let record = FileRecord { file: path.display().to_string(), sha256: None };
            Ok(Located { path: path.clone(), record })
        }
        None => Err(Error::NotFound {
            what: format!("{file} of {name}"),
            looked_at: places.iter().map(|place| place.display().to_string()).collect(),
            hint: "copy the file there, or leave out --data-dir to use the Hub".to_owned(),
        }),
    }
}
