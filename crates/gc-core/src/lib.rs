//! Geometric complexity of any feature map on candle tensors: exact or estimated, with its standard error.

mod error;
mod feature_map;

pub use error::{Error, Result};
pub use feature_map::FeatureMap;
