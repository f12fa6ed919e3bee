//! Fully connected networks.

use ops::Activation;
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::family::{Family, cifar_size, relu, require_size, scaled, ten};
use crate::layer::{ActivationLayer, Linear, Sequential};
use crate::params::Builder;
use crate::{Error, Result};

/// Hidden layers, each followed by an activation, then the head.
///
/// **Features** the input of the head: the activated output of the last hidden layer. Without the activation before the head,
/// `activation_before_head = false`, they are the output of the last hidden layer itself.
///
/// **Conventions** the layers are named `embed.0` (linear), `embed.1` (activation), `embed.2`, … and `head`. The parameter names
/// `embed.0.weight`, `embed.2.weight`, … and `head.weight` do not show whether there is an activation before the head: the
/// description states it. A description without the key means that there is one, as in PyTorch's
/// `nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, k))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Numbers in one input.
    pub inputs: usize,
    /// Widths of the hidden layers; the last one is the number of features.
    pub hidden: Vec<usize>,
    /// The activation after every hidden layer, the last one only with `activation_before_head`.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Whether the activation also follows the last hidden layer, so that the features are activated.
    #[serde(default = "yes")]
    pub activation_before_head: bool,
    /// Outputs of the head.
    pub classes: usize,
}

fn yes() -> bool {
    true
}

impl MlpConfig {
    /// `mlp`: two hidden layers of 512 on flattened images.
    fn named(name: &str) -> Option<Self> {
        let images = 3 * cifar_size()[0] * cifar_size()[1];
        (name == "mlp").then(|| Self {
            inputs: images,
            hidden: vec![512; 2],
            activation: relu(),
            activation_before_head: yes(),
            classes: ten(),
        })
    }
}

impl Family for MlpConfig {
    const NAME: &'static str = "mlp";
    const PRESETS: &'static [&'static str] = &["mlp"];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

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

    fn head_name(&self) -> String {
        "head".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_size("inputs", self.inputs)?;
        require_size("classes", self.classes)?;
        let Some(features) = self.hidden.last() else {
            return Err(Error::Setting {
                op: "architecture",
                name: "hidden",
                value: "[]".into(),
                rule: "there is at least one hidden layer, whose output gives the features",
            });
        };
        let mut body = Sequential::default();
        let mut inputs = self.inputs;
        for (index, width) in self.hidden.iter().enumerate() {
            require_size("hidden", *width)?;
            let name = format!("embed.{}", 2 * index);
            body.push(name.clone(), Linear::new(builder.under(&name), inputs, *width)?);
            let is_last = index + 1 == self.hidden.len();
            if !is_last || self.activation_before_head {
                body.push(format!("embed.{}", 2 * index + 1), ActivationLayer(self.activation));
            }
            inputs = *width;
        }
        BodyAndHead::new(body, builder, &self.head_name(), *features, self.classes)
    }
}
