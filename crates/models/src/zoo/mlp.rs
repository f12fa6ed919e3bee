//! Fully connected networks.

use serde::{Deserialize, Serialize};

use super::Parts;
use super::architecture::require_positive;
use crate::layer::{ActivationLayer, Linear, Stack};
use crate::ops::Activation;
use crate::params::Builder;
use crate::{Error, Result};

/// Hidden layers with an activation after each but the last, whose output is the features; then the head.
///
/// **Conventions** parameters are `embed.0.weight`, `embed.2.weight`, … (activations are counted) and `head.weight`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Numbers in one input.
    pub inputs: usize,
    /// Widths of the hidden layers; the last one is the number of features.
    pub hidden: Vec<usize>,
    /// After every hidden layer but the last.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Outputs of the head.
    pub classes: usize,
}

fn relu() -> Activation {
    Activation::Relu
}

impl MlpConfig {
    pub(super) fn build(&self, mut builder: Builder<'_>) -> Result<Parts> {
        require_positive("inputs", self.inputs)?;
        require_positive("classes", self.classes)?;
        let Some(features) = self.hidden.last() else {
            return Err(Error::Setting {
                op: "architecture",
                name: "hidden",
                value: "[]".into(),
                rule: "there is at least one hidden layer, whose output is the features",
            });
        };
        let mut body = Stack::default();
        let mut inputs = self.inputs;
        for (index, width) in self.hidden.iter().enumerate() {
            require_positive("hidden", *width)?;
            if index > 0 {
                body.push(format!("embed.{}", 2 * index - 1), ActivationLayer(self.activation));
            }
            let name = format!("embed.{}", 2 * index);
            body.push(name.clone(), Linear::new(builder.under(&name), inputs, *width)?);
            inputs = *width;
        }
        let head = Linear::new(builder.under("head"), *features, self.classes)?;
        Ok(Parts { body, head })
    }
}
