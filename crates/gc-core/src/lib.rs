//! Geometric complexity ‖∂f/∂x‖²_F of any feature map on candle tensors: exact or estimated, with its standard error.
//!
//! A network is a [`FeatureMap`], and a closure is one too. [`GeometricComplexity`] says how to measure and when to stop;
//! the [`Estimate`] holds the value, its standard error split by cause, an interval, and what was spent. [`Penalty`] puts
//! the same quantity into a loss. [`bounds`] holds the theory beside it.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use gc_core::{GeometricComplexity, Probe};
//!
//! // 300 points in the plane, and a curved map of them to three features, written with candle.
//! let points: Vec<f32> = (0..600).map(|i| (i as f32 * 0.7).sin()).collect();
//! let points = Tensor::from_vec(points, (300, 2), &Device::Cpu)?;
//! let weight = Tensor::new(&[[1f32, 2., -1.], [0.5, -1., 2.]], &Device::Cpu)?;
//! let map = |x: &Tensor| x.matmul(&weight)?.tanh();
//!
//! let exact = GeometricComplexity::exact().measure_inputs(&map, &points)?;
//! let estimate = GeometricComplexity::projections(Probe::Rademacher, 1).seed(1).measure_inputs(&map, &points)?;
//! let error = estimate.standard_error.total.unwrap();
//! assert!((estimate.value - exact.value).abs() < 3.0 * error);
//! # Ok::<(), gc_core::Error>(())
//! ```

mod batch;
pub mod bounds;
mod checks;
mod derivative_check;
mod error;
mod estimate;
mod estimators;
mod feature_map;
mod freeze;
mod interval;
mod learning_path;
mod measure;
mod moments;
mod penalty;
mod plan;
mod probe;
mod reverse_mode;
mod run;
mod units;

pub use batch::Batch;
pub use derivative_check::{DerivativeCheck, check_derivatives};
pub use error::{Error, Quantity, Result};
pub use estimate::{ChunkReport, ClassEstimate, Estimate, Method, Passes, Population, Side, StandardError, Stopped};
pub use feature_map::{BatchNormMode, FeatureMap, Linearization};
pub use freeze::{ForwardMode, NoForwardMode, Parametric, frozen_weights};
pub use interval::Interval;
pub use learning_path::{LearningPath, Slope};
pub use measure::GeometricComplexity;
pub use penalty::{Penalty, PenaltyProbes, PenaltyTerm, SquaredPullbacks};
pub use plan::Plan;
pub use probe::Probe;
pub use units::InputUnits;
