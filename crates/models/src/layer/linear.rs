//! The fully connected layer.

use candle_core::Tensor;
use ops::nhwc::{channel_sum, conv2d_input_gradient, conv2d_weight_gradient};
use ops::{ConvSettings, linear};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, TangentCotangentTerms,
};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Fully connected layer with PyTorch's parameter names `weight` and `bias`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = builder.tensor("weight", &[outputs, inputs], Role::Weight)?;
        let bias = builder.tensor("bias", &[outputs], Role::Bias { fan_in: inputs })?;
        Ok(Self { weight, bias })
    }

    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(crate) fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// The backward pass, as that of a 1×1 convolution over one image whose pixels are the samples: see [`linear`].
    fn backward(&self, input: &LayerInput, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let (samples, inputs) = input.x.dims2()?;
        let outputs = self.bias.elem_count();
        let cotangents = g.dim(0)?;
        let (settings, row) = (ConvSettings::default(), g.reshape((1, 1, cotangents, outputs))?);
        if self.bias.track_op() {
            into.add(&self.bias, channel_sum(g)?)?;
        }
        if self.weight.track_op() {
            let x = input.x.reshape((1, 1, samples, inputs))?;
            let gradient = conv2d_weight_gradient(&x, &row, &[outputs, inputs, 1, 1], settings)?;
            into.add(&self.weight, gradient.reshape((outputs, inputs))?)?;
        }
        if !input.needs_gradient {
            return Ok(None);
        }
        let weight = self.weight.detach().reshape((outputs, inputs, 1, 1))?;
        let at_input = conv2d_input_gradient(&row, &weight, &[1, 1, cotangents, inputs], settings)?;
        Ok(Some(at_input.reshape((cotangents, inputs))?))
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(linear(x, &self.weight, Some(&self.bias))?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let y = linear(&input.x, &self.weight.detach(), Some(&self.bias.detach()))?;
        let needs_gradient = input.needs_gradient_for(&[&self.weight, &self.bias]);
        let input = LayerInput { x: input.x.clone(), ..*input };
        let vjp = move |g: &Tensor, into: &mut GradientAccumulator| self.backward(&input, g, into);
        Ok(LayerLinearization::new(y, needs_gradient, vjp))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, linear(dx, &self.weight, None)?))
    }

    fn vjp(&self, _: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, g.matmul(&self.weight.detach())?))
    }

    fn penalty_jvp(
        &self,
        _: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            terms.add(&self.weight, cotangents.output.t()?.matmul(t)?)?;
        }
        Ok(linear(t, &self.weight.detach(), None)?)
    }
}
