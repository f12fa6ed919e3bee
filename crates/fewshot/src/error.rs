//! The error type of this crate.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate. Messages state what was expected, what was found, and what to do.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The feature tensor is not a matrix.
    #[cfg(feature = "candle")]
    #[error(
        "features must be a matrix [samples, dimension], but this tensor has shape {shape:?}: flatten all but the first axis"
    )]
    FeatureShape {
        /// The shape found.
        shape: Vec<usize>,
    },
    /// The feature tensor does not hold floating-point numbers.
    #[cfg(feature = "candle")]
    #[error("features must be floating-point numbers, but this tensor holds {dtype}: convert it to f32 or f64")]
    FeatureType {
        /// The type found, in candle's spelling.
        dtype: String,
    },
    /// The number of values is not a multiple of the dimension.
    #[error(
        "{values} values do not fill rows of dimension {dimension}: pass samples × dimension values, dimension ≥ 1"
    )]
    FeatureCount {
        /// Number of values found.
        values: usize,
        /// The stated dimension.
        dimension: usize,
    },
    /// There are no samples.
    #[error("there are no samples: pass at least one row of features with its label")]
    NoSamples,
    /// Features and labels differ in the number of samples.
    #[error("there are {features} rows of features but {labels} labels: pass one label per row")]
    LabelCount {
        /// Number of rows.
        features: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "feature {column} of sample {row} (class {class}) is {value}: features must be finite; did the network diverge?"
    )]
    NonFiniteFeature {
        /// The row (sample).
        row: usize,
        /// The column (feature).
        column: usize,
        /// The label of the sample.
        class: u32,
        /// The value found.
        value: f64,
    },
    /// There are fewer classes than an episode needs.
    #[error("{way}-way episodes need {way} classes, but there are {classes}: lower the way or add classes")]
    TooFewClasses {
        /// Classes per episode.
        way: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// A class has too few samples for its shots and queries.
    #[error("class {class} has {count} samples, but {shots} shots + {queries} queries need {}: lower them or leave the class out", shots + queries)]
    TooFewSamples {
        /// The label of the class.
        class: u32,
        /// Samples of the class.
        count: usize,
        /// Support samples per class and episode.
        shots: usize,
        /// Query samples per class and episode.
        queries: usize,
    },
    /// The smallest classes have too few samples for the natural queries of an episode.
    #[error(
        "an episode draws {wanted} natural queries, but its {way} classes may have only {available} samples beside their support: lower the queries"
    )]
    TooFewQueries {
        /// Classes per episode.
        way: usize,
        /// Samples of the smallest classes that are not support.
        available: usize,
        /// Queries per episode.
        wanted: usize,
    },
    /// An episode rule is out of its range.
    #[error("{rule} is {value}, but must be {expected}")]
    InvalidRule {
        /// Name of the rule.
        rule: &'static str,
        /// The value found.
        value: String,
        /// The allowed values.
        expected: &'static str,
    },
    /// A sample occurs twice in one episode.
    #[error("sample {index} occurs twice in one episode: support and query must be disjoint sets")]
    DuplicateIndex {
        /// Row number of the sample.
        index: usize,
    },
    /// A class occurs twice in one episode.
    #[error("class {class} occurs twice in one episode: list every class once")]
    DuplicateClass {
        /// The label of the class.
        class: u32,
    },
    /// An episode names a sample that does not exist.
    #[error("the episode names sample {index}, but there are {samples} samples: use the data that it was made for")]
    IndexOutOfRange {
        /// Row number of the sample.
        index: usize,
        /// Number of samples.
        samples: usize,
    },
    /// An episode lists a sample under another class than its label.
    #[error(
        "the episode lists sample {index} under class {listed}, but its label is {label}: use the data that it was made for"
    )]
    LabelMismatch {
        /// Row number of the sample.
        index: usize,
        /// The class in the episode.
        listed: u32,
        /// The label in the data.
        label: u32,
    },
    /// An episode lacks classes, support or queries.
    #[error("an episode needs at least two classes, support for each and one query, but {reason}")]
    IncompleteEpisode {
        /// The reason.
        reason: String,
    },
    /// A ridge or logistic penalty is not positive.
    #[error("the penalty is {value}, but must be positive and finite")]
    InvalidPenalty {
        /// The value found.
        value: f64,
    },
    /// A shrinkage is outside of 0 to 1.
    #[error("the shrinkage is {value}, but must be between 0 and 1")]
    InvalidShrinkage {
        /// The value found.
        value: f64,
    },
    /// The text of a head cannot be parsed.
    #[error("cannot parse the head `{text}`: {reason}; heads are {}", crate::heads::SYNTAX)]
    HeadSyntax {
        /// The text found.
        text: String,
        /// The reason.
        reason: String,
    },
    /// Two heads of one evaluation have the same name.
    #[error("the head `{head}` is listed twice: name every head once")]
    DuplicateHead {
        /// The name.
        head: String,
    },
    /// An evaluation has no heads.
    #[error("there are no heads to evaluate: pass at least one")]
    NoHeads,
    /// The evaluation has no head of this name.
    #[error("the evaluation has no head `{head}`; its heads are {present:?}")]
    UnknownHead {
        /// The name looked up.
        head: String,
        /// The names of the evaluation.
        present: Vec<String>,
    },
    /// A head needs the mean of the base classes, but the features do not have it.
    #[error("{head} subtracts the mean feature of the base classes, which is missing: attach it with `with_base_mean`")]
    MissingBaseMean {
        /// The head.
        head: String,
    },
    /// The base mean differs in dimension from the features, or is not finite.
    #[error(
        "the base mean must have {dimension} finite values (the dimension of the features), but has {found}, or one is not finite"
    )]
    BaseMean {
        /// Number of values found.
        found: usize,
        /// Dimension of the features.
        dimension: usize,
    },
    /// A matrix is not positive definite up to rounding.
    #[error(
        "{operation}: the {size}×{size} matrix is not positive definite (pivot {pivot}): raise the penalty or shrinkage"
    )]
    NotPositiveDefinite {
        /// The operation.
        operation: &'static str,
        /// Number of rows.
        size: usize,
        /// Index of the pivot that is not positive.
        pivot: usize,
    },
    /// A matrix decomposition did not converge.
    #[error("{operation}: the decomposition of a {rows}×{columns} matrix did not converge: rescale the features")]
    Decomposition {
        /// The operation.
        operation: &'static str,
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
    },
    /// An optimiser did not converge.
    #[error(
        "{operation} did not converge: gradient {gradient:e} after {iterations} iterations, tolerance {tolerance:e}; raise the penalty or rescale the features"
    )]
    NotConverged {
        /// The operation.
        operation: &'static str,
        /// Number of iterations.
        iterations: usize,
        /// Largest absolute component of the gradient.
        gradient: f64,
        /// The tolerance of that component.
        tolerance: f64,
    },
    /// A score is NaN or infinite.
    #[error("the score of query {query} for class {class} is {value}, but must be finite: rescale the features")]
    NonFiniteScore {
        /// Index of the query.
        query: usize,
        /// Index of the class within the episode.
        class: usize,
        /// The score found.
        value: f64,
    },
    /// The number of scores does not fit the task.
    #[error("the head returned {found} scores, but {queries} queries × {way} classes need {}", queries * way)]
    ScoreShape {
        /// Number of scores found.
        found: usize,
        /// Number of queries.
        queries: usize,
        /// Number of classes.
        way: usize,
    },
    /// An error in one episode of an evaluation.
    #[error("episode {episode}, head {head}: {source}")]
    InEpisode {
        /// Index of the episode, from 0.
        episode: u64,
        /// Name of the head.
        head: String,
        /// The error.
        source: Box<Error>,
    },
    /// A statistic is undefined, or its settings are invalid.
    #[error(transparent)]
    Statistic(#[from] statistics::Error),
    /// A setting is out of its range.
    #[error("{setting} is {value}, but must be {expected}")]
    InvalidSetting {
        /// Name of the setting.
        setting: &'static str,
        /// The value found.
        value: f64,
        /// The allowed values.
        expected: &'static str,
    },
    /// Two evaluations that are compared used different episodes.
    #[error(
        "the evaluations used different episodes (checksums {left} and {right}): compare evaluations on the same episodes"
    )]
    DifferentEpisodes {
        /// Checksum of the first evaluation.
        left: String,
        /// Checksum of the second evaluation.
        right: String,
    },
    /// The first line of a task list is not a valid header.
    #[error("line 1 is not a header of a fewshot task list of version {version}: {reason}")]
    TaskListHeader {
        /// The version that this crate reads.
        version: u32,
        /// The reason.
        reason: String,
    },
    /// A task list was made for other labels.
    #[error(
        "the task list was made for {listed_count} labels with SHA-256 {listed}, but the data have {found_count} labels with {found}: use the data set, split and order it was made for"
    )]
    TaskListChecksum {
        /// Checksum in the list.
        listed: String,
        /// Number of labels in the list.
        listed_count: usize,
        /// Checksum of the data.
        found: String,
        /// Number of labels of the data.
        found_count: usize,
    },
    /// A line of a task list cannot be parsed.
    #[error("line {line} of the task list: {reason}")]
    TaskListLine {
        /// Line number, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// An episode of a task list is invalid or does not fit the labels.
    #[error("line {line} of the task list: {source}")]
    TaskListEpisode {
        /// Line number, from 1.
        line: usize,
        /// The error of the episode.
        source: Box<Error>,
    },
    /// A task list ends before its closing line.
    #[error(
        "the task list ends after {episodes} episodes without its closing line: the file is truncated; write it again"
    )]
    TaskListTruncated {
        /// Number of episodes found.
        episodes: usize,
    },
    /// Reading or writing a task list failed.
    #[error("task list: {0}")]
    Stream(#[source] std::io::Error),
    /// A quantity is undefined for these features.
    #[error("{quantity} is undefined: {reason}")]
    Undefined {
        /// The quantity.
        quantity: &'static str,
        /// The reason.
        reason: String,
    },
    /// A file of the feature cache is damaged or belongs to another key.
    #[error("{}: {reason}; delete the file to compute the features again", path.display())]
    CacheEntry {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Reading or writing a file or folder failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The target of a write is not a regular file.
    #[error(transparent)]
    Target(support::Error),
    /// An error of candle.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Adds the path to an error of a file operation.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// An error of reading or writing a file as a whole.
    pub(crate) fn file(error: support::Error) -> Self {
        match error {
            support::Error::Io { path, reason, .. } => Error::Io { path, source: reason },
            other => Error::Target(other),
        }
    }
}
