//! The penalty of ridge regression on one task.

use serde::{Deserialize, Serialize};

/// The penalty used on a task, with the leave-one-out errors by which it was chosen.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PenaltyChoice {
    /// The penalty λ. Zero only where a relative penalty meets features that do not vary at all.
    pub lambda: f64,
    /// Every candidate, by ascending λ. Empty where the penalty was given.
    pub candidates: Vec<PenaltyCandidate>,
}

/// A candidate penalty with its leave-one-out error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PenaltyCandidate {
    /// The penalty λ.
    pub lambda: f64,
    /// Mean squared leave-one-out error over support samples and classes.
    pub mean_squared_error: f64,
}
