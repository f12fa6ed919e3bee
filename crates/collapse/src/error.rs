//! The error type.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a measurement.
///
/// A class that has no samples or one sample, and a pair of coincident means, are left out of a measure and counted in the
/// result. It is an error when fewer than two classes, or no pair, remain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor or slice has the wrong shape.
    #[error("{operation}: expected {expected}, got {actual}")]
    Shape {
        /// The operation that failed.
        operation: &'static str,
        /// The expected shape.
        expected: String,
        /// The shape found.
        actual: String,
    },
    /// A tensor has a type that is not a floating-point number.
    #[error("{operation}: expected features of type f32, f64, f16 or bf16, got {actual}; convert them first")]
    FeatureType {
        /// The operation that failed.
        operation: &'static str,
        /// The type found.
        actual: String,
    },
    /// The number of labels differs from the number of feature rows.
    #[error("{operation}: {features} feature rows but {labels} labels; give one label for every row")]
    LabelCount {
        /// The operation that failed.
        operation: &'static str,
        /// Rows of the features.
        features: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label is not below the number of classes.
    #[error("{operation}: row {row} has label {label}, but the class count is {class_count} (labels 0 to {}); \
             raise the class count or relabel", class_count.saturating_sub(1))]
    LabelOutOfRange {
        /// The operation that failed.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        class_count: usize,
    },
    /// A feature is infinite or not a number.
    #[error("{operation}: feature {column} of row {row} is {value}; remove the row or repair the network")]
    NonFinite {
        /// The operation that failed.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its first such column.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// Finite features are so large that their sums or squares overflow f64.
    #[error("{operation}: the squares of the features of class {class} overflow f64; scale the features down")]
    Overflow {
        /// The operation that failed.
        operation: &'static str,
        /// A class whose features overflow.
        class: usize,
    },
    /// Fewer classes than the measure needs have two or more samples.
    #[error(
        "{operation}: needs at least {needed} classes of two or more samples, found {found} (classes of one sample, \
             which are left out: {singletons}); give more samples of each class"
    )]
    TooFewClasses {
        /// The operation that failed.
        operation: &'static str,
        /// Classes needed.
        needed: usize,
        /// Classes that can take part.
        found: usize,
        /// Classes of one sample, which were left out.
        singletons: usize,
    },
    /// Every pair of classes had to be excluded.
    #[error(
        "{operation}: no pair of classes is left ({missing} pairs with a missing class, {singleton} with a \
             class of one sample, {coincident} with coincident means)"
    )]
    NoPair {
        /// The operation that failed.
        operation: &'static str,
        /// Pairs with a class that has no samples.
        missing: u64,
        /// Pairs with a class of one sample, which has no variance.
        singleton: u64,
        /// Pairs whose means coincide.
        coincident: u64,
    },
    /// A list that should hold one number for each class has another length.
    #[error("{operation}: {what} needs one number for each of the {expected} classes, got {actual}")]
    PerClassLength {
        /// The operation that failed.
        operation: &'static str,
        /// What the numbers are.
        what: &'static str,
        /// The number of classes.
        expected: usize,
        /// Numbers given.
        actual: usize,
    },
    /// A number is outside the range in which the measure is defined.
    #[error("{operation}: {what} must be {range}, got {value}")]
    OutOfRange {
        /// The operation that failed.
        operation: &'static str,
        /// What the number is.
        what: &'static str,
        /// The allowed range.
        range: &'static str,
        /// The value found.
        value: f64,
    },
    /// The measure needs a within-class covariance that these moments do not hold.
    #[error("{operation}: {reason}")]
    ScatterNotHeld {
        /// The operation that failed.
        operation: &'static str,
        /// What is missing, and how to get it.
        reason: &'static str,
    },
    /// A sample belongs to a class that has no mean in the given moments.
    #[error(
        "{operation}: row {row} has label {label}, a class without samples in the given moments; remove the row or \
             add samples of the class to the moments"
    )]
    ClassWithoutMean {
        /// The operation that failed.
        operation: &'static str,
        /// The first such row of the batch.
        row: usize,
        /// Its label.
        label: u32,
    },
    /// A divisor is zero, so the measure is undefined.
    #[error("{operation}: {what} is zero, so the measure is undefined")]
    Vanishing {
        /// The operation that failed.
        operation: &'static str,
        /// The quantity that is zero.
        what: &'static str,
    },
    /// There are no samples to measure.
    #[error("{operation}: there are no samples of a class that takes part; give at least two rows of a class")]
    NoSamples {
        /// The operation that failed.
        operation: &'static str,
    },
    /// A covariance has no inverse, so the measure is undefined.
    #[error(
        "{operation}: {what} of {size} features is singular (rank at most {rank}), so the measure is undefined; \
             give more than {size} samples, or remove features that depend linearly on others"
    )]
    Singular {
        /// The operation that failed.
        operation: &'static str,
        /// The matrix.
        what: &'static str,
        /// Its rank, or an upper bound on it.
        rank: usize,
        /// Its order.
        size: usize,
    },
    /// More memory would be needed than is available or allowed.
    #[error("{operation}: {needed} bytes are needed for {what}, but the limit is {limit} bytes; {avoid}")]
    Memory {
        /// The operation that failed.
        operation: &'static str,
        /// What needs the memory, with its sizes.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// The stated limit, or the available memory, in bytes.
        limit: u64,
        /// The option that avoids it.
        avoid: &'static str,
    },
    /// Two sets of moments, a head and moments, or two checkpoints have different shapes.
    #[error("{operation}: {what} differ: {left} and {right}")]
    Incompatible {
        /// The operation that failed.
        operation: &'static str,
        /// What differs.
        what: &'static str,
        /// The first of the two.
        left: String,
        /// The second of the two.
        right: String,
    },
    /// An eigendecomposition did not converge.
    #[error("{operation}: the eigendecomposition of a {size}×{size} matrix did not converge")]
    Decomposition {
        /// The operation that failed.
        operation: &'static str,
        /// The order of the matrix.
        size: usize,
    },
    /// The measure needs an eigendecomposition, which this build leaves out.
    #[cfg(not(feature = "faer"))]
    #[error("{operation}: needs the feature `faer` of the crate `collapse`, which is off; build with it")]
    NeedsFaer {
        /// The operation that failed.
        operation: &'static str,
    },
    /// A tensor operation failed.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

#[cfg(feature = "candle")]
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
