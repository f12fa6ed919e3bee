//! Bringing data sets to this machine and checking them, without keeping them in memory.

use super::{Entry, Origin, find, load};
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
    let entry = find(name)?;
    let record = |file: HubFile| {
        let cached = source.hub.verified(&file)?;
        Ok(FileRecord { file: file.to_string(), sha256: cached.sha256 })
    };
    hub_files(entry)?.into_iter().map(record).collect()
}

/// Reads a data set wholly: its checksums, counts, classes, labels and every image.
///
/// **Errors** whatever is wrong with it.
pub fn verify(name: &str, source: &Source) -> Result<Vec<FileRecord>> {
    let whole = Source { classes: None, train_per_class: None, test_per_class: None, ..source.clone() };
    Ok(load(name, &whole)?.files)
}

fn hub_files(entry: &Entry) -> Result<Vec<HubFile>> {
    match entry.origin {
        Origin::Embedded => Ok(Vec::new()),
        Origin::Hub { repository, revision, train, test, .. } => {
            let file = |path: &&str| HubFile {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
                path: (*path).to_owned(),
            };
            Ok(train.iter().chain(test).map(file).collect())
        }
        Origin::Folder | Origin::Omniglot => Err(Error::NotFound {
            what: format!("a download of {}", entry.name),
            looked_at: Vec::new(),
            hint: "get it from its authors and give its folder with --data-dir".to_owned(),
        }),
    }
}
