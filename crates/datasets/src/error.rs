//! The errors of finding, fetching, decoding and batching data sets.

use std::path::PathBuf;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of finding, fetching, decoding or batching a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No data set of the registry has this name.
    #[error("unknown data set `{name}`; {}", nearest_names(suggestions, known))]
    UnknownDataset {
        /// The requested name.
        name: String,
        /// The nearest names of the registry, best first.
        suggestions: Vec<String>,
        /// All names of the registry.
        known: Vec<String>,
    },
    /// No class of the data set has this name.
    #[error("{dataset}: no class is named `{name}`; {}", nearest_names(suggestions, &[]))]
    UnknownClass {
        /// The data set.
        dataset: String,
        /// The requested class.
        name: String,
        /// The nearest class names, best first.
        suggestions: Vec<String>,
    },
    /// A class number is not below the number of classes.
    #[error("{dataset}: class {class} does not exist, the data set has {count} classes (0..{count})")]
    ClassOutOfRange {
        /// The data set.
        dataset: String,
        /// The requested class.
        class: u32,
        /// The number of classes.
        count: usize,
    },
    /// An image number is not below the number of images.
    #[error("{dataset}: image {index} does not exist, the data set has {count} images (0..{count})")]
    ImageOutOfRange {
        /// The data set.
        dataset: String,
        /// The requested image.
        index: usize,
        /// The number of images.
        count: usize,
    },
    /// A label does not name a class.
    #[error("{context}, row {row}: the label is {label}, expected one of 0..{classes}; check the label column")]
    LabelOutOfRange {
        /// The table and column, the file or the data set.
        context: String,
        /// The row, counted from 0.
        row: usize,
        /// The label found.
        label: i64,
        /// The number of classes.
        classes: usize,
    },
    /// A required class has no image.
    #[error("{dataset}: class `{class}` has no image; leave it out of the class list or check the data")]
    EmptyClass {
        /// The data set.
        dataset: String,
        /// The class without an image.
        class: String,
    },
    /// Two properties of a data set contradict each other, such as its shape and its number of bytes.
    #[error("{dataset}: {what}: expected {expected}, got {got}")]
    Inconsistent {
        /// The data set.
        dataset: String,
        /// The compared property.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The value found.
        got: String,
    },
    /// Two class lists that must be disjoint share a class.
    #[error("class split: `{class}` is in both {first} and {second}; every class belongs to one part only")]
    SplitOverlap {
        /// The shared class.
        class: String,
        /// One part of the split.
        first: &'static str,
        /// The other part.
        second: &'static str,
    },
    /// Source or target classes were requested from a data set without class lists.
    #[error("{dataset} has no lists of source and target classes; data sets that have: {}", others.join(", "))]
    NoClassSplit {
        /// The data set.
        dataset: String,
        /// The data sets of the registry that have class lists.
        others: Vec<String>,
    },
    /// An option has an unusable value.
    #[error("{option}: {problem}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// Why the value is unusable, and which values are usable.
        problem: String,
    },
    /// The requested batch lies beyond the end of its epoch.
    #[error("batch {index} does not exist: an epoch has {per_epoch} batches")]
    BatchOutOfRange {
        /// The requested batch.
        index: usize,
        /// The number of batches per epoch.
        per_epoch: usize,
    },
    /// An image could not be decoded.
    #[error("{context}{}: not a readable image: {reason}; replace it or leave it out", row_of(row))]
    UnreadableImage {
        /// The image file, or the table and column that hold the image.
        context: String,
        /// The row of the table, counted from 0; none for an image file.
        row: Option<usize>,
        /// The decoder's message.
        reason: String,
    },
    /// Images have different sizes, and no common size was requested.
    #[error(
        "{context}{}: the image is {got} (width × height) but those before it are {expected}; give a size to scale and crop to (--size)",
        row_of(row)
    )]
    MixedSizes {
        /// The image file, or the table and column that hold the image.
        context: String,
        /// The row of the table, counted from 0; none for an image file.
        row: Option<usize>,
        /// The size of the images before, as width × height.
        expected: String,
        /// The size of this image.
        got: String,
    },
    /// A table lacks a column.
    #[error("{path}: no column `{column}`; the columns are {found:?}; name the image and label columns")]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The requested column.
        column: String,
        /// The columns of the table.
        found: Vec<String>,
    },
    /// No column was named, and no column or several columns qualify.
    #[error("{path}: {}", unclear(role, candidates, found))]
    UnclearColumn {
        /// The file.
        path: PathBuf,
        /// `image` or `label`.
        role: &'static str,
        /// The columns that qualify.
        candidates: Vec<String>,
        /// All columns.
        found: Vec<String>,
    },
    /// A data set of the Hub has several configurations, and the requested one is not among them.
    #[error("{repository}: {}; name one of {} with --config", match wanted {
        Some(wanted) => format!("no configuration `{wanted}`"),
        None => "it has several configurations".to_owned(),
    }, known.join(", "))]
    UnknownConfiguration {
        /// The repository.
        repository: String,
        /// The requested configuration.
        wanted: Option<String>,
        /// The configurations of the repository.
        known: Vec<String>,
    },
    /// A column has the wrong type.
    #[error("{path}: column `{column}` holds {got}, expected {expected}")]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The readable type.
        expected: &'static str,
        /// The type found.
        got: String,
    },
    /// A file does not follow its format.
    #[error("{path}: not a valid {format} file: {reason}; fetch it again, or remove it if it is your own")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected format.
        format: &'static str,
        /// How the file deviates from it.
        reason: String,
    },
    /// An input exceeds a limit on its size.
    #[error("{context}: {what} would take {wanted} bytes, the limit is {limit}; check the file or the size")]
    TooLarge {
        /// The file, address or data set.
        context: String,
        /// What would take these bytes, such as `the images`.
        what: &'static str,
        /// The required bytes.
        wanted: u64,
        /// The largest accepted number of bytes.
        limit: u64,
    },
    /// The system refused to allocate memory for images.
    #[error("{context}: no memory for {bytes} bytes of pixels; use fewer images or a smaller size (--size)")]
    OutOfMemory {
        /// The file or data set.
        context: String,
        /// The bytes that were requested.
        bytes: u64,
    },
    /// A data set, file or folder was not found.
    #[error("{what} not found{}; {hint}", places(looked_at))]
    NotFound {
        /// The missing data set, file or folder.
        what: String,
        /// The places that were searched.
        looked_at: Vec<String>,
        /// What to do.
        hint: String,
    },
    /// An input file is a pipe, socket or device. Reading it could block or never end.
    #[error("{path} is {found}, expected a regular file; copy its contents into a file first")]
    NotRegularFile {
        /// The file.
        path: PathBuf,
        /// The kind of file found, with its article.
        found: String,
    },
    /// The crate was compiled without the feature that this operation needs.
    #[error("{operation} needs the feature `{feature}` of the crate `datasets`; enable it in Cargo.toml")]
    MissingFeature {
        /// The operation, as a noun phrase.
        operation: String,
        /// The name of the feature.
        feature: &'static str,
    },
    /// The Hub could not be reached.
    #[error(
        "{url}: no usable response ({reason}; attempts: {attempts}); check the network or HF_ENDPOINT, or give --data-dir"
    )]
    Network {
        /// The requested address, without user name and password.
        url: String,
        /// The number of attempts.
        attempts: usize,
        /// The last failure.
        reason: String,
    },
    /// The Hub refused the request.
    #[error("{url}: the Hub refused access (status {status}); set HF_TOKEN to a token that may read this repository")]
    Unauthorized {
        /// The requested address, without user name and password.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A download stopped early and could not be completed. Its partial file was removed.
    #[error(
        "{url}: the download was cut off ({got} of {expected} bytes after {attempts} attempts) and was removed; try again"
    )]
    Truncated {
        /// The downloaded address, without user name and password.
        url: String,
        /// The number of received bytes.
        got: u64,
        /// The size in bytes that the Hub announced.
        expected: u64,
        /// The number of attempts in a row without progress.
        attempts: usize,
    },
    /// The bytes of a file do not match its checksum. The file was removed.
    #[error(
        "{what}: the bytes do not match their SHA-256 (expected {expected}, got {got}); the copy was removed, try again"
    )]
    Corrupt {
        /// The file or address.
        what: String,
        /// The announced SHA-256.
        expected: String,
        /// The SHA-256 of the received bytes.
        got: String,
    },
    /// `HF_HUB_OFFLINE` forbids the network, and the cache lacks a file.
    #[error("{file} is not in the cache {cache} and HF_HUB_OFFLINE is set; unset it, or give --data-dir")]
    Offline {
        /// The missing file.
        file: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}: {reason}{}", advice(reason))]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error. It is part of the message and therefore not reported again as the source.
        reason: std::io::Error,
    },
    /// A font of the embedded set is missing or cannot be read.
    #[error("glyphs: {reason}; the fonts come with the crate `typst-assets`, check its version in Cargo.lock")]
    Font {
        /// What is wrong with the font.
        reason: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Wraps an I/O error with the operation and the path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { action, path, reason }
    }

    /// The error of reading or writing a file.
    pub(crate) fn file(error: support::Error) -> Self {
        match error {
            support::Error::Io { action, path, reason } => Self::Io { action, path, reason },
            support::Error::NotARegularFile { path, found } => Self::NotRegularFile { path, found: found.to_string() },
            support::Error::NoFileName { path } => Self::io("write", path)(std::io::ErrorKind::InvalidInput.into()),
            other => Self::io("write", PathBuf::new())(other.into()),
        }
    }

    /// The error of an operation whose feature is off.
    #[cfg(not(all(feature = "hub", feature = "parquet", feature = "image")))]
    pub(crate) fn missing_feature(feature: &'static str, operation: impl Into<String>) -> Self {
        Self::MissingFeature { operation: operation.into(), feature }
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
        ErrorKind::NotADirectory => "; a part of this path is a file, expected a folder",
        _ => "",
    }
}

/// The names of `known` that are nearest to `name`, best first, at most three.
pub(crate) fn suggestions<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    support::nearest_names(name, known).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_be_sent_between_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn the_error_of_a_full_disk_names_the_variable_to_set() {
        let full = Error::io("write", "/data/x")(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(full.to_string().contains("HF_HOME"), "{full}");
    }
}
