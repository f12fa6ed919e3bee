//! From an entry and a source to a data set in memory.

use std::path::{Path, PathBuf};

use super::{Entry, Origin, find};
use crate::decode::Collector;
use crate::formats::{RawLabels, parquet};
use crate::{Dataset, Error, FileRecord, Glyphs, HubFile, LabelledImages, Result, Source};

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
    };
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

fn read_tables(entry: &Entry, source: &Source) -> Result<Dataset> {
    let Origin::Hub { train, test, image, label, .. } = entry.origin else {
        return Err(Error::InvalidOption { option: "origin", problem: format!("{} has no tables", entry.name) });
    };
    let locate = |files: &[&str]| files.iter().map(|file| locate(entry, file, source)).collect::<Result<Vec<_>>>();
    let (train, test) = (locate(train)?, locate(test)?);
    let mut collector = Collector::new(entry.form());
    let (mut labels, mut names, mut train_count) = (RawLabels::default(), None, 0);
    for (index, file) in train.iter().chain(&test).enumerate() {
        let read = parquet::read(&file.path, parquet::Columns { image, label }, &mut collector)?;
        labels.append(read.values).map_err(|reason| malformed(&file.path, reason))?;
        names = names.or(read.names);
        if index < train.len() {
            train_count = collector.len();
        }
    }
    let (labels, names) = labels.resolve(names, entry.name)?;
    let shape = collector.shape().unwrap_or(entry.shape);
    let all = LabelledImages::new(entry.name, collector.pixels, shape, labels, names)?;
    check_counts(entry, &all, train_count)?;
    Ok(Dataset {
        name: entry.name.to_owned(),
        train: all.range(0..train_count),
        test: all.range(train_count..all.len()),
        normalisation: entry.normalisation()?,
        split: entry.class_split()?,
        files: train.into_iter().chain(test).map(|file| file.record).collect(),
    })
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Malformed { path: path.to_owned(), format: "parquet", reason }
}

fn check_counts(entry: &Entry, all: &LabelledImages, train: usize) -> Result<()> {
    let test = all.len() - train;
    let checks = [
        ("training images", entry.train_count.unwrap_or(train), train),
        ("test images", entry.test_count.unwrap_or(test), test),
        ("classes", entry.classes, all.class_count()),
    ];
    if all.shape() != entry.shape {
        let (expected, got) = (format!("{:?}", entry.shape), format!("{:?}", all.shape()));
        return Err(Error::Inconsistent { dataset: entry.name.to_owned(), what: "image shape", expected, got });
    }
    match checks.into_iter().find(|(_, expected, got)| expected != got) {
        None => Ok(()),
        Some((what, expected, got)) => Err(Error::Inconsistent {
            dataset: entry.name.to_owned(),
            what,
            expected: expected.to_string(),
            got: got.to_string(),
        }),
    }
}

/// A file of an entry: in the given folder, else in the Hub's cache, else from the Hub.
fn locate(entry: &Entry, file: &str, source: &Source) -> Result<Located> {
    let Origin::Hub { repository, revision, .. } = entry.origin else {
        return Err(Error::InvalidOption { option: "origin", problem: format!("{} is not on the Hub", entry.name) });
    };
    let Some(folder) = &source.data_dir else {
        let file = HubFile { repository: repository.to_owned(), revision: revision.to_owned(), path: file.to_owned() };
        let cached = source.hub.verified(&file)?;
        let record = FileRecord { file: file.to_string(), sha256: cached.sha256 };
        return Ok(Located { path: cached.path, record });
    };
    // As the Hub lays it out, with or without the folders above; or all files in one folder.
    let base = Path::new(file).file_name().map(Path::new).unwrap_or(Path::new(file));
    let places =
        [folder.join(file), folder.join(repository).join(file), folder.join(entry.name).join(file), folder.join(base)];
    match places.iter().find(|place| place.is_file()) {
        Some(path) => {
            let record = FileRecord { file: path.display().to_string(), sha256: None };
            Ok(Located { path: path.clone(), record })
        }
        None => Err(Error::NotFound {
            what: format!("{file} of {}", entry.name),
            looked_at: places.iter().map(|place| place.display().to_string()).collect(),
            hint: "copy the file there, or leave out --data-dir to use the Hub".to_owned(),
        }),
    }
}
