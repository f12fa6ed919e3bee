//! The architecture of a network whose layers are built by code.

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::{BodyAndHead, Family};
use crate::params::Builder;
use crate::{Error, Result};

/// The sizes of a network of one's own layers, as a checkpoint states them. The layers themselves are code: see
/// [`Network::of_layers`](crate::Network::of_layers).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLayers {
    /// A name that tells this network from others.
    pub name: String,
    /// Shape of one input, without the batch.
    pub input: Vec<usize>,
    /// The name of the head.
    pub head: String,
    /// Outputs of the head.
    pub classes: usize,
    /// Whether it has batch norm.
    pub batch_norm: bool,
}

impl Family for OwnLayers {
    const NAME: &'static str = "own_layers";

    fn classes(&self) -> usize {
        self.classes
    }

    fn set_classes(&mut self, classes: usize) {
        self.classes = classes;
    }

    fn input_shape(&self) -> Vec<usize> {
        self.input.clone()
    }

    fn set_input(&mut self, channels: usize, size: [usize; 2]) {
        self.input = [&[channels], size.as_slice()].concat();
    }

    /// The widths are those of the code.
    fn scale_width(&mut self, _: f64) {}

    /// The activation is that of the code.
    fn set_activation(&mut self, _: Activation) {}

    fn has_batch_norm(&self) -> bool {
        self.batch_norm
    }

    fn head_name(&self) -> String {
        self.head.clone()
    }

    fn build(&self, _: Builder<'_>) -> Result<BodyAndHead> {
        Err(Error::Setting {
            op: "architecture",
            name: "family",
            value: Self::NAME.into(),
            rule: "its layers are code; build the network with `Network::of_layers`",
        })
    }
}
