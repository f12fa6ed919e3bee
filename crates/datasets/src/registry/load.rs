//! From a name and a source to a data set in memory.

use super::{Entry, Name, Origin, digits, folders, repository, tables};
use crate::{ClassSplit, Dataset, Error, Glyphs, LabelledImages, Result, Source};

/// Training images that `glyphs` draws of every class unless told otherwise.
const GLYPHS_TRAIN: usize = 200;

/// Test images likewise.
const GLYPHS_TEST: usize = 100;

/// Of each class's images, in their order, the last sixth are test images where nothing else says so: 100 of 600 in
/// mini-ImageNet, as in CIFAR-FS.
const TEST_SHARE: usize = 6;

/// The data set with this name, from wherever `source` finds it first.
///
/// **Conventions** a name is one of the registry ([`entries`](crate::entries)); or `hub:owner/name` or
/// `hub:owner/name@revision`, the parquet files of any data set of the Hub; or `folder:path` (or `folder`, with
/// [`Source::data_dir`]), image folders laid out as `train/class/image`, `val/class/image`, `test/class/image`.
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
    let dataset = match Name::parse(name, source)? {
        Name::Entry(entry) if entry.origin == Origin::Embedded => return draw_glyphs(entry, source),
        Name::Entry(entry) => {
            let dataset = read_entry(entry, source)?;
            check_counts(entry, &dataset)?;
            dataset
        }
        Name::Repository(repository) => {
            let dataset = repository::read(&repository, source)?;
            if source.classes.is_none() {
                dataset.all()?.check_no_class_empty()?;
            }
            dataset
        }
        Name::Folder(path) => folders::read(&path, source)?,
    };
    Ok(limited(chosen(dataset, source)?, source))
}

/// The class lists of the data set with this name, where they are known before its images are read: published lists, the
/// parts of a folder that share no class, Omniglot's alphabets.
///
/// **Errors** [`Error::UnknownDataset`]; [`Error::NotFound`] or [`Error::Io`] where it is a folder that is not there.
///
/// ```
/// let source = datasets::Source::from_env();
/// let split = datasets::class_split("cifar-fs", &source)?.expect("published lists");
/// assert_eq!(split.test().len(), 20);
/// assert_eq!(datasets::class_split("hub:owner/name", &source)?, None);
/// # datasets::Result::Ok(())
/// ```
pub fn class_split(name: &str, source: &Source) -> Result<Option<ClassSplit>> {
    match Name::parse(name, source)? {
        Name::Entry(entry) if entry.origin == Origin::Omniglot => folders::omniglot_lists(entry, source),
        Name::Entry(entry) => entry.class_split(),
        Name::Folder(path) => folders::lists(&path),
        Name::Repository(_) => Ok(None),
    }
}

fn read_entry(entry: &Entry, source: &Source) -> Result<Dataset> {
    match entry.origin {
        Origin::Hub { .. } => match digits::find(entry, source)? {
            Some(files) => digits::read(entry, &files, source),
            None => tables::read_entry(entry, source),
        },
        Origin::Folder => folders::read_mini_imagenet(entry, source),
        Origin::Omniglot => folders::read_omniglot(entry, source),
        Origin::Embedded => draw_glyphs(entry, source),
    }
}

fn draw_glyphs(entry: &Entry, source: &Source) -> Result<Dataset> {
    let mut glyphs = Glyphs { seed: source.seed, ..source.glyphs.clone() };
    if let Some(classes) = &source.classes {
        glyphs.classes.clone_from(classes);
    }
    let split = entry.class_split()?.map(|split| split.restricted_to(&glyphs.classes));
    let (train, test) = glyphs
        .draw_both(source.train_per_class.unwrap_or(GLYPHS_TRAIN), source.test_per_class.unwrap_or(GLYPHS_TEST))?;
    let name = entry.name.to_owned();
    Ok(Dataset { name, train, validation: None, test, normalisation: entry.normalisation()?, split, files: Vec::new() })
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
        validation: dataset.validation.map(|images| limit(images, source.test_per_class)),
        test: limit(dataset.test, source.test_per_class),
        ..dataset
    }
}

/// The last images of each class of `train`, which holds all there are, become those to test on.
pub(super) fn divided(dataset: Dataset) -> Result<Dataset> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for positions in dataset.train.positions_by_class() {
        let (learn, try_on) = positions.split_at(positions.len() - positions.len() / TEST_SHARE);
        train.extend_from_slice(learn);
        test.extend_from_slice(try_on);
    }
    // In their old order, as in every view.
    train.sort_unstable();
    test.sort_unstable();
    let (train, test) = (dataset.train.select(&train)?, dataset.train.select(&test)?);
    Ok(Dataset { train, test, ..dataset })
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
