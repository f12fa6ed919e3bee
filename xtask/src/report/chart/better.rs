//! The direction in which a quantity is better, written beside its axis.

use assess::Direction;

use crate::study::metric::Metric;

/// A direction on an axis, and whose opinion it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Higher values are better.
    Higher,
    /// Lower values are better.
    Lower,
    /// The paper claims that lower values are better.
    LowerByThePaper,
}

impl Better {
    /// The direction of a measure; none for a quantity that is neither good nor bad.
    pub(crate) fn of(metric: Metric) -> Option<Self> {
        metric.direction().map(|direction| match direction {
            Direction::Higher => Self::Higher,
            Direction::Lower => Self::Lower,
            Direction::LowerByThePaper => Self::LowerByThePaper,
        })
    }

    /// The words on the axis.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Higher => "↑ better",
            Self::Lower => "↓ better",
            Self::LowerByThePaper => "↓ claimed better",
        }
    }
}
