//! What can go wrong while finding, fetching, decoding or batching a data set.

use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while finding, fetching, decoding or batching a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No data set of the registry has this name.
    #[error("unknown data set `{name}`; {}", nearest_names(suggestions, known))]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The nearest names of the registry, best first.
        suggestions: Vec<String>,
        /// All names of the registry.
        known: Vec<String>,
    },
    /// No class of the data set has this name.
    #[error("{dataset}: no class is named `{name}`; {}", nearest_names(suggestions, &[]))]
    UnknownClass {
        /// The data set that was searched.
        dataset: String,
        /// The class that was asked for.
        name: String,
        /// The nearest class names, best first.
        suggestions: Vec<String>,
    },
    /// A class number is not below the number of classes.
    #[error("{dataset}: class {class} does not exist, the data set has {count} classes (0..{count})")]
    ClassOutOfRange {
        /// The data set that was searched.
        dataset: String,
        /// The class that was asked for.
        class: u32,
        /// How many classes there are.
        count: usize,
    },
    /// An image number is not below the number of images.
    #[error("{dataset}: image {index} does not exist, the data set has {count} images (0..{count})")]
    ImageOutOfRange {
        /// The data set that was searched.
        dataset: String,
        /// The image that was asked for.
        index: usize,
        /// How many images there are.
        count: usize,
    },
    /// A label does not name a class.
    #[error("{context}, row {row}: the label is {label}, expected one of 0..{classes}; check the label column")]
    LabelOutOfRange {
        /// The table and column, the file or the data set.
        context: String,
        /// The row, counted from 0.
        row: usize,
        /// The label that was found.
        label: i64,
        /// How many classes there are.
        classes: usize,
    },
    /// A class that is needed has no image.
    #[error("{dataset}: class `{class}` has no image; leave it out of the class list or check the data")]
    EmptyClass {
        /// The data set.
        dataset: String,
        /// The class without an image.
        class: String,
    },
    /// The bytes, labels and shape that make up a data set do not fit each other.
    #[error("{dataset}: {what}: expected {expected}, got {got}")]
    Inconsistent {
        /// The data set.
        dataset: String,
        /// What was counted or compared.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// Class lists that must not share a class do.
    #[error("class split: `{class}` is in both {first} and {second}; every class belongs to one part only")]
    SplitOverlap {
        /// The shared class.
        class: String,
        /// One part of the split.
        first: &'static str,
        /// The other part.
        second: &'static str,
    },
    /// Classes for transfer were asked of a data set without class lists.
    #[error("{dataset} has no lists of source and target classes; data sets that have: {}", others.join(", "))]
    NoClassSplit {
        /// The data set.
        dataset: String,
        /// Those of the registry that have class lists.
        others: Vec<String>,
    },
    /// An option has a value that cannot be used.
    #[error("{option}: {problem}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// Why it cannot be used, and what can.
        problem: String,
    },
    /// A batch that lies beyond the end of its epoch was asked for.
    #[error("batch {index} does not exist: an epoch has {per_epoch} batches")]
    BatchOutOfRange {
        /// The batch that was asked for.
        index: usize,
        /// How many an epoch has.
        per_epoch: usize,
    },
    /// An image could not be decoded.
    #[error("{context}{}: not a readable image: {reason}; replace it or leave it out", row_of(row))]
    UnreadableImage {
        /// The file that it is, or the table and column that hold it.
        context: String,
        /// The row of the table, counted from 0; none for a file of its own.
        row: Option<usize>,
        /// What the decoder said.
        reason: String,
    },
    /// Images of different sizes came without a rule that makes them equal.
    #[error(
        "{context}{}: the image is {got} but those before it are {expected}; give a size to scale and crop to (--size)",
        row_of(row)
    )]
    MixedSizes {
        /// The file that it is, or the table and column that hold it.
        context: String,
        /// The row of the table, counted from 0; none for a file of its own.
        row: Option<usize>,
        /// The size so far, as width × height.
        expected: String,
        /// The size of this image.
        got: String,
    },
    /// A table lacks a column.
    #[error("{path}: no column `{column}`; the columns are {found:?}; name the image and label columns")]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that was asked for.
        column: String,
        /// The columns that it has.
        found: Vec<String>,
    },
    /// No column was named, and none or several can be meant.
    #[error("{path}: {}", unclear(role, candidates, found))]
    UnclearColumn {
        /// The file.
        path: PathBuf,
        /// `image` or `label`.
        role: &'static str,
        /// The columns that can be meant.
        candidates: Vec<String>,
        /// All columns.
        found: Vec<String>,
    },
    /// A data set of the Hub has several configurations, and not the one that is wanted.
    #[error("{repository}: {}; name one of {} with --config", match wanted {
        Some(wanted) => format!("no configuration `{wanted}`"),
        None => "it has several configurations".to_owned(),
    }, known.join(", "))]
    UnknownConfiguration {
        /// The repository.
        repository: String,
        /// The configuration that was asked for.
        wanted: Option<String>,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A column holds something other than what is needed.
    #[error("{path}: column `{column}` holds {got}, expected {expected}")]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What can be read.
        expected: &'static str,
        /// What it holds.
        got: String,
    },
    /// A file does not follow its format.
    #[error("{path}: not a valid {format} file: {reason}; fetch it again, or remove it if it is your own")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that was expected.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Images would take far more memory than their files make plausible.
    #[error(
        "{context}: the images would take {wanted} bytes, at most {limit} are believed; check the file or the size"
    )]
    TooLarge {
        /// The file or data set.
        context: String,
        /// Bytes of all images so far and those to come.
        wanted: u64,
        /// Bytes that the size of the files makes plausible.
        limit: u64,
    },
    /// A data set, file or folder was not found.
    #[error("{what} not found{}; {hint}", places(looked_at))]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where.
        looked_at: Vec<String>,
        /// What to do.
        hint: String,
    },
    /// The Hub could not be reached.
    #[error(
        "{url}: no answer after {attempts} attempts ({reason}); check the network or HF_ENDPOINT, or give --data-dir"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// How often.
        attempts: usize,
        /// The last failure.
        reason: String,
    },
    /// The Hub refused the request.
    #[error("{url}: the Hub refused access (status {status}); set HF_TOKEN to a token that may read this repository")]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A download stopped early and could not be completed; nothing of it was kept.
    #[error(
        "{url}: the download was cut off ({got} of {expected} bytes after {attempts} attempts) and was removed; try again"
    )]
    Truncated {
        /// What was downloaded.
        url: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that the Hub announced.
        expected: u64,
        /// How often it was tried.
        attempts: usize,
    },
    /// A file's bytes do not match the checksum that goes with it; nothing of it was kept.
    #[error(
        "{what}: the bytes do not match their SHA-256 (expected {expected}, got {got}); the copy was removed, try again"
    )]
    Corrupt {
        /// The file or address.
        what: String,
        /// The SHA-256 that was announced.
        expected: String,
        /// The SHA-256 of what came.
        got: String,
    },
    /// The environment forbids the network, and the cache lacks a file.
    #[error("{file} is not in the cache {cache} and HF_HUB_OFFLINE is set; unset it, or give --data-dir")]
    Offline {
        /// The file that is missing.
        file: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}: {reason}{}", advice(reason))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason, which the message holds: it is no source, which would be told twice.
        reason: std::io::Error,
    },
    /// A font of the embedded set is missing or cannot be read.
    #[error("glyphs: {reason}; the fonts come with the crate `typst-assets`, check its version in Cargo.lock")]
    Font {
        /// What is wrong.
        reason: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Wraps an I/O failure with what was tried, and on what.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { action, path, reason }
    }
}

