//! Training: losses, optimisers, schedules, and the loop with its hooks.

mod fit;
mod optimizer;
mod schedule;

pub use fit::{BatchSource, Divergence, Fit, GcPenalty, Observation, Outcome, Progress};
pub use optimizer::{Sgd, Velocities};
pub use schedule::Schedule;
