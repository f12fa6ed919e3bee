//! Any data set of the Hub by its id. The configuration and part of each file are found from its name.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

#[cfg(feature = "parquet")]
use super::card;
use super::location::FileLocation;
use super::name::Repository;
#[cfg(feature = "parquet")]
use super::tables::Tables;
#[cfg(feature = "parquet")]
use crate::Dataset;
use crate::{Error, HubFile, Result, Source};

/// The branch on which the Hub keeps a parquet copy of data sets in other formats.
const CONVERTED: &str = "refs/convert/parquet";

/// The names of the training, validation and test part.
const SPLITS: [&[&str]; 3] =
    [&["train", "training"], &["validation", "valid", "val", "dev"], &["test", "testing", "eval", "evaluation"]];

/// Reads a data set. Columns, class names and parts are found in its files unless the source names them.
#[cfg(feature = "parquet")]
pub(super) fn read(repository: &Repository, source: &Source) -> Result<Dataset> {
    let found = find(repository, source)?;
    let names = || class_names(repository, &found, source);
    let tables = Tables {
        name: &repository.id,
        parts: found.locations(),
        image: source.image_column.as_deref(),
        label: source.label_column.as_deref(),
        form: source.form,
        names: Some(&names),
    };
    tables.read(source, None)
}

/// The tables of a data set. Its card is downloaded too, if it has one.
pub(super) fn files(repository: &Repository, source: &Source) -> Result<Vec<FileLocation>> {
    let found = find(repository, source)?;
    card_text(repository, &found, source)?;
    Ok(found.locations().into_iter().flatten().collect())
}

/// The files of one configuration, by part.
struct Found {
    /// Selects the class names in the card.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "class names are read with the tables only"))]
    configuration: String,
    parts: [Vec<String>; 3],
    root: Root,
}

/// What the paths of a data set's files are relative to.
enum Root {
    Folder(PathBuf),
    /// A revision of a repository of the Hub.
    Hub {
        repository: String,
        revision: String,
    },
}

impl Found {
    fn locations(&self) -> [Vec<FileLocation>; 3] {
        self.parts.clone().map(|files| files.iter().map(|path| self.root.file(path)).collect())
    }
}

impl Root {
    fn file(&self, path: &str) -> FileLocation {
        match self {
            Self::Folder(folder) => FileLocation::Disk(folder.join(path)),
            Self::Hub { repository, revision } => FileLocation::Hub(HubFile::dataset(repository, revision, path)),
        }
    }
}

fn find(repository: &Repository, source: &Source) -> Result<Found> {
    let wanted = source.configuration.as_deref();
    if let Some(folder) = &source.data_dir {
        let own = folder.join(&repository.id);
        let folder = if own.is_dir() { own } else { folder.clone() };
        let files = below(&folder)?;
        let (configuration, parts) = chosen(&repository.id, &files, wanted, &[folder.display().to_string()])?;
        return Ok(Found { configuration, parts, root: Root::Folder(folder) });
    }
    let revision = repository.revision.as_deref().or(source.revision.as_deref());
    let revisions = revision.map_or(vec!["main", CONVERTED], |revision| vec![revision]);
    let mut looked_at = Vec::new();
    for revision in &revisions {
        let listing = match source.hub.listing(&repository.id, revision) {
            // Not every repository has the copy.
            Err(Error::NotFound { .. }) if *revision == CONVERTED => continue,
            other => other?,
        };
        looked_at.push(format!("{}@{revision}", repository.id));
        if !listing.files.iter().any(|file| is_table(file)) {
            continue;
        }
        let (configuration, parts) = chosen(&repository.id, &listing.files, wanted, &looked_at)?;
        let root = Root::Hub { repository: repository.id.clone(), revision: listing.revision };
        return Ok(Found { configuration, parts, root });
    }
    if source.hub.offline {
        let (file, cache) = (format!("a parquet file of {}", repository.id), source.hub.cache.clone());
        return Err(Error::Offline { file, cache });
    }
    let hint = "it has no parquet files; download it and give its folder with --data-dir".to_owned();
    Err(Error::NotFound { what: format!("tables of {}", repository.id), looked_at, hint })
}

