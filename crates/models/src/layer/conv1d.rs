//! One-dimensional convolution as a layer.

use candle_core::Tensor;
use ops::Conv1dSettings;
use ops::nhwc::{channel_sum, conv1d, conv1d_input_gradient, conv1d_weight_gradient};

use super::{ConvSizes, GradientAccumulator, Layer, LayerInput, LayerLinearization, Tape};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Convolution of sequences with PyTorch's parameter names `weight` and `bias`.
///
/// **Shapes** `[n, l, in]` to `[n, l', out]`; the weight has PyTorch's shape `[out, in/groups, kernel]`.
#[derive(Debug, Clone)]
pub struct Conv1d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: Conv1dSettings,
}

impl Conv1d {
    /// A convolution of these sizes.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, sizes: ConvSizes, settings: Conv1dSettings, with_bias: bool) -> Result<Self> {
        let ConvSizes { inputs, outputs, kernel } = sizes;
        let per_group = inputs / settings.groups.max(1);
        let weight = builder.tensor("weight", &[outputs, per_group, kernel], Role::Weight)?;
        let role = Role::Bias { fan_in: per_group * kernel };
        let bias = with_bias.then(|| builder.tensor("bias", &[outputs], role)).transpose()?;
        Ok(Self { weight, bias, settings })
    }
}

impl Layer for Conv1d {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(conv1d(x, &self.weight, self.bias.as_ref(), self.settings)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (weight, bias) = (self.weight.detach(), self.bias.as_ref().map(Tensor::detach));
        let y = conv1d(&input.x, &weight, bias.as_ref(), self.settings)?;
        let (_, length, channels) = input.x.dims3()?;
        let tape = Conv1dTape { layer: self, x: input.x.clone(), length, channels };
        Ok(LayerLinearization::new(y, tape).with_parameters([&self.weight].into_iter().chain(&self.bias)))
    }
}

struct Conv1dTape<'a> {
    layer: &'a Conv1d,
    x: Tensor,
    length: usize,
    channels: usize,
}

impl Tape for Conv1dTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let (g, Conv1d { weight, bias, settings }) = (g.detach(), self.layer);
        if let Some(bias) = bias.as_ref().filter(|bias| into.wants(bias)) {
            into.add(bias, channel_sum(&g)?)?;
        }
        if into.wants(weight) {
            into.add(weight, conv1d_weight_gradient(&self.x, &g, weight.dims(), *settings)?)?;
        }
        if !into.wants_input() {
            return Ok(None);
        }
        let input = [g.dim(0)?, self.length, self.channels];
        Ok(Some(conv1d_input_gradient(&g, &weight.detach(), &input, *settings)?))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(conv1d(&t.detach(), &self.layer.weight.detach(), None, self.layer.settings)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let Conv1d { weight, settings, .. } = self.layer;
        if into.wants(weight) {
            into.add(weight, conv1d_weight_gradient(&t.detach(), &g.detach(), weight.dims(), *settings)?)?;
        }
        self.jvp(t)
    }
}