fn nearest_names(suggestions: &[String], known: &[String]) -> String {
    match (suggestions, known) {
        ([], []) => "no name is near".to_owned(),
        ([], known) => format!("known are {}", known.join(", ")),
        (near, []) => format!("the nearest are {}", near.join(", ")),
        (near, known) => format!("did you mean {}? Known are {}", near.join(" or "), known.join(", ")),
    }
}

fn row_of(row: &Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!(", row {row}"))
}

fn places(looked_at: &[String]) -> String {
    match looked_at {
        [] => String::new(),
        places => format!("; looked at {}", places.join(", ")),
    }
}

fn unclear(role: &str, candidates: &[String], found: &[String]) -> String {
    match candidates {
        [] => format!("no column is a column of {role}s; the columns are {found:?}; name it with --{role}-column"),
        several => format!("the {role} column can be {}; name it with --{role}-column", several.join(" or ")),
    }
}

fn advice(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; free some space, or set HF_HOME to a folder on another disk"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "; set HF_HOME to a folder that you may write, or give --data-dir"
        }
        ErrorKind::NotADirectory => "; a file stands where a folder is needed",
        _ => "",
    }
}

/// The names of `known` that are nearest to `name`, best first, at most three.
///
/// **Definition** nearest by Jaro–Winkler similarity of the lower-case names, at least 0.7.
pub(crate) fn suggestions<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> =
        known.into_iter().map(|other| (strsim::jaro_winkler(&wanted, &other.to_lowercase()), other)).collect();
    scored.retain(|(score, _)| *score >= 0.7);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_best_first() {
        let known = ["cifar10", "cifar100", "cifar-fs", "mnist", "glyphs"];
        assert_eq!(suggestions("cifar-10", known)[0], "cifar10");
        assert_eq!(suggestions("Glyph", known), ["glyphs"]);
        assert!(suggestions("zzz", known).is_empty());
    }

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn a_full_disk_comes_with_advice() {
        let full = Error::io("write", "/data/x")(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(full.to_string().contains("HF_HOME"), "{full}");
    }
}