/// The class names in the data set's card, for tables that do not list them.
#[cfg(feature = "parquet")]
fn class_names(repository: &Repository, found: &Found, source: &Source) -> Result<Option<Vec<String>>> {
    let text = card_text(repository, found, source)?;
    Ok(text.and_then(|text| card::class_names(&text, &found.configuration, source.label_column.as_deref())))
}

/// The text of the data set's card. None if it has none, or if the cache lacks it and the network must not be used.
fn card_text(repository: &Repository, found: &Found, source: &Source) -> Result<Option<String>> {
    let path = match &found.root {
        Root::Folder(folder) => folder.join("README.md"),
        Root::Hub { revision, .. } => {
            let revision = if revision == CONVERTED { "main" } else { revision };
            let card = HubFile::dataset(&repository.id, revision, "README.md");
            match source.hub.file(&card) {
                Ok(path) => path,
                Err(Error::NotFound { .. } | Error::Offline { .. } | Error::MissingFeature { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    };
    Ok(path.is_file().then(|| std::fs::read_to_string(path).ok()).flatten())
}

fn is_table(path: &str) -> bool {
    path.ends_with(".parquet")
}

/// The name and tables of the requested configuration, else of the only one, else of the one called `default`.
fn chosen(
    repository: &str,
    files: &[String],
    wanted: Option<&str>,
    looked_at: &[String],
) -> Result<(String, [Vec<String>; 3])> {
    let mut configurations = BTreeMap::<&str, [Vec<String>; 3]>::new();
    for path in files.iter().filter(|path| is_table(path)) {
        let (configuration, part) = placed(path);
        configurations.entry(configuration).or_default()[part].push(path.clone());
    }
    configurations.retain(|_, parts| !parts[0].is_empty());
    let known = || configurations.keys().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let name = match wanted {
        Some(wanted) => Some(wanted),
        None if configurations.len() == 1 => configurations.keys().next().copied(),
        None => configurations.keys().find(|name| **name == "default").copied(),
    };
    match name.and_then(|name| Some((name, configurations.get(name)?))) {
        Some((name, parts)) => match parts.iter().find_map(|files| missing(files)) {
            None => Ok((name.to_owned(), parts.clone())),
            Some(missing) => Err(Error::NotFound {
                what: format!("{missing} of {repository}"),
                looked_at: looked_at.to_vec(),
                hint: "its other pieces are there: fetch it again with the network, or copy it there".to_owned(),
            }),
        },
        None if configurations.is_empty() => Err(Error::NotFound {
            what: format!("training images of {repository}"),
            looked_at: looked_at.to_vec(),
            hint: "none of its parquet files belongs to a part called train".to_owned(),
        }),
        None => Err(Error::UnknownConfiguration {
            repository: repository.to_owned(),
            wanted: wanted.map(str::to_owned),
            known: known(),
        }),
    }
}

/// The first missing file of a series. The names of a series state its length: `train-00000-of-00002.parquet` is one of two.
fn missing(files: &[String]) -> Option<String> {
    let mut series = BTreeMap::<(&str, &str), (&str, HashSet<u32>)>::new();
    for Piece { stem, index, count, rest } in files.iter().filter_map(|path| piece(path)) {
        series.entry((stem, count)).or_insert((rest, HashSet::new())).1.insert(index);
    }
    series.into_iter().find_map(|((stem, count), (rest, there))| {
        let pieces = count.parse::<u32>().ok().filter(|count| *count <= MAX_PIECES)?;
        let lacking = (0..pieces).find(|index| !there.contains(index))?;
        Some(format!("{stem}-{lacking:0width$}-of-{count}{rest}", width = count.len()))
    })
}

/// The name of a file of a series, split at its numbers.
struct Piece<'a> {
    stem: &'a str,
    index: u32,
    /// The length of the series, as written with its leading zeros.
    count: &'a str,
    rest: &'a str,
}

fn piece(path: &str) -> Option<Piece<'_>> {
    let (before, after) = path.rsplit_once("-of-")?;
    let (stem, index) = before.rsplit_once('-')?;
    let (count, rest) = after.split_at(after.find(|character: char| !character.is_ascii_digit())?);
    Some(Piece { stem, index: index.parse().ok()?, count, rest })
}

/// A larger number in a file's name is not taken for the length of a series.
const MAX_PIECES: u32 = 10_000;

/// The configuration and the part of a file, from its name. The default part is the training part.
fn placed(path: &str) -> (&str, usize) {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let part = |word: &str| SPLITS.iter().position(|names| names.contains(&word.to_lowercase().as_str()));
    let first_word = file.split(['-', '_', '.']).next().unwrap_or(file);
    let own = folders.split('/').rev().find_map(part);
    let configuration = folders.split('/').next().filter(|name| !name.is_empty() && *name != "data");
    let configuration = configuration.filter(|name| part(name).is_none()).unwrap_or("default");
    (configuration, part(first_word).or(own).unwrap_or(0))
}

/// The paths of all files below a folder, relative to it, sorted.
fn below(folder: &Path) -> Result<Vec<String>> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(Error::io("list", &next))? {
            let path = entry.map_err(Error::io("list", &next))?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.extend(path.strip_prefix(folder).ok().and_then(Path::to_str).map(str::to_owned)),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The tables below a folder.
#[cfg(feature = "image")]
pub(super) fn tables_below(folder: &Path) -> Result<Vec<FileLocation>> {
    Ok(below(folder)?.iter().filter(|path| is_table(path)).map(|path| FileLocation::Disk(folder.join(path))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_configurations_are_read_from_names() {
        for (path, expected) in [
            ("plain_text/train-00000-of-00001.parquet", ("plain_text", 0)),
            ("data/validation-00000-of-00002-abc.parquet", ("default", 1)),
            ("data/test.parquet", ("default", 2)),
            ("cifar100/test/0000.parquet", ("cifar100", 2)),
            ("val/part-0.parquet", ("default", 1)),
            ("train.parquet", ("default", 0)),
            ("images.parquet", ("default", 0)),
            ("mnist/Train_1.parquet", ("mnist", 0)),
        ] {
            assert_eq!(placed(path), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_file_of_a_series_is_named() {
        let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let whole = ["data/train-00000-of-00003-ab.parquet", "data/train-00001-of-00003-cd.parquet"];
        assert_eq!(missing(&files(&whole)).unwrap(), "data/train-00002-of-00003-ab.parquet");
        let third = "data/train-00002-of-00003-ef.parquet";
        assert_eq!(missing(&files(&[whole[0], whole[1], third])), None);
        assert_eq!(missing(&files(&[third])).unwrap(), "data/train-00000-of-00003-ef.parquet");
        for none in ["train.parquet", "one-of-many.parquet", "b-of-99999999.parquet", "0000.parquet", "-of-"] {
            assert_eq!(missing(&files(&[none])), None, "{none}");
        }
        let failed = chosen("o/n", &files(&whole), None, &["here".to_owned()]);
        assert!(matches!(failed, Err(Error::NotFound { what, .. }) if what.contains("train-00002-of-00003")));
    }

    #[test]
    fn one_of_several_configurations_has_to_be_named() {
        let files = ["a/train-0.parquet", "b/train-0.parquet", "b/test-0.parquet", "README.md"].map(str::to_owned);
        let unclear = chosen("o/n", &files, None, &[]);
        assert!(matches!(unclear, Err(Error::UnknownConfiguration { wanted: None, known, .. }) if known == ["a", "b"]));
        let unknown = chosen("o/n", &files, Some("c"), &[]);
        assert!(matches!(unknown, Err(Error::UnknownConfiguration { wanted: Some(wanted), .. }) if wanted == "c"));
        let (name, [train, validation, test]) = chosen("o/n", &files, Some("b"), &[]).unwrap();
        assert_eq!((name.as_str(), train.len(), validation.len(), test.len()), ("b", 1, 0, 1));
        let none = chosen("o/n", &["a/test-0.parquet".to_owned()], None, &[]);
        assert!(matches!(none, Err(Error::NotFound { .. })));
    }
}
