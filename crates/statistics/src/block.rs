//! Blocks: the runs of one seed.

use crate::Result;
use crate::error::{check_lengths, check_values};

/// The runs that share a seed: `x` (such as the swept value) and `y` (such as a metric) of each run.
///
/// Runs of one seed share its initial weights and its data order, so they are not independent of each other. The seed is
/// the unit of replication, and each statistic of this crate that takes blocks compares runs within a block only.
///
/// ```
/// let block = statistics::Block { x: &[0.1, 0.2, 0.4], y: &[3.1, 2.5, 1.9] };
/// assert_eq!(block.len(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block<'a> {
    /// The first value of each run.
    pub x: &'a [f64],
    /// The second value of each run, in the same order.
    pub y: &'a [f64],
}

impl Block<'_> {
    /// The number of runs.
    pub fn len(&self) -> usize {
        self.x.len()
    }

    /// Whether there are no runs.
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// Checks for equal lengths, finite values, and at least `needed` runs.
    pub(crate) fn check(&self, statistic: &'static str, needed: usize) -> Result<()> {
        check_lengths(statistic, self.x.len(), self.y.len())?;
        check_values(statistic, self.x, needed)?;
        check_values(statistic, self.y, needed)
    }
}
