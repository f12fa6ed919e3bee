//! Fully connected networks.

use serde::{Deserialize, Serialize};

use super::Parts;
use super::family::{Family, cifar_size, relu, require_size, scaled, ten};
use crate::layer::{ActivationLayer, Linear, Stack};
use crate::params::Builder;
use crate::{Error, Result};
use ops::Activation;

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

impl MlpConfig {
    /// `mlp`: two hidden layers of 512 on flattened images.
    pub(super) fn named(name: &str) -> Option<Self> {
        let images = 3 * cifar_size()[0] * cifar_size()[1];
        (name == "mlp").then(|| Self { inputs: images, hidden: vec![512; 2], activation: relu(), classes: ten() })
    }

    /// The keys of its description.
    pub(super) const KEYS: &'static [&'static str] = &["inputs", "hidden", "activation", "classes"];
}

impl Family for MlpConfig {
    fn classes(&self) -> usize {
        self.classes
    }

    fn set_classes(&mut self, classes: usize) {
        self.classes = classes;
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![self.inputs]
    }

    fn set_input(&mut self, channels: usize, size: [usize; 2]) {
        self.inputs = channels.saturating_mul(size[0]).saturating_mul(size[1]);
    }

    fn scale_width(&mut self, factor: f64) {
        for width in &mut self.hidden {
            *width = scaled(*width, factor);
        }
    }

    fn set_activation(&mut self, activation: Activation) {
        self.activation = activation;
    }

    fn has_batch_norm(&self) -> bool {
        false
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<Parts> {
        require_size("inputs", self.inputs)?;
        require_size("classes", self.classes)?;
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
            require_size("hidden", *width)?;
            if index > 0 {
                body.push(format!("embed.{}", 2 * index - 1), ActivationLayer(self.activation));
            }
            let name = format!("embed.{}", 2 * index);
            body.push(name.clone(), Linear::new(builder.under(&name), inputs, *width)?);
            inputs = *width;
        }
        Parts::new(body, builder, "head", (*features, self.classes))
    }
}
