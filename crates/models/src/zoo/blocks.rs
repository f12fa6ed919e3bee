//! Parts that several families are made of.

use ops::{Activation, ConvSettings};

use super::family::require_probability;
use crate::Result;
use crate::layer::{ActivationLayer, BatchNorm2d, Conv2d, ConvSizes, Linear, Sequential, StochasticDepth};
use crate::params::Builder;

/// PyTorch's default ε of batch norm.
pub(super) const BATCH_NORM_EPSILON: f64 = 1e-5;
/// timm's ε of the layer norms of vision transformers, ConvNeXts and Mixers.
pub(super) const LAYER_NORM_EPSILON: f64 = 1e-6;

/// A convolution without bias, batch norm and an activation, under their names.
pub(super) struct ConvNorm<'a> {
    /// The names of convolution and batch norm.
    pub(super) names: [&'a str; 2],
    pub(super) sizes: ConvSizes,
    pub(super) settings: ConvSettings,
    pub(super) epsilon: f64,
    /// The activation, under the name `<norm>_act`.
    pub(super) activation: Option<Activation>,
}

impl ConvNorm<'_> {
    /// Appends the layers.
    pub(super) fn push(self, layers: &mut Sequential, builder: &mut Builder<'_>) -> Result<()> {
        let [conv, norm] = self.names;
        layers.push(conv, Conv2d::new(builder.under(conv), self.sizes, self.settings, false)?);
        let batch_norm = BatchNorm2d::with_epsilon(builder.under(norm), self.sizes.outputs, self.epsilon)?;
        layers.push(norm, batch_norm);
        if let Some(activation) = self.activation {
            layers.push(format!("{norm}_act"), ActivationLayer(activation));
        }
        Ok(())
    }
}

/// A k×k convolution with padding k/2 (rounded down), which keeps the size of an image up to the stride.
pub(super) fn same_size(kernel: usize, stride: usize, groups: usize) -> ConvSettings {
    ConvSettings { groups, ..ConvSettings::new(stride, kernel / 2) }
}

/// Appends `fc1`, an activation and `fc2`, timm's `Mlp`.
pub(super) fn push_mlp(
    layers: &mut Sequential,
    mut builder: Builder<'_>,
    widths: [usize; 3],
    activation: Activation,
) -> Result<()> {
    push_feed_forward(layers, &mut builder, [["fc1", "fc1"], ["fc2", "fc2"]], widths, activation)
}

/// Appends a linear layer, an activation and a linear layer. Each linear layer has a name and the path of its parameters.
pub(super) fn push_feed_forward(
    layers: &mut Sequential,
    builder: &mut Builder<'_>,
    [first, second]: [[&str; 2]; 2],
    [inputs, hidden, outputs]: [usize; 3],
    activation: Activation,
) -> Result<()> {
    layers.push(first[0], Linear::new(builder.under(first[1]), inputs, hidden)?);
    layers.push("act", ActivationLayer(activation));
    layers.push(second[0], Linear::new(builder.under(second[1]), hidden, outputs)?);
    Ok(())
}

/// Appends stochastic depth whose probability grows with the index of the block from 0 to `largest`, if that is not 0.
pub(super) fn push_stochastic_depth(
    layers: &mut Sequential,
    name: String,
    [block, blocks]: [usize; 2],
    largest: f64,
) -> Result<()> {
    require_probability(largest)?;
    let probability = largest * block as f64 / blocks.saturating_sub(1).max(1) as f64;
    if probability > 0.0 {
        layers.push("drop_path", StochasticDepth { name, probability });
    }
    Ok(())
}

/// Appends layers under a prefix.
pub(super) fn append(layers: &mut Sequential, prefix: &str, more: Sequential) {
    for (name, layer) in more {
        layers.push_shared(format!("{prefix}.{name}"), layer);
    }
}

/// `width` times `factor` as a multiple of `step`, at least one; 0 for a factor that is not finite and positive.
pub(super) fn scaled_in_steps(width: usize, factor: f64, step: usize) -> usize {
    let step = step.max(1);
    super::family::scaled(width.div_ceil(step), factor) * step
}

/// The nearest multiple of 8 that is at least 8 and not below nine tenths of `channels`: the rule of MobileNets for widths.
pub(super) fn divisible_by_8(channels: f64) -> usize {
    let nearest = ((channels + 4.0) / 8.0).floor().max(1.0) * 8.0;
    (if nearest < 0.9 * channels { nearest + 8.0 } else { nearest }) as usize
}
