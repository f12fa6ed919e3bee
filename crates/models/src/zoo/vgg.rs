//! VGG: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks", ICLR 2015 (arXiv 1409.1556).

use serde::{Deserialize, Serialize};

use super::Parts;
use super::family::{
    Family, cifar_size, is_relu, pixels_after_halving, relu, require_images, require_probability, require_size, rgb,
    scaled, takes_images, ten,
};
use crate::layer::{ActivationLayer, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool, Stack};
use crate::params::Builder;
use crate::{Error, Result};
use ops::{Activation, ConvSettings, PoolSettings};

/// Stages of 3×3 convolutions, each closed by 2×2 max pooling; the flattened result is the features.
///
/// **Conventions** parameters are torchvision's `features.<index>.weight`, layers counted with their batch norms,
/// activations and poolings. The head is the single linear layer `classifier` of the CIFAR form; with hidden layers it is
/// torchvision's `classifier.{0,3,6}`, with ReLU and dropout between, and the features are the input of the last one.
/// Images are flattened in PyTorch's order (channel, row, column), without torchvision's adaptive pooling, which changes
/// nothing where the last map is 7×7 (224×224 inputs).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VggConfig {
    /// Output channels of each convolution, stage by stage.
    pub stages: Vec<Vec<usize>>,
    /// Whether batch norm follows each convolution.
    #[serde(default)]
    pub batch_norm: bool,
    /// After each convolution.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
    pub activation: Activation,
    /// Widths of hidden fully connected layers before the head: `[4096, 4096]` is torchvision's form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
    /// Probability with which dropout after each hidden layer drops a value.
    #[serde(default = "half", skip_serializing_if = "is_half")]
    pub dropout: f64,
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

fn half() -> f64 {
    0.5
}

fn is_half(dropout: &f64) -> bool {
    *dropout == half()
}

impl VggConfig {
    /// `vgg11`, `vgg13`, `vgg16`, with `_bn` for batch norm and `-imagenet` for torchvision's hidden layers, and `vgg-small`:
    /// six narrow convolutions with batch norm, which train in seconds on a CPU.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (name, imagenet) = name.strip_suffix("-imagenet").map_or((name, false), |name| (name, true));
        let (base, batch_norm) = name.strip_suffix("_bn").map_or((name, false), |base| (base, true));
        let deep = |convolutions: [usize; 5]| -> Vec<Vec<usize>> {
            [64, 128, 256, 512, 512].iter().zip(convolutions).map(|(width, count)| vec![*width; count]).collect()
        };
        let stages = match base {
            "vgg11" => deep([1, 1, 2, 2, 2]),
            "vgg13" => deep([2, 2, 2, 2, 2]),
            "vgg16" => deep([2, 2, 3, 3, 3]),
            "vgg-small" if !imagenet => vec![vec![8], vec![16], vec![32, 32], vec![32, 32]],
            _ => return None,
        };
        let batch_norm = batch_norm || base == "vgg-small";
        Some(Self {
            stages,
            batch_norm,
            activation: Activation::Relu,
            hidden: if imagenet { vec![4096; 2] } else { Vec::new() },
            dropout: half(),
            in_channels: rgb(),
            input_size: if imagenet { [224; 2] } else { cifar_size() },
            classes: if imagenet { 1000 } else { ten() },
        })
    }

    /// The hidden layers `classifier.0`, `classifier.3`, …; the number of features then, and the name of the head.
    fn push_hidden(&self, body: &mut Stack, builder: &mut Builder<'_>, features: usize) -> Result<(usize, String)> {
        if self.hidden.is_empty() {
            return Ok((features, "classifier".into()));
        }
        let mut inputs = features;
        for (index, width) in self.hidden.iter().enumerate() {
            require_size("hidden", *width)?;
            let name = |offset: usize| format!("classifier.{}", 3 * index + offset);
            body.push(name(0), Linear::new(builder.under(name(0)), inputs, *width)?);
            body.push(name(1), ActivationLayer(self.activation));
            body.push(name(2), Dropout { name: name(2), probability: self.dropout });
            inputs = *width;
        }
        Ok((inputs, format!("classifier.{}", 3 * self.hidden.len())))
    }

    fn feature_count(&self) -> Result<usize> {
        let widths: Vec<usize> = self.stages.iter().filter_map(|stage| stage.last().copied()).collect();
        if widths.is_empty() || widths.len() < self.stages.len() {
            return Err(Error::Setting {
                op: "architecture",
                name: "stages",
                value: format!("{:?}", self.stages),
                rule: "there is at least one stage, and each holds at least one width",
            });
        }
        self.stages.iter().flatten().try_for_each(|width| require_size("stages", *width))?;
        let pixels = pixels_after_halving(self.input_size, self.stages.len())?;
        Ok(pixels * widths.last().copied().unwrap_or(0))
    }
}

impl VggConfig {
    /// The keys of its description.
    pub(super) const KEYS: &'static [&'static str] =
        &["stages", "batch_norm", "activation", "hidden", "dropout", "in_channels", "input_size", "classes"];
}

impl Family for VggConfig {
    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for width in self.stages.iter_mut().flatten() {
            *width = scaled(*width, factor);
        }
    }

    fn has_batch_norm(&self) -> bool {
        self.batch_norm
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<Parts> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_probability(self.dropout)?;
        let features = self.feature_count()?;
        let mut body = Stack::default();
        let mut channels = self.in_channels;
        let mut index = 0;
        let mut next = || {
            index += 1;
            format!("features.{}", index - 1)
        };
        for stage in &self.stages {
            for width in stage {
                let name = next();
                let conv = Conv2d::new(builder.under(&name), (channels, *width), 3, ConvSettings::new(1, 1), true)?;
                body.push(name, conv);
                if self.batch_norm {
                    let name = next();
                    body.push(name.clone(), BatchNorm2d::new(builder.under(&name), *width)?);
                }
                body.push(next(), ActivationLayer(self.activation));
                channels = *width;
            }
            body.push(next(), MaxPool(PoolSettings::square(2)));
        }
        body.push("flatten", Flatten);
        let (features, head) = self.push_hidden(&mut body, &mut builder, features)?;
        Parts::new(body, builder, &head, (features, self.classes))
    }
}
