#![doc = include_str!("../README.md")]

mod batch;
pub mod bounds;
mod by_reference;
mod covariates;
mod derivative_check;
mod error;
mod estimate;
mod estimators;
mod feature_map;
mod geometric_complexity;
mod inspection;
mod learning_path;
mod measurement;
mod moments;
mod parametric;
mod penalty;
mod plan;
mod probe;
mod progress;
mod regression;
mod reverse_mode;
mod squared_pullbacks;
mod tensors;
mod units;

/// The version of candle whose tensors this crate takes and returns.
pub use candle_core;

pub use batch::Batch;
pub use covariates::Covariate;
pub use derivative_check::{Agreement, DerivativeCheck, Derivatives, check_derivatives};
pub use error::{Error, Quantity, Result};
pub use estimate::{
    ChunkReport, ClassEstimate, Estimate, Method, Passes, Population, Regression, Side, StandardError, Stopped,
    TrackedWeights,
};
pub use feature_map::{BatchNormMode, FeatureMap, Linearization, ResidualBytes};
pub use geometric_complexity::GeometricComplexity;
pub use learning_path::{LearningPath, Slope};
pub use parametric::{ForwardMode, NoForwardMode, Parametric, frozen_weights};
pub use penalty::{Penalty, PenaltyProbes, PenaltyTerm};
pub use plan::Plan;
pub use probe::Probe;
pub use progress::Progress;
pub use squared_pullbacks::{SquaredPullbacks, Tangent};
pub use statistics::Interval;
pub use units::InputUnits;
