//! Errors of this crate.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Reasons for which a statistic is undefined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are too few values for a statistic.
    #[error("{statistic} needs at least {needed} values, but there are {got}")]
    TooFewValues {
        /// The statistic.
        statistic: &'static str,
        /// The number of values that it needs.
        needed: usize,
        /// The number of values that were given.
        got: usize,
    },
    /// Two lists that are compared value by value differ in length.
    #[error("{statistic} compares values in pairs, but the lists hold {left} and {right}")]
    UnequalLengths {
        /// The statistic.
        statistic: &'static str,
        /// Length of the first list.
        left: usize,
        /// Length of the second list.
        right: usize,
    },
    /// A statistic is undefined because all values of a list are equal.
    #[error("{statistic} is undefined: all {count} values of the {which} list are equal")]
    NoVariation {
        /// The statistic.
        statistic: &'static str,
        /// `first` or `second`.
        which: &'static str,
        /// The number of values.
        count: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "{statistic}: value {index} is {value}, but values must be finite: leave diverged runs out by a stated rule"
    )]
    NonFiniteValue {
        /// The statistic.
        statistic: &'static str,
        /// Position of the value, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A value is zero or negative where its logarithm is needed.
    #[error(
        "{statistic}: value {index} is {value}, but its logarithm is needed: use end-to-end contrasts or differences"
    )]
    NotPositive {
        /// The statistic.
        statistic: &'static str,
        /// Position of the value in its block, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A setting or an argument is out of its range.
    #[error("{setting} is {value}, but must be {expected}")]
    InvalidSetting {
        /// The setting.
        setting: &'static str,
        /// The value that was given.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
}

/// Checks that there are at least `needed` values and that all are finite; `statistic` names the statistic in the error.
///
/// **Errors** [`Error::TooFewValues`], [`Error::NonFiniteValue`] for the first value that is not finite.
///
/// ```
/// assert!(statistics::check_values("a mean", &[0.5, 0.6], 2).is_ok());
/// let error = statistics::check_values("a mean", &[0.5], 2).unwrap_err();
/// assert_eq!(error.to_string(), "a mean needs at least 2 values, but there are 1");
/// ```
pub fn check_values(statistic: &'static str, values: &[f64], needed: usize) -> Result<()> {
    if values.len() < needed {
        return Err(Error::TooFewValues { statistic, needed, got: values.len() });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(Error::NonFiniteValue { statistic, index, value }),
        None => Ok(()),
    }
}

/// Checks that two lists have the same length.
pub(crate) fn check_lengths(statistic: &'static str, left: usize, right: usize) -> Result<()> {
    if left == right { Ok(()) } else { Err(Error::UnequalLengths { statistic, left, right }) }
}

/// Checks that a confidence level lies strictly between 0 and 1.
pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    let expected = "between 0 and 1, such as 0.95";
    Err(Error::InvalidSetting { setting: "the confidence level", value: level, expected })
}
