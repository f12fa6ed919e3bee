//! What can go wrong while measuring neural collapse.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while measuring neural collapse.
///
/// A class that is missing, has one sample or coincides with another is not an error where a measure can leave it
/// out: it is then excluded and counted in the result. It is an error where nothing would remain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor or slice has the wrong shape.
    #[error("{operation}: expected {expected}, got {actual}")]
    Shape {
        /// The operation that was asked for.
        operation: &'static str,
        /// The shape that it takes.
        expected: String,
        /// The shape that came.
        actual: String,
    },
    /// A tensor has a type that is not a floating-point number.
    #[error("{operation}: expected features of type f32, f64, f16 or bf16, got {actual}; convert them first")]
    FeatureType {
        /// The operation that was asked for.
        operation: &'static str,
        /// The type that came.
        actual: String,
    },
    /// The number of labels differs from the number of feature rows.
    #[error("{operation}: {features} feature rows but {labels} labels; give one label for every row")]
    LabelCount {
        /// The operation that was asked for.
        operation: &'static str,
        /// Rows of the features.
        features: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label is not below the number of classes.
    #[error("{operation}: row {row} has label {label}, but there are {class_count} classes (labels 0 to {}); \
             raise the class count or relabel", class_count.saturating_sub(1))]
    LabelOutOfRange {
        /// The operation that was asked for.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        class_count: usize,
    },
    /// A feature is infinite or not a number.
    #[error("{operation}: feature {column} of row {row} is {value}; remove the row or mend the network")]
    NonFinite {
        /// The operation that was asked for.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its first such column.
        column: usize,
        /// What stands there.
        value: f64,
    },
    /// Finite features are so large that their sums or squares overflow f64.
    #[error("{operation}: the squares of the features of class {class} overflow f64; scale the features down")]
    Overflow {
        /// The operation that was asked for.
        operation: &'static str,
        /// A class in which it happens.
        class: usize,
    },
    /// Fewer classes than the measure needs have samples.
    #[error("{operation}: needs samples of at least {needed} classes, found {found}")]
    TooFewClasses {
        /// The operation that was asked for.
        operation: &'static str,
        /// Classes needed.
        needed: usize,
        /// Classes with samples.
        found: usize,
    },
    /// Every pair of classes had to be excluded.
    #[error(
        "{operation}: no pair of classes is left ({missing} pairs with a missing class, {singleton} with a \
             class of one sample, {coincident} with coincident means)"
    )]
    NoPair {
        /// The operation that was asked for.
        operation: &'static str,
        /// Pairs with a class that has no samples.
        missing: u64,
        /// Pairs with a class whose one sample has no variance.
        singleton: u64,
        /// Pairs whose means coincide.
        coincident: u64,
    },
    /// A list that should hold one number for each class has another length.
    #[error("{operation}: {what} needs one number for each of the {expected} classes, got {actual}")]
    PerClassLength {
        /// The operation that was asked for.
        operation: &'static str,
        /// What the numbers are.
        what: &'static str,
        /// The number of classes.
        expected: usize,
        /// Numbers given.
        actual: usize,
    },
    /// A number lies outside the range in which the measure means something.
    #[error("{operation}: {what} must be {range}, got {value}")]
    OutOfRange {
        /// The operation that was asked for.
        operation: &'static str,
        /// What the number is.
        what: &'static str,
        /// Where it may lie.
        range: &'static str,
        /// What came.
        value: f64,
    },
    /// The measure needs a within-class covariance that these moments do not hold.
    #[error("{operation}: {reason}")]
    ScatterNotHeld {
        /// The operation that was asked for.
        operation: &'static str,
        /// What is missing and where to get it.
        reason: &'static str,
    },
    /// A sample belongs to a class of which the given moments hold no mean.
    #[error("{operation}: row {row} has label {label}, a class without samples in the given moments")]
    ClassWithoutMean {
        /// The operation that was asked for.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its label.
        label: u32,
    },
    /// A quantity that is divided by vanishes, so the measure is undefined.
    #[error("{operation}: {what} is zero, so the measure is undefined")]
    Vanishing {
        /// The operation that was asked for.
        operation: &'static str,
        /// What vanishes.
        what: &'static str,
    },
    /// Nothing was given to measure.
    #[error("{operation}: there are no samples; give at least one row")]
    NoSamples {
        /// The operation that was asked for.
        operation: &'static str,
    },
    /// No class has the two samples that a variance needs.
    #[error("{operation}: no class has two samples, so nothing varies within classes; give more samples a class")]
    NoVariance {
        /// The operation that was asked for.
        operation: &'static str,
    },
    /// Two sets of moments describe different things and cannot be merged or compared.
    #[error("{operation}: {what} differ: {left} and {right}")]
    Incompatible {
        /// The operation that was asked for.
        operation: &'static str,
        /// What differs.
        what: &'static str,
        /// The one side.
        left: String,
        /// The other side.
        right: String,
    },
    /// An eigendecomposition did not converge.
    #[error("{operation}: the eigendecomposition of a {size}×{size} matrix did not converge")]
    Decomposition {
        /// The operation that was asked for.
        operation: &'static str,
        /// The order of the matrix.
        size: usize,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// The same error of a chunk that starts at this row of the whole batch.
    pub(crate) fn at_row(self, start: usize) -> Self {
        match self {
            Self::NonFinite { operation, row, column, value } => {
                Self::NonFinite { operation, row: row + start, column, value }
            }
            Self::LabelOutOfRange { operation, row, label, class_count } => {
                Self::LabelOutOfRange { operation, row: row + start, label, class_count }
            }
            Self::ClassWithoutMean { operation, row, label } => {
                Self::ClassWithoutMean { operation, row: row + start, label }
            }
            other => other,
        }
    }
}
