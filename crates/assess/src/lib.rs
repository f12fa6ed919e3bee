#![doc = include_str!("../README.md")]

mod assessment;
mod bounds;
mod decomposition;
mod error;
mod layers;
mod measured;
pub mod measures;
mod registry;

/// The version of candle whose tensors this crate takes and returns.
pub use candle_core;

pub use assessment::{Assessment, Features, FewShotResult, Part, Slopes, TransferResult};
pub use bounds::Bounds;
pub use decomposition::Decomposition;
pub use error::{Error, Result};
pub use layers::LayerMeasures;
pub use measured::Measured;
pub use registry::{Direction, Entry, Measure, Needs, PartOf, Read, Scale, register};
