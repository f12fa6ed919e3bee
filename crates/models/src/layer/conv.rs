//! Convolution as a layer.

use candle_core::Tensor;
use ops::nhwc::{
    FollowedBy, ReluMasks, channel_sum, conv2d, conv2d_input_gradient, conv2d_input_gradient_masked, conv2d_relu,
    conv2d_weight_gradient, max_pool2d_with_positions, relu_mask_with_sum,
};
use ops::{ConvSettings, relu_mask};

use super::{
    BatchNorm2d, Cotangents, Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals,
    MaxPool, ReluMask, TangentCotangentTerms,
};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Convolution with PyTorch's parameter names `weight` and `bias`.
#[derive(Clone)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: ConvSettings,
}

/// The sizes of a convolution with a square window.
#[derive(Clone, Copy)]
pub(crate) struct ConvSizes {
    /// Channels of the input.
    pub(crate) inputs: usize,
    /// Channels of the output.
    pub(crate) outputs: usize,
    /// Side of the window, in pixels.
    pub(crate) kernel: usize,
}

impl Conv2d {
    pub(crate) fn new(
        mut builder: Builder<'_>,
        sizes: ConvSizes,
        settings: ConvSettings,
        with_bias: bool,
    ) -> Result<Self> {
        let ConvSizes { inputs, outputs, kernel } = sizes;
        let per_group = inputs / settings.groups.max(1);
        let weight = builder.tensor("weight", &[outputs, per_group, kernel, kernel], Role::Weight)?;
        let fan_in = per_group * kernel * kernel;
        let bias = with_bias.then(|| builder.tensor("bias", &[outputs], Role::Bias { fan_in })).transpose()?;
        Ok(Self { weight, bias, settings })
    }

    fn settings(&self, pass: &Pass) -> ConvSettings {
        ConvSettings { accuracy: pass.accuracy, ..self.settings }
    }

    /// This convolution with the evaluation-mode batch norm after it folded into its weights. None where a parameter of either
    /// is a variable: its gradient could not be computed from the folded weights.
    pub(super) fn with_batch_norm(&self, norm: &BatchNorm2d) -> Result<Option<Conv2d>> {
        let Some((factor, summand)) = norm.constants()?.filter(|_| !self.is_tracked()) else { return Ok(None) };
        let weight = self.weight.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
        let bias = match &self.bias {
            Some(bias) => ((bias * &factor)? + summand)?,
            None => summand,
        };
        Ok(Some(Self { weight, bias: Some(bias), settings: self.settings }))
    }

    fn is_tracked(&self) -> bool {
        self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// As [`Layer::linearize`]; the result does not borrow this layer.
    pub(super) fn linearize_owned(&self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'static>> {
        let bias = self.bias.as_ref().map(Tensor::detach);
        let y = conv2d(&input.x, &self.weight.detach(), bias.as_ref(), self.settings(pass))?;
        Ok(self.linearization(y, None, input, pass))
    }

    /// As [`Layer::linearize_with_relu`]; the result does not borrow this layer.
    pub(super) fn linearize_with_own_relu(
        &self,
        input: &LayerInput,
        mask: ReluMask,
        pass: &Pass,
    ) -> Result<Option<LayerLinearization<'static>>> {
        let Some(y) = self.forward_relu_detached(input, pass)? else { return Ok(None) };
        let mask = (mask == ReluMask::ThisLayer).then(|| y.clone());
        Ok(Some(self.linearization(y, mask, input, pass)))
    }

