//! Everything that can go wrong, by type.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, what was expected, what came, and what to do.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The feature tensor is not a matrix.
    #[error(
        "features are a matrix [samples, dimension], but this tensor has shape {shape:?}: flatten all but the first axis"
    )]
    FeatureShape {
        /// The shape that came.
        shape: Vec<usize>,
    },
    /// The feature tensor holds integers.
    #[error("features are floating-point numbers, but this tensor holds {dtype}: convert it first")]
    FeatureType {
        /// The type that came, in candle's spelling.
        dtype: String,
    },
    /// The number of values is no multiple of the dimension.
    #[error(
        "{values} values do not fill rows of dimension {dimension}: pass samples × dimension values, dimension ≥ 1"
    )]
    FeatureCount {
        /// How many values came.
        values: usize,
        /// The stated dimension.
        dimension: usize,
    },
    /// No sample at all.
    #[error("there is no sample: few-shot measures need labelled features")]
    NoSamples,
    /// Features and labels disagree on the number of samples.
    #[error("{features} rows of features came with {labels} labels: pass one label for each row")]
    LabelCount {
        /// Rows of the features.
        features: usize,
        /// Labels.
        labels: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "feature {column} of sample {row} (class {class}) is {value}: features must be finite; did the network diverge?"
    )]
    NonFiniteFeature {
        /// The sample.
        row: usize,
        /// The feature.
        column: usize,
        /// The label of the sample.
        class: u32,
        /// What stands there.
        value: f64,
    },
    /// Fewer classes than ways.
    #[error("{way}-way episodes need {way} classes, but there are {classes}: lower the way or add classes")]
    TooFewClasses {
        /// Classes an episode holds.
        way: usize,
        /// Classes there are.
        classes: usize,
    },
    /// A class is too small for every episode that may draw it.
    #[error("class {class} has {count} samples, but {shots} shots + {queries} queries need {}: lower them or leave the class out", shots + queries)]
    TooFewSamples {
        /// The label of the class.
        class: u32,
        /// Its samples.
        count: usize,
        /// Support samples of the class in an episode.
        shots: usize,
        /// Query samples of the class in an episode.
        queries: usize,
    },
    /// Natural queries ask for more samples than some choice of classes has left.
    #[error(
        "{way} classes may have only {available} samples left after their support, but an episode draws {wanted} natural queries: lower them"
    )]
    TooFewQueries {
        /// Classes an episode holds.
        way: usize,
        /// What the smallest classes leave.
        available: usize,
        /// Queries of an episode.
        wanted: usize,
    },
    /// An episode rule is out of its range.
    #[error("{rule} is {value}, but must be {expected}")]
    InvalidRule {
        /// Which rule.
        rule: &'static str,
        /// What came.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The same sample twice in one episode.
    #[error("sample {index} occurs twice in one episode: support and query are sets and disjoint")]
    DuplicateIndex {
        /// The sample.
        index: usize,
    },
    /// The same class twice in one episode.
    #[error("class {class} occurs twice in one episode: list every class once")]
    DuplicateClass {
        /// The label.
        class: u32,
    },
    /// An episode names a sample that does not exist.
    #[error("the episode names sample {index}, but there are {samples} samples: is it for other data?")]
    IndexOutOfRange {
        /// The sample.
        index: usize,
        /// How many there are.
        samples: usize,
    },
    /// An episode lists a sample under a class that is not its own.
    #[error("the episode lists sample {index} under class {listed}, but its label is {label}: is it for other data?")]
    LabelMismatch {
        /// The sample.
        index: usize,
        /// The class in the episode.
        listed: u32,
        /// The label in the data.
        label: u32,
    },
    /// An episode without what makes it one.
    #[error("an episode needs at least two classes, support for each and one query, but {reason}")]
    IncompleteEpisode {
        /// What is missing.
        reason: String,
    },
    /// A ridge penalty that is not positive.
    #[error("the ridge penalty is {value}, but must be positive and finite")]
    InvalidPenalty {
        /// What came.
        value: f64,
    },
    /// A shrinkage outside of 0 to 1.
    #[error("the shrinkage is {value}, but must lie in 0 to 1")]
    InvalidShrinkage {
        /// What came.
        value: f64,
    },
    /// A head's description cannot be read.
    #[error("cannot read the head `{text}`: {reason}; heads are {}", crate::heads::SYNTAX)]
    HeadSyntax {
        /// What came.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two heads of one evaluation have the same name.
    #[error("the head `{head}` is listed twice: name every head once")]
    DuplicateHead {
        /// The name.
        head: String,
    },
    /// An evaluation without heads.
    #[error("there is no head to evaluate: pass at least one")]
    NoHeads,
    /// The head that was asked for is not in the evaluation.
    #[error("the evaluation has no head `{head}`, only {present:?}")]
    UnknownHead {
        /// What was asked for.
        head: String,
        /// What there is.
        present: Vec<String>,
    },
    /// A head that centres by the base classes' mean, on features without it.
    #[error("{head} centres by the mean feature of the base classes: attach it with LabelledFeatures::with_base_mean")]
    MissingBaseMean {
        /// The head.
        head: String,
    },
    /// The base mean has another dimension than the features, or is not finite.
    #[error("the base mean has {got} values, all of which must be finite, but the features have dimension {dimension}")]
    BaseMean {
        /// Values of the mean.
        got: usize,
        /// Dimension of the features.
        dimension: usize,
    },
    /// A matrix that should be positive definite is not, within rounding.
    #[error(
        "{operation}: the {size}×{size} matrix is not positive definite (pivot {pivot}): raise the penalty or shrinkage"
    )]
    NotPositiveDefinite {
        /// What was being solved.
        operation: &'static str,
        /// Rows of the matrix.
        size: usize,
        /// Which pivot failed.
        pivot: usize,
    },
    /// A decomposition did not converge.
    #[error(
        "{operation}: the decomposition of a {rows}×{columns} matrix did not converge: are the features badly scaled?"
    )]
    Decomposition {
        /// What was being decomposed.
        operation: &'static str,
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// An optimiser used up its iterations.
    #[error(
        "{operation} did not converge: gradient {gradient:e} after {iterations} iterations, tolerance {tolerance:e}; raise the penalty or rescale the features"
    )]
    NotConverged {
        /// Which optimiser.
        operation: &'static str,
        /// Iterations made.
        iterations: usize,
        /// Largest component of the gradient.
        gradient: f64,
        /// What it had to fall below.
        tolerance: f64,
    },
    /// A score is NaN or infinite.
    #[error("the score of query {query} for class {class} is {value}: the features are too large for f64 arithmetic")]
    NonFiniteScore {
        /// Position among the queries.
        query: usize,
        /// Position among the classes of the episode.
        class: usize,
        /// What came out.
        value: f64,
    },
    /// A head returned scores of another shape than its task.
    #[error("the head returned {got} scores, but {queries} queries × {way} classes need {}", queries * way)]
    ScoreShape {
        /// Scores returned.
        got: usize,
        /// Queries of the task.
        queries: usize,
        /// Classes of the task.
        way: usize,
    },
    /// An error inside one episode of an evaluation.
    #[error("episode {episode}, head {head}: {source}")]
    InEpisode {
        /// Which episode, from 0.
        episode: u64,
        /// Which head.
        head: String,
        /// What went wrong there.
        source: Box<Error>,
    },
    /// Too few values for a statistic.
    #[error("{statistic} needs at least {needed} values, but there are {got}")]
    TooFewValues {
        /// Which statistic.
        statistic: &'static str,
        /// Values that it needs.
        needed: usize,
        /// Values that came.
        got: usize,
    },
    /// Two lists that are compared value by value differ in length.
    #[error("{statistic} compares values in pairs, but the lists hold {left} and {right}")]
    UnequalLengths {
        /// Which statistic.
        statistic: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// A statistic is undefined because a list does not vary.
    #[error("{statistic} is undefined: all {count} values of the {which} list are equal")]
    NoVariation {
        /// Which statistic.
        statistic: &'static str,
        /// First or second.
        which: &'static str,
        /// How many.
        count: usize,
    },
    /// A value handed to a statistic is NaN or infinite.
    #[error(
        "{statistic}: value {index} is {value}, but values must be finite: leave diverged runs out by a stated rule"
    )]
    NonFiniteValue {
        /// Which statistic.
        statistic: &'static str,
        /// Position.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A setting of a statistic is out of its range.
    #[error("{setting} is {value}, but must be {expected}")]
    InvalidSetting {
        /// Which setting.
        setting: &'static str,
        /// What came.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two evaluations that should share their episodes do not.
    #[error(
        "the evaluations saw different episodes (checksums {left} and {right}): pair only runs on the same episodes"
    )]
    DifferentEpisodes {
        /// Checksum of the first.
        left: String,
        /// Checksum of the second.
        right: String,
    },
    /// A file of tasks that is not one, or of another version.
    #[error("line 1 is no header of a fewshot task list of version {version}: {reason}")]
    TaskListHeader {
        /// The version that this crate reads.
        version: u32,
        /// What is wrong.
        reason: String,
    },
    /// A task list made for other labels.
    #[error(
        "the task list was made for {listed_count} labels with SHA-256 {listed}, but the data have {found_count} with {found}: use the data set, split and order it was made for"
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
    /// A line of a task list that cannot be read.
    #[error("line {line} of the task list: {reason}")]
    TaskListLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An episode of a task list that is invalid or does not fit the labels.
    #[error("line {line} of the task list: {source}")]
    TaskListEpisode {
        /// The line, from 1.
        line: usize,
        /// What is wrong with the episode.
        source: Box<Error>,
    },
    /// A task list that ends before its closing line.
    #[error("the task list ends after {episodes} episodes without its closing line: it was cut short; write it again")]
    TaskListTruncated {
        /// Episodes before the end.
        episodes: usize,
    },
    /// A stream of episodes could not be read or written.
    #[error("task list: {0}")]
    Stream(#[source] std::io::Error),
    /// A quantity that these features do not define.
    #[error("{quantity} is undefined: {reason}")]
    Undefined {
        /// Which quantity.
        quantity: &'static str,
        /// Why.
        reason: String,
    },
    /// A file of the feature cache that cannot be used.
    #[error("{}: {reason}; delete the file to compute the features again", path.display())]
    CacheEntry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Wraps what a file operation on `path` said.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
