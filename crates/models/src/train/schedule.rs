//! Learning rates along training.

use serde::{Deserialize, Serialize};

/// The factor by which the base learning rate is multiplied at each step.
///
/// **Conventions** steps count from 0; `total` is the number of steps of the run.
///
/// ```
/// use models::train::Schedule;
/// assert_eq!(Schedule::Constant.factor(7, 10), 1.0);
/// assert_eq!(Schedule::Cosine { warmup: 0 }.factor(5, 10), 0.5);
/// assert_eq!(Schedule::Cosine { warmup: 4 }.factor(1, 10), 0.5);
/// assert_eq!(Schedule::Step { every: 3, gamma: 0.1 }.factor(3, 10), 0.1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// 1 throughout.
    #[default]
    Constant,
    /// Times `gamma` after every `every` steps.
    Step {
        /// Steps between two changes.
        every: u64,
        /// Factor of one change.
        gamma: f64,
    },
    /// A linear rise over `warmup` steps to 1, then half a cosine down to 0 at the end.
    Cosine {
        /// Steps of the rise.
        #[serde(default)]
        warmup: u64,
    },
}

impl Schedule {
    /// The factor at `step` of a run of `total` steps.
    pub fn factor(self, step: u64, total: u64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step { every, gamma } => gamma.powi((step / every.max(1)).min(i32::MAX as u64) as i32),
            Schedule::Cosine { warmup } if step < warmup => (step + 1) as f64 / warmup as f64,
            Schedule::Cosine { warmup } => {
                let span = total.saturating_sub(warmup).max(1) as f64;
                let progress = ((step - warmup) as f64 / span).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
        }
    }
}
