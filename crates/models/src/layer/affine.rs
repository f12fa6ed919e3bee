//! Layers that are linear in their input up to a constant: convolution and the fully connected layer.

use candle_core::Tensor;

use super::{Cotangents, Layer, Record};
use crate::ops::{
    ConvSettings, conv2d, conv2d_input_gradient, conv2d_relu, conv2d_weight_gradient, linear, with_gradient,
};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Convolution with PyTorch's parameter names `weight` and `bias`.
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: ConvSettings,
}

impl Conv2d {
    /// `channels` is (in, out); `kernel` is the side of a square window.
    pub(crate) fn new(
        mut builder: Builder<'_>,
        channels: (usize, usize),
        kernel: usize,
        settings: ConvSettings,
        with_bias: bool,
    ) -> Result<Self> {
        let per_group = channels.0 / settings.groups.max(1);
        let weight = builder.tensor("weight", &[channels.1, per_group, kernel, kernel], Role::Weight)?;
        let fan_in = per_group * kernel * kernel;
        let bias = with_bias.then(|| builder.tensor("bias", &[channels.1], Role::Bias { fan_in })).transpose()?;
        Ok(Self { weight, bias, settings })
    }

    fn settings(&self, pass: &Pass) -> ConvSettings {
        ConvSettings { accuracy: pass.accuracy, ..self.settings }
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        conv2d(x, &self.weight, self.bias.as_ref(), self.settings(pass))
    }

    fn forward_with_relu(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        self.bias.as_ref().map(|bias| conv2d_relu(x, &self.weight, bias, self.settings(pass))).transpose()
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, conv2d(dx, &self.weight, None, self.settings(pass))?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let input = conv2d_input_gradient(g, &self.weight.detach(), record.x.dims(), self.settings(pass))?;
        Ok(Cotangents::leaf(g, input))
    }

    fn pair(
        &self,
        _: &Record,
        cotangents: &Cotangents,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            let settings = self.settings(pass);
            let gradient = conv2d_weight_gradient(t, &cotangents.output, self.weight.dims(), settings)?;
            pairings.push(with_gradient(&self.weight, &gradient)?);
        }
        conv2d(t, &self.weight.detach(), None, self.settings(pass))
    }
}

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
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        linear(x, &self.weight, Some(&self.bias))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, linear(dx, &self.weight, None)?))
    }

    fn pullback(&self, _: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, g.matmul(&self.weight.detach())?))
    }

    fn pair(
        &self,
        _: &Record,
        cotangents: &Cotangents,
        t: &Tensor,
        _: &Pass,
        pairings: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            pairings.push(with_gradient(&self.weight, &cotangents.output.t()?.matmul(t)?)?);
        }
        linear(t, &self.weight.detach(), None)
    }
}
