//! Bringing data sets to this machine and checking them, without keeping them in memory.

use super::tables::Place;
use super::{Entry, Name, Origin, load, repository};
use crate::{Error, FileRecord, HubFile, Result, Source};

/// Brings the files of a data set into the Hub's cache, those that are not there yet.
///
/// **Errors** those of [`Hub::file`](crate::Hub::file); [`Error::NotFound`] for a data set that is not on the Hub.
///
/// ```
/// let source = datasets::Source::from_env();
/// assert!(datasets::fetch("glyphs", &source)?.is_empty(), "what is drawn has no files");
/// # datasets::Result::Ok(())
/// ```
pub fn fetch(name: &str, source: &Source) -> Result<Vec<FileRecord>> {
    let elsewhere = |name: &str| Error::NotFound {
        what: format!("{name} on the Hub"),
        looked_at: Vec::new(),
        hint: "get it from its authors and give its folder with --data-dir".to_owned(),
    };
    let places = match Name::parse(name, source)? {
        Name::Entry(entry) => match entry.origin {
            Origin::Embedded => Vec::new(),
            Origin::Hub { .. } => hub_files(entry, source),
            Origin::Folder | Origin::Omniglot => return Err(elsewhere(entry.name)),
        },
        Name::Repository(repository) => repository::files(&repository, source)?,
        Name::Folder(path) => return Err(elsewhere(&path.display().to_string())),
    };
    places.iter().map(|place| Ok(place.open(source)?.1)).collect()
}

/// Reads a data set wholly: its checksums, counts, classes, labels and every image, without the decoded cache.
///
/// **Errors** whatever is wrong with it.
pub fn verify(name: &str, source: &Source) -> Result<Vec<FileRecord>> {
    let whole = Source { classes: None, train_per_class: None, test_per_class: None, decoded: None, ..source.clone() };
    Ok(load(name, &whole)?.files)
}

fn hub_files(entry: &Entry, source: &Source) -> Vec<Place> {
    let Origin::Hub { repository, revision, train, test, .. } = entry.origin else { return Vec::new() };
    let revision = source.revision.as_deref().unwrap_or(revision);
    let file = |path: &&str| HubFile::dataset(repository, revision, path);
    train.iter().chain(test).map(file).map(Place::Hub).collect()
}
