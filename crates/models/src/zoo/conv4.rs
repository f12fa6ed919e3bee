//! Conv-4, the four convolutions of few-shot learning: O. Vinyals et al., "Matching Networks", NeurIPS 2016
//! (arXiv 1606.04080); J. Snell et al., "Prototypical Networks", NeurIPS 2017 (arXiv 1703.05175).

use ops::{Activation, ConvSettings, PoolSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::family::{
    Family, cifar_size, is_relu, pixels_after_halving, relu, require_images, require_size, rgb, scaled, takes_images,
    ten,
};
use crate::layer::{ActivationLayer, BatchNorm2d, Conv2d, ConvSizes, Flatten, MaxPool, Sequential};
use crate::params::Builder;
use crate::{Error, Result};

/// Blocks of a 3×3 convolution, batch norm, an activation and 2×2 max pooling, then the head.
///
/// **Features** the flattened output of the last block.
///
/// **Conventions** the names are those of the authors' PyTorch code, `encoder.<block>.0` for the convolution and
/// `encoder.<block>.1` for its batch norm. The head, which that code does not have, is `classifier`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv4Config {
    /// Output channels of each block.
    #[serde(default = "four_of_64")]
    pub channels: Vec<usize>,
    /// The activation after each batch norm.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
    pub activation: Activation,
    /// Channels of the images.
    #[serde(default = "rgb")]
    pub in_channels: usize,
    /// `[height, width]` of the images.
    #[serde(default = "cifar_size")]
    pub input_size: [usize; 2],
    /// Outputs of the head.
    #[serde(default = "ten")]
    pub classes: usize,
}

fn four_of_64() -> Vec<usize> {
    vec![64; 4]
}

impl Default for Conv4Config {
    fn default() -> Self {
        Self {
            channels: four_of_64(),
            activation: relu(),
            in_channels: rgb(),
            input_size: cifar_size(),
            classes: ten(),
        }
    }
}

impl Family for Conv4Config {
    const NAME: &'static str = "conv4";
    const PRESETS: &'static [&'static str] = &["conv4"];

    fn preset(name: &str) -> Option<Self> {
        (name == "conv4").then(Self::default)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for width in &mut self.channels {
            *width = scaled(*width, factor);
        }
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn head_name(&self) -> String {
        "classifier".into()
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        if self.channels.is_empty() {
            let rule = "there is at least one block";
            return Err(Error::Setting { op: "architecture", name: "channels", value: "[]".into(), rule });
        }
        let pixels = pixels_after_halving(self.input_size, self.channels.len())?;
        let mut body = Sequential::default();
        let mut channels = self.in_channels;
        for (block, width) in self.channels.iter().enumerate() {
            require_size("channels", *width)?;
            let name = |layer: usize| format!("encoder.{block}.{layer}");
            let settings = ConvSettings::new(1, 1);
            let sizes = ConvSizes { inputs: channels, outputs: *width, kernel: 3 };
            body.push(name(0), Conv2d::new(builder.under(name(0)), sizes, settings, true)?);
            body.push(name(1), BatchNorm2d::new(builder.under(name(1)), *width)?);
            body.push(name(2), ActivationLayer(self.activation));
            body.push(name(3), MaxPool(PoolSettings::square(2)));
            channels = *width;
        }
        body.push("flatten", Flatten);
        BodyAndHead::new(body, builder, &self.head_name(), channels * pixels, self.classes)
    }
}
