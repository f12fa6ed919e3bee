//! A value with its standard error and the number of samples in it.

use serde::{Deserialize, Serialize};

/// A value with its standard error.
///
/// **Conventions** a number that is not finite becomes `None`, because JSON cannot represent it: such a value is undefined on
/// these data.
///
/// ```
/// use assess::Measured;
/// let measured = Measured::new(2.5, Some(0.1), 40);
/// assert_eq!(measured, Measured { value: Some(2.5), standard_error: Some(0.1), samples: 40 });
/// assert_eq!(Measured::new(f64::INFINITY, None, 40).value, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The value; none if it is undefined or not finite.
    pub value: Option<f64>,
    /// Its standard error, if one is estimated.
    pub standard_error: Option<f64>,
    /// Number of images, or of episodes, in it.
    pub samples: usize,
}

impl Measured {
    /// A value with its standard error. Numbers that are not finite become none.
    pub fn new(value: f64, standard_error: Option<f64>, samples: usize) -> Self {
        let finite = |number: &f64| number.is_finite();
        Self { value: Some(value).filter(finite), standard_error: standard_error.filter(finite), samples }
    }

    /// A value that may be undefined, with a standard error where it is defined.
    pub fn maybe(value: Option<f64>, standard_error: Option<f64>, samples: usize) -> Self {
        Self::new(value.unwrap_or(f64::NAN), standard_error.filter(|_| value.is_some()), samples)
    }

    /// A share of decisions, with its [binomial standard error](statistics::proportion_standard_error), which is never 0.
    ///
    /// ```
    /// let share = assess::Measured::share(3, 4);
    /// assert_eq!((share.value, share.samples), (Some(0.75), 4));
    /// assert!((share.standard_error.unwrap() - (0.75f64 * 0.25 / 4.0).sqrt()).abs() < 1e-15);
    /// ```
    pub fn share(count: usize, of: usize) -> Self {
        let share = count as f64 / of as f64;
        Self::new(share, statistics::proportion_standard_error(count as u64, of as u64).ok(), of)
    }
}
