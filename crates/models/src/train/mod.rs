//! Training: losses, optimisers, schedules, checkpoints, and the loop with its hooks.

mod checkpoint;
mod fit;
mod gradients;
mod optimizer;
mod penalised;
mod retention;
mod schedule;
mod stopping;

pub use checkpoint::{Checkpoint, CheckpointHeader};
pub use fit::{BatchSource, Fit, Observation, Observer, Outcome, Progress};
pub use gradients::Gradients;
pub use optimizer::{Adam, Optimizer, OptimizerState, Sgd};
pub use penalised::GcPenalty;
use penalised::PenalisedPass;
pub use retention::{Checkpoints, Keep};
pub use schedule::{Course, Schedule};
pub use stopping::{Divergence, TargetLoss};
