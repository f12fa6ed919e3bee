//! VGG: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks", ICLR 2015 (arXiv 1409.1556).

use ops::{Activation, ConvSettings, PoolSettings};
use serde::{Deserialize, Serialize};

use super::BodyAndHead;
use super::family::{
    Family, cifar_size, is_relu, pixels_after_halving, relu, require_images, require_probability, require_size, rgb,
    scaled, takes_images, ten,
};
use crate::layer::{
    ActivationLayer, AdaptiveAvgPool, BatchNorm2d, Conv2d, ConvSizes, Dropout, Flatten, Linear, MaxPool, Sequential,
};
use crate::params::Builder;
use crate::{Error, Result};

/// Stages of 3×3 convolutions, each followed by 2×2 max pooling, then fully connected layers.
///
/// **Features** the flattened output of the last stage; with `hidden` layers, the output of the last of them after its activation
/// (and its dropout, in training).
///
/// **Conventions** parameters have torchvision's names `features.<index>.weight`, where batch norms, activations and poolings are
/// counted. The head is the single linear layer `classifier`, as is common for CIFAR; with hidden layers it is the last of
/// torchvision's `classifier.{0,3,6}`, with an activation and dropout after each of the others. Images are flattened in PyTorch's
/// order (channel, row, column). torchvision's adaptive pooling is left out: it changes nothing where the last map is 7×7
/// (224×224 inputs).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VggConfig {
    /// Output channels of each convolution, stage by stage.
    pub stages: Vec<Vec<usize>>,
    /// Whether batch norm follows each convolution.
    #[serde(default)]
    pub batch_norm: bool,
    /// The activation after each convolution (or its batch norm) and each hidden layer.
    #[serde(default = "relu", skip_serializing_if = "is_relu")]
    pub activation: Activation,
    /// Widths of hidden fully connected layers before the head: `[4096, 4096]` is torchvision's form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
    /// Rows and columns to which adaptive average pooling brings the last stage, so that the hidden layers fit images of any size:
    /// `[7, 7]` is torchvision's form. None without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<[usize; 2]>,
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
    fn named(name: &str) -> Option<Self> {
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
            pool: imagenet.then_some([7; 2]),
            dropout: half(),
            in_channels: rgb(),
            input_size: if imagenet { [224; 2] } else { cifar_size() },
            classes: if imagenet { 1000 } else { ten() },
        })
    }

    /// Pushes the hidden layers `classifier.0`, `classifier.3`, … and returns the number of features after them.
    fn push_hidden(&self, body: &mut Sequential, builder: &mut Builder<'_>, features: usize) -> Result<usize> {
        let mut inputs = features;
        for (index, width) in self.hidden.iter().enumerate() {
            require_size("hidden", *width)?;
            let name = |offset: usize| format!("classifier.{}", 3 * index + offset);
            body.push(name(0), Linear::new(builder.under(name(0)), inputs, *width)?);
            body.push(name(1), ActivationLayer(self.activation));
            body.push(name(2), Dropout { name: name(2), probability: self.dropout });
            inputs = *width;
        }
        Ok(inputs)
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
        let mut pixels = pixels_after_halving(self.input_size, self.stages.len())?;
        if let Some(pool) = self.pool {
            pool.into_iter().try_for_each(|size| require_size("pool", size))?;
            pixels = pool.iter().product();
        }
        Ok(pixels * widths.last().copied().unwrap_or(0))
    }
}

impl Family for VggConfig {
    const NAME: &'static str = "vgg";
    const PRESETS: &'static [&'static str] = &[
        "vgg11",
        "vgg11_bn",
        "vgg13",
        "vgg13_bn",
        "vgg16",
        "vgg16_bn",
        "vgg11-imagenet",
        "vgg11_bn-imagenet",
        "vgg13-imagenet",
        "vgg13_bn-imagenet",
        "vgg16-imagenet",
        "vgg16_bn-imagenet",
        "vgg-small",
    ];

    fn preset(name: &str) -> Option<Self> {
        Self::named(name)
    }

    takes_images!();

    fn scale_width(&mut self, factor: f64) {
        for width in self.stages.iter_mut().flatten() {
            *width = scaled(*width, factor);
        }
    }

    fn has_batch_norm(&self) -> bool {
        self.batch_norm
    }

    fn head_name(&self) -> String {
        if self.hidden.is_empty() { "classifier".into() } else { format!("classifier.{}", 3 * self.hidden.len()) }
    }

    fn build(&self, mut builder: Builder<'_>) -> Result<BodyAndHead> {
        require_images(self.in_channels, self.input_size, self.classes)?;
        require_probability(self.dropout)?;
        let features = self.feature_count()?;
        let mut body = Sequential::default();
        let mut channels = self.in_channels;
        let mut index = 0;
        let mut next = || {
            index += 1;
            format!("features.{}", index - 1)
        };
        for stage in &self.stages {
            for width in stage {
                let name = next();
                let sizes = ConvSizes { inputs: channels, outputs: *width, kernel: 3 };
                let conv = Conv2d::new(builder.under(&name), sizes, ConvSettings::new(1, 1), true)?;
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
        let size = self.input_size.map(|side| self.stages.iter().fold(side, |side, _| side / 2));
        // Windows of one pixel each would change nothing.
        if let Some(pool) = self.pool.filter(|pool| *pool != size) {
            body.push("avgpool", AdaptiveAvgPool(pool));
        }
        body.push("flatten", Flatten);
        let features = self.push_hidden(&mut body, &mut builder, features)?;
        BodyAndHead::new(body, builder, &self.head_name(), features, self.classes)
    }
}
