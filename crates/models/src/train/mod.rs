//! Training: losses, optimisers, schedules, checkpoints, and the loop with its hooks.

mod checkpoint;
mod checkpoint_folder;
mod fit;
mod gradients;
mod moving_average;
mod optimizer;
mod penalised_pass;
mod schedule;
mod stopping;
mod unread_step;

pub use checkpoint::{Checkpoint, CheckpointHeader};
pub use checkpoint_folder::{Checkpoints, Keep};
pub use fit::{BatchSource, Fit, FitOutcome, Observation, Observer, Progress};
pub use gradients::{Gradients, LabelledBatch, PenalisedLoss};
pub use moving_average::MovingAverage;
pub use optimizer::{Adam, Optimizer, OptimizerState, Sgd};
pub use penalised_pass::GcPenalty;
use penalised_pass::PenalisedPass;
pub use schedule::{Course, Schedule};
pub use stopping::{Divergence, TargetLoss};
