//! Geometric complexity of any feature map on candle tensors: exact or estimated, with its standard error.

mod batch;
mod checks;
mod error;
mod estimate;
mod estimators;
mod feature_map;
mod freeze;
mod linearisation;
mod measure;
mod moments;
mod penalty;
mod plan;
mod probe;
mod run;
mod units;

pub use batch::Batch;
pub use error::{Error, Quantity, Result};
pub use estimate::{
    ChunkReport, ClassEstimate, Estimate, Interval, Method, Passes, Population, Side, StandardError, Stopped,
};
pub use feature_map::{BatchNormMode, FeatureMap};
pub use freeze::{ForwardMode, NoForwardMode, Parametric, frozen_weights};
pub use measure::GeometricComplexity;
pub use penalty::{Penalty, PenaltyTerm, SquaredPullbacks};
pub use plan::Plan;
pub use probe::Probe;
pub use units::InputUnits;
