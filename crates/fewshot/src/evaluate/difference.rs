//! Differences in accuracy, paired by episode.

use std::fmt;

use serde::{Deserialize, Serialize};
use statistics::mean_with_resamples;

use super::{bounded, percent};
use crate::{IntervalSettings, MeanEstimate, Result};

/// The difference in accuracy of two heads (or models) on the same episodes.
///
/// **Definition** the mean over episodes of the difference of the two accuracies. Pairing removes the difficulty of the
/// episodes, so the interval is narrower than those of the two accuracies suggest.
///
/// **Conventions** where the difference is the same in every episode, the standard error and both intervals are those of
/// [`crate::HeadAccuracy::accuracy`] for equal values.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the first head.
    pub first: String,
    /// Name of the second head, whose accuracy is subtracted.
    pub second: String,
    /// Accuracy of `first` minus accuracy of `second`.
    pub difference: MeanEstimate,
}

/// A head with its accuracy in every episode and its means over bootstrap resamples.
pub(super) struct Column<'a> {
    pub(super) head: &'a str,
    pub(super) per_episode: &'a [f64],
    pub(super) resampled: &'a [f64],
}

impl Difference {
    /// The difference of two heads with the same episodes and resamples.
    pub(super) fn between(first: &Column<'_>, second: &Column<'_>, settings: &IntervalSettings) -> Result<Self> {
        let resampled = subtract(first.resampled, second.resampled);
        let difference = mean_with_resamples(&subtract(first.per_episode, second.per_episode), resampled, settings)?;
        let difference = bounded::DIFFERENCE.widen_constant(difference);
        Ok(Self { first: first.head.to_owned(), second: second.head.to_owned(), difference })
    }
}

impl fmt::Display for Difference {
    /// The difference ± half of the t-interval: `ncm − ridge:1: +1.2 ± 0.3 points`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} − {}: ", self.first, self.second)?;
        percent::difference(f, self.difference.mean, &self.difference.student)
    }
}

pub(super) fn subtract(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}