    /// This convolution, the ReLU and the max pool after it, fused: the three together store less for the backward pass
    /// than each by itself, and skip more products with zeros. None where a parameter is a variable or residuals are kept.
    pub(super) fn linearize_with_relu_and_pool(
        &self,
        input: &LayerInput,
        pool: &MaxPool,
        pass: &Pass,
    ) -> Result<Option<LayerLinearization<'static>>> {
        if self.is_tracked() || input.keeps_residuals {
            return Ok(None);
        }
        let Some(y) = self.forward_relu_detached(input, pass)? else { return Ok(None) };
        let (pooled, positions) = max_pool2d_with_positions(&y, pool.0)?;
        // The output before the pool is not kept, but tensors of its size are allocated during the passes.
        let inside = Footprint { total: positions.bytes(), ..Footprint::of(&y) };
        let followed_by = FollowedBy::ReluMaxPool(positions, pooled.clone());
        Ok(Some(LayerLinearization { inside, ..self.constant_linearization(pooled, followed_by, input, pass) }))
    }

    /// ReLU of the output, outside any graph. None for a convolution without bias, which has no fused operation.
    fn forward_relu_detached(&self, input: &LayerInput, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(bias) = &self.bias else { return Ok(None) };
        Ok(Some(conv2d_relu(&input.x, &self.weight.detach(), &bias.detach(), self.settings(pass))?))
    }

    /// The output `y` with its backward pass; `mask` is the output of a fused ReLU whose mask this layer applies.
    fn linearization(
        &self,
        y: Tensor,
        mask: Option<Tensor>,
        input: &LayerInput,
        pass: &Pass,
    ) -> LayerLinearization<'static> {
        if self.is_tracked() {
            return self.tracked_linearization(y, mask, input, pass);
        }
        self.constant_linearization(y, mask.map_or(FollowedBy::Nothing, FollowedBy::Relu), input, pass)
    }

    /// The same with constant weights; `followed_by` lists the operations between the convolution and `y`.
    fn constant_linearization(
        &self,
        y: Tensor,
        followed_by: FollowedBy,
        input: &LayerInput,
        pass: &Pass,
    ) -> LayerLinearization<'static> {
        let (weight, settings, shape) = (self.weight.clone(), self.settings(pass), input.x.dims().to_vec());
        let input_mask = input.relu_mask_pending.then(|| input.x.clone());
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| {
            let masks = ReluMasks { followed_by: &followed_by, preceding_relu: input_mask.as_ref() };
            Ok(Some(conv2d_input_gradient_masked(g, &weight, &shape, masks, settings)?))
        };
        LayerLinearization::new(y, input.needs_gradient, vjp)
    }

    /// The same where weight or bias is a variable.
    fn tracked_linearization(
        &self,
        y: Tensor,
        mask: Option<Tensor>,
        input: &LayerInput,
        pass: &Pass,
    ) -> LayerLinearization<'static> {
        let (weight, settings, needs_gradient) = (self.weight.clone(), self.settings(pass), input.needs_gradient);
        let bias = self.bias.clone().filter(Tensor::track_op);
        let (shape, x) = (input.x.dims().to_vec(), weight.track_op().then(|| input.x.clone()));
        let vjp = move |g: &Tensor, into: &mut GradientAccumulator| -> Result<Option<Tensor>> {
            let g = match (&mask, &bias) {
                (Some(mask), Some(bias)) => {
                    let (g, sum) = relu_mask_with_sum(g, mask)?;
                    into.add(bias, sum)?;
                    g
                }
                (Some(mask), None) => relu_mask(g, mask)?,
                (None, Some(bias)) => {
                    into.add(bias, channel_sum(g)?)?;
                    g.clone()
                }
                (None, None) => g.clone(),
            };
            if let Some(x) = &x {
                into.add(&weight, conv2d_weight_gradient(x, &g, weight.dims(), settings)?)?;
            }
            if !needs_gradient {
                return Ok(None);
            }
            Ok(Some(conv2d_input_gradient(&g, &weight.detach(), &shape, settings)?))
        };
        LayerLinearization::new(y, true, vjp)
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(conv2d(x, &self.weight, self.bias.as_ref(), self.settings(pass))?)
    }

    fn forward_with_relu(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(bias) = &self.bias else { return Ok(None) };
        Ok(Some(conv2d_relu(x, &self.weight, bias, self.settings(pass))?))
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_owned(input, pass)
    }

    fn linearize_with_relu<'a>(
        &'a self,
        input: &LayerInput,
        mask: ReluMask,
        pass: &Pass,
    ) -> Result<Option<LayerLinearization<'a>>> {
        self.linearize_with_own_relu(input, mask, pass)
    }

    fn applies_relu_mask(&self) -> bool {
        // With variables, the layer in front computes the mask and its bias gradient in one pass over the memory.
        !self.is_tracked()
    }

    fn as_convolution(&self) -> Option<&Conv2d> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((self.forward(x, pass)?, conv2d(dx, &self.weight, None, self.settings(pass))?))
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let shape = residuals.input.dims();
        let input = conv2d_input_gradient(g, &self.weight.detach(), shape, self.settings(pass))?;
        Ok(Cotangents::leaf(g, input))
    }

    fn penalty_jvp(
        &self,
        _: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        if self.weight.track_op() {
            let settings = self.settings(pass);
            let gradient = conv2d_weight_gradient(t, &cotangents.output, self.weight.dims(), settings)?;
            terms.add(&self.weight, gradient)?;
        }
        Ok(conv2d(t, &self.weight.detach(), None, self.settings(pass))?)
    }
}
