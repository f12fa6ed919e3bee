//! Settings of intervals and tests.

use serde::{Deserialize, Serialize};

use crate::error::check_level;
use crate::{Error, Result};

/// The most resamples: each costs 8 bytes per resampled mean.
const MOST_RESAMPLES: usize = 10_000_000;

/// The confidence level of intervals, and the number and seed of resamples.
///
/// ```
/// let settings = statistics::IntervalSettings::default();
/// assert_eq!((settings.level, settings.resamples, settings.seed), (0.95, 1000, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalSettings {
    /// The confidence level.
    pub level: f64,
    /// The number of resamples of a bootstrap, or of drawn permutations of a test; 100 to 10 million.
    pub resamples: usize,
    /// The seed of the resamples.
    pub seed: u64,
}

impl Default for IntervalSettings {
    fn default() -> Self {
        Self { level: 0.95, resamples: 1000, seed: 0 }
    }
}

impl IntervalSettings {
    /// Checks the level and the number of resamples.
    ///
    /// **Errors** [`Error::InvalidSetting`] for a level outside (0, 1), and for fewer than 100 or more than 10 million
    /// resamples.
    ///
    /// ```
    /// use statistics::IntervalSettings;
    /// assert!(IntervalSettings::default().check().is_ok());
    /// assert!(IntervalSettings { level: 95.0, ..IntervalSettings::default() }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        check_level(self.level)?;
        if (100..=MOST_RESAMPLES).contains(&self.resamples) {
            return Ok(());
        }
        let (setting, expected) = ("the number of resamples", "100 to 10 million");
        Err(Error::InvalidSetting { setting, value: self.resamples as f64, expected })
    }
}
