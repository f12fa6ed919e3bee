//! The rules that end a run before its last step: a target loss, and divergence.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The rule by which a run counts as diverged: a loss or gradient that is not finite, or a loss above a bound.
///
/// **Conventions** ln k is the loss of a uniform guess among k classes. The default bound, 1000 nats, is far above any loss from
/// which a run recovers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The largest loss of one batch, in nats, that does not count as diverged.
    pub largest_loss: f64,
}

impl Default for Divergence {
    fn default() -> Self {
        Self { largest_loss: 1e3 }
    }
}

/// Ends a run as soon as the mean loss of its last steps is at most a level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetLoss {
    /// The level, in nats.
    pub loss: f64,
    /// Number of steps in the mean; the rule applies once this many steps were done.
    pub window: usize,
}

impl TargetLoss {
    pub(super) fn validate(&self) -> Result<()> {
        if !(self.loss.is_finite() && self.loss > 0.0) {
            let rule = "it is a finite number above 0";
            return Err(Error::Setting { op: "fit", name: "target loss", value: self.loss.to_string(), rule });
        }
        if self.window == 0 {
            let rule = "it is at least 1";
            return Err(Error::Setting { op: "fit", name: "target loss window", value: "0".into(), rule });
        }
        Ok(())
    }

    /// Adds one loss; whether the mean is now at most the level.
    pub(super) fn reached(&self, recent: &mut VecDeque<f64>, loss: f64) -> bool {
        recent.push_back(loss);
        while recent.len() > self.window {
            recent.pop_front();
        }
        self.is_reached(recent)
    }

    /// Whether the mean of the last losses is at most the level.
    pub(super) fn is_reached(&self, recent: &VecDeque<f64>) -> bool {
        recent.len() == self.window && recent.iter().sum::<f64>() / self.window as f64 <= self.loss
    }
}
