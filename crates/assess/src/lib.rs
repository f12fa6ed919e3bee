#![doc = include_str!("../README.md")]

mod assessment;
mod bounds;
mod data;
mod decomposition;
mod error;
mod layers;
mod measured;
pub mod measures;
mod measuring;
mod network;
#[cfg(feature = "models")]
mod network_of_models;
mod options;
mod registry;
#[cfg(feature = "datasets")]
mod source_of_datasets;

/// The version of candle whose tensors this crate takes and returns.
pub use candle_core;

pub use assessment::{Assessment, Features, FewShotResult, Part, Slopes, TransferResult};
pub use bounds::Bounds;
pub use data::{BatchResult, Batches, BoxError, Data, Images, LayerImages, Source};
pub use decomposition::Decomposition;
pub use error::{Error, Result};
pub use layers::LayerMeasures;
pub use measured::Measured;
pub use network::{Layers, Network};
pub use options::{FewShot, LayerOptions, Options, PassWatch, Progress, Stage, Watch};
pub use registry::{Direction, Entry, Measure, Needs, PartOf, Read, Scale, register};
