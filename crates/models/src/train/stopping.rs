//! When a run ends before its last step: it reached its aim, or it diverged.

use std::collections::VecDeque;

use crate::{Error, Result};

/// The rule by which a run counts as diverged: a loss or gradient that is not finite, or a loss above a bound.
///
/// **Conventions** ln k is the loss of guessing k classes; the default bound, 1000, is far above anything that a run
/// recovers from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Largest loss of one batch, in nats, that still counts as training.
    pub largest_loss: f64,
}

impl Default for Divergence {
    fn default() -> Self {
        Self { largest_loss: 1e3 }
    }
}

/// Ends a run as soon as the mean loss of its last steps falls to a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetLoss {
    /// The level, in nats.
    pub loss: f64,
    /// How many steps the mean is over; it is not taken before so many were done.
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

    /// Takes in one loss; whether the mean has come down to the level.
    pub(super) fn reached(&self, recent: &mut VecDeque<f64>, loss: f64) -> bool {
        recent.push_back(loss);
        while recent.len() > self.window {
            recent.pop_front();
        }
        self.is_reached(recent)
    }

    /// Whether the mean of the losses taken in so far lies at or below the level.
    pub(super) fn is_reached(&self, recent: &VecDeque<f64>) -> bool {
        recent.len() == self.window && recent.iter().sum::<f64>() / self.window as f64 <= self.loss
    }
}
