//! From a name and a source to a data set in memory.

use super::digits;
use super::entry::{Entry, Origin};
use super::name::{Name, Repository};
use crate::{ClassSplit, Dataset, Error, Glyphs, LabelledImages, Result, Source};

/// The default number of training images per class of `glyphs`.
const GLYPHS_TRAIN: usize = 200;

/// The default number of test images per class of `glyphs`.
const GLYPHS_TEST: usize = 100;

/// Loads the data set with this name, from the first place of `source` that has it.
///
/// **Conventions** a name is one of the registry ([`entries`](crate::entries)); or `hub:owner/name` or
/// `hub:owner/name@revision`, the parquet files of any data set of the Hub; or `folder:path` (or `folder`, with
/// [`Source::data_dir`]), image folders laid out as `train/class/image`, `val/class/image`, `test/class/image`.
///
/// **Errors** [`Error::UnknownDataset`], [`Error::MissingFeature`] if its files need a feature that is off, and those of
/// finding, downloading and reading its files.
///
/// ```
/// use datasets::{Hub, Source};
/// let source = Source { train_per_class: Some(2), test_per_class: Some(1), ..Source::of_hub(Hub::new("", "")) };
/// let glyphs = datasets::load("glyphs", &source)?;
/// assert_eq!(glyphs.target_classes()?.train.len(), 2 * glyphs.class_split()?.test().len());
/// # datasets::Result::Ok(())
/// ```
pub fn load(name: &str, source: &Source) -> Result<Dataset> {
    source.form.check()?;
    let dataset = match Name::parse(name, source)? {
        Name::Entry(entry) if entry.origin == Origin::Embedded => return draw_glyphs(entry, source),
        Name::Entry(entry) => {
            let dataset = read_entry(entry, source)?;
            check_counts(entry, &dataset)?;
            dataset
        }
        Name::Repository(repository) => {
            let dataset = read_repository(&repository, source)?;
            if source.classes.is_none() {
                dataset.all()?.check_no_class_empty()?;
            }
            dataset
        }
        #[cfg(feature = "image")]
        Name::Folder(path) => super::folders::read(&path, source)?,
        #[cfg(not(feature = "image"))]
        Name::Folder(_) => return Err(no_decoder(name)),
    };
    Ok(limited(chosen(dataset, source)?, source))
}

/// The class lists of the data set with this name, without reading its images: published lists, the parts of a folder that
/// share no class, Omniglot's alphabets. None if the data set has none.
///
/// **Errors** [`Error::UnknownDataset`]; [`Error::NotFound`] or [`Error::Io`] for a folder that does not exist.
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
        #[cfg(feature = "image")]
        Name::Entry(entry) if entry.origin == Origin::Omniglot => super::omniglot::lists(entry, source),
        #[cfg(feature = "image")]
        Name::Folder(path) => super::folders::lists(&path),
        #[cfg(not(feature = "image"))]
        Name::Folder(_) => Err(no_decoder(name)),
        Name::Entry(entry) => entry.class_split(),
        Name::Repository(_) => Ok(None),
    }
}

fn read_entry(entry: &Entry, source: &Source) -> Result<Dataset> {
    match entry.origin {
        Origin::Hub { .. } => match digits::find(entry, source)? {
            Some(files) => digits::read(entry, &files, source),
            None => read_tables(entry, source),
        },
        #[cfg(feature = "image")]
        Origin::Folder => super::mini_imagenet::read(entry, source),
        #[cfg(feature = "image")]
        Origin::Omniglot => super::omniglot::read(entry, source),
        #[cfg(not(feature = "image"))]
        Origin::Folder | Origin::Omniglot => Err(no_decoder(entry.name)),
        Origin::Embedded => draw_glyphs(entry, source),
    }
}

/// Reads a data set of the registry from the parquet files of its Hub repository.
#[cfg(feature = "parquet")]
fn read_tables(entry: &Entry, source: &Source) -> Result<Dataset> {
    use super::location::FileLocation;
    use super::tables::Tables;
    use crate::HubFile;

    let Origin::Hub { repository, revision, train, test, image, label } = entry.origin else {
        return Err(Error::InvalidOption { option: "origin", problem: format!("{} has no tables", entry.name) });
    };
    let revision = source.revision.as_deref().unwrap_or(revision);
    let locate = |files: &[&str]| -> Result<Vec<FileLocation>> {
        let file = |path: &&str| FileLocation::find(entry.name, HubFile::dataset(repository, revision, path), source);
        files.iter().map(file).collect()
    };
    let parts = [locate(train)?, Vec::new(), locate(test)?];
    let tables =
        Tables { name: entry.name, parts, image: Some(image), label: Some(label), form: entry.form(), names: None };
    Ok(Dataset { split: entry.class_split()?, ..tables.read(source, Some(entry.normalisation()?))? })
}

#[cfg(not(feature = "parquet"))]
fn read_tables(entry: &Entry, _: &Source) -> Result<Dataset> {
    Err(Error::missing_feature("parquet", format!("reading {} from parquet files", entry.name)))
}

#[cfg(feature = "parquet")]
fn read_repository(repository: &Repository, source: &Source) -> Result<Dataset> {
    super::repository::read(repository, source)
}

#[cfg(not(feature = "parquet"))]
fn read_repository(repository: &Repository, _: &Source) -> Result<Dataset> {
    Err(Error::missing_feature("parquet", format!("reading {} from parquet files", repository.id)))
}

/// The error of a data set or folder whose images cannot be decoded.
#[cfg(not(feature = "image"))]
pub(super) fn no_decoder(name: impl std::fmt::Display) -> Error {
    Error::missing_feature("image", format!("decoding the images of {name}"))
}

fn draw_glyphs(entry: &Entry, source: &Source) -> Result<Dataset> {
    let mut glyphs = Glyphs { seed: source.seed, ..source.glyphs.clone() };
    if let Some(classes) = &source.classes {
        glyphs.classes.clone_from(classes);
    }
    let split = entry.class_split()?.map(|split| split.restricted_to(&glyphs.classes));
    let (train, test) = glyphs
        .draw_both(source.train_per_class.unwrap_or(GLYPHS_TRAIN), source.test_per_class.unwrap_or(GLYPHS_TEST))?;
    let (name, normalisation) = (entry.name.to_owned(), entry.normalisation()?);
    Ok(Dataset { name, train, validation: None, test, normalisation, split, files: Vec::new(), skipped_files: 0 })
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

fn check_counts(entry: &Entry, dataset: &Dataset) -> Result<()> {
    let (train, test) = (&dataset.train, &dataset.test);
    let inconsistent = |what, expected: String, got: String| {
        Err(Error::Inconsistent { dataset: entry.name.to_owned(), what, expected, got })
    };
    if train.shape() != entry.shape {
        return inconsistent("image shape", format!("{:?}", entry.shape), format!("{:?}", train.shape()));
    }
    // An entry without counts may be present in part, with some of its classes.
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
