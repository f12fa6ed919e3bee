#![doc = include_str!("../README.md")]

mod build;
mod error;
mod evaluate;
mod free_batch;
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod input;
mod layer_graphs;
mod layout;
mod linearization;
mod mapped;
mod measured;
mod message;
mod missing;
mod model;
mod node;
mod operators;
mod run;
mod value;
mod weights;
mod wire;

pub use error::{Error, Result};
pub use graph::{Graph, LinearHead};
pub use layer_graphs::LayerGraphs;
pub use measured::{Layer, MeasuredTensor};
pub use missing::Missing;
pub use model::{Model, NodeInfo};
pub use operators::supported;
pub use run::Array;
