//! Downloading and checking data sets without keeping them in memory.

use super::entry::{Entry, Origin};
use super::load::load;
use super::location::FileLocation;
use super::name::Name;
use super::repository;
use crate::{Error, FileRecord, HubFile, Result, Source};

/// Downloads the files of a data set that the Hub's cache lacks, and gives the records of all its files.
///
/// **Errors** those of [`Hub::file`](crate::Hub::file); [`Error::NotFound`] for a data set that is not on the Hub.
///
/// ```
/// let source = datasets::Source::from_env();
/// assert!(datasets::fetch("glyphs", &source)?.is_empty(), "drawn images have no files");
/// # datasets::Result::Ok(())
/// ```
pub fn fetch(name: &str, source: &Source) -> Result<Vec<FileRecord>> {
    let elsewhere = |name: &str| Error::NotFound {
        what: format!("{name} on the Hub"),
        looked_at: Vec::new(),
        hint: "get it from its authors and give its folder with --data-dir".to_owned(),
    };
    let files = match Name::parse(name, source)? {
        Name::Entry(entry) => match entry.origin {
            Origin::Embedded => Vec::new(),
            Origin::Hub { .. } => hub_files(entry, source),
            Origin::Folder | Origin::Omniglot => return Err(elsewhere(entry.name)),
        },
        Name::Repository(repository) => repository::files(&repository, source)?,
        Name::Folder(path) => return Err(elsewhere(&path.display().to_string())),
    };
    files.iter().map(|file| Ok(file.open(source)?.1)).collect()
}

/// Reads a data set completely and checks its checksums, counts, classes, labels and every image. The decoded cache is not
/// used.
///
/// **Errors** those of [`load`].
pub fn verify(name: &str, source: &Source) -> Result<Vec<FileRecord>> {
    let whole = Source { classes: None, train_per_class: None, test_per_class: None, decoded: None, ..source.clone() };
    Ok(load(name, &whole)?.files)
}

fn hub_files(entry: &Entry, source: &Source) -> Vec<FileLocation> {
    let Origin::Hub { repository, revision, train, test, .. } = entry.origin else { return Vec::new() };
    let revision = source.revision.as_deref().unwrap_or(revision);
    let file = |path: &&str| HubFile::dataset(repository, revision, path);
    train.iter().chain(test).map(file).map(FileLocation::Hub).collect()
}
