//! Level, resamples and seed of the intervals.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Ceiling of the number of resamples: each costs 8 bytes per resampled mean.
const MOST_RESAMPLES: usize = 10_000_000;

/// How intervals are made: their level, and the resamples with their seed.
///
/// ```
/// let settings = fewshot::IntervalSettings::default();
/// assert_eq!((settings.level, settings.resamples, settings.seed), (0.95, 1000, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalSettings {
    /// The confidence level, such as 0.95.
    pub level: f64,
    /// Number of bootstrap resamples, and of drawn permutations; 100 to 10 million.
    pub resamples: usize,
    /// The seed of the resamples and permutations.
    pub seed: u64,
}

impl Default for IntervalSettings {
    fn default() -> Self {
        Self { level: 0.95, resamples: 1000, seed: 0 }
    }
}

impl IntervalSettings {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.level > 0.0 && self.level < 1.0) {
            let expected = "between 0 and 1, such as 0.95";
            return Err(Error::InvalidSetting { setting: "the confidence level", value: self.level, expected });
        }
        if !(100..=MOST_RESAMPLES).contains(&self.resamples) {
            let value = self.resamples as f64;
            let expected = "100 to 10 million";
            return Err(Error::InvalidSetting { setting: "the number of resamples", value, expected });
        }
        Ok(())
    }
}
