//! Convolution as a layer, alone or fused with its neighbours.

use candle_core::Tensor;
use ops::nhwc::{
    FollowedBy, ReluMasks, conv2d, conv2d_input_gradient, conv2d_input_gradient_masked, conv2d_relu,
    conv2d_weight_gradient, max_pool2d_with_positions, relu_mask_with_sum,
};
use ops::{ConvSettings, PoolSettings, relu_mask};

use super::memo::Memo;
use super::tape::without_tangents;
use super::{BatchNorm2d, Footprint, GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, Linear, Tape};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Convolution with PyTorch's parameter names `weight` and `bias`.
///
/// **Shapes** `[n, h, w, in]` to `[n, h', w', out]`; the weight has PyTorch's shape `[out, in/groups, kernel, kernel]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::layer::{Conv2d, ConvSizes, Layer};
/// use models::ops::ConvSettings;
/// use models::{Access, Initialisation, Params, Pass};
/// let mut params = Params::new(DType::F32, &Device::Cpu);
/// let builder = params.builder(Initialisation::Pytorch, 0, Access::Tracked);
/// let sizes = ConvSizes { inputs: 3, outputs: 8, kernel: 3 };
/// // Stride 2 and padding 1.
/// let layer = Conv2d::new(builder, sizes, ConvSettings::new(2, 1), true)?;
/// let images = Tensor::zeros((2, 32, 32, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&images, &Pass::evaluation())?.dims(), [2, 16, 16, 8]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    settings: ConvSettings,
}

/// The sizes of a convolution with a square window.
#[derive(Debug, Clone, Copy)]
pub struct ConvSizes {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the window, in pixels.
    pub kernel: usize,
}

/// The neighbours that a convolution is fused with.
#[derive(Clone, Copy, Default)]
pub(super) struct ConvFusion {
    /// Whether the input is the output of a ReLU whose mask the VJP of this layer applies.
    pub(super) masks_input: bool,
    /// The layer whose VJP applies the mask of the ReLU after the convolution, if there is one.
    pub(super) relu: Option<ReluMask>,
    /// The max pool after that ReLU. Only for a convolution with constant weights and without tangents.
    pub(super) pool: Option<PoolSettings>,
}

/// The layer whose VJP applies the mask of a ReLU that is fused with the layer in front of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReluMask {
    /// The fused layer itself.
    ThisLayer,
    /// The layer after the ReLU.
    NextLayer,
}

impl Conv2d {
    /// A convolution of these sizes.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, sizes: ConvSizes, settings: ConvSettings, with_bias: bool) -> Result<Self> {
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

    /// This convolution with the evaluation-mode batch norm after it folded into its weights, which are constants.
    pub(super) fn with_batch_norm(&self, norm: &BatchNorm2d) -> Result<Conv2d> {
        let (factor, summand) = norm.affine()?;
        let weight = self.weight.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
        let bias = match &self.bias {
            Some(bias) => ((bias * &factor)? + summand)?,
            None => summand,
        };
        Ok(Self { weight, bias: Some(bias), settings: self.settings })
    }

    /// Whether a parameter is a variable.
    pub(super) fn is_tracked(&self) -> bool {
        self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// The same as a linear layer, if every output pixel depends on its own input pixel alone.
    pub(super) fn as_linear(&self) -> Option<Linear> {
        let pointwise = ConvSettings { accuracy: self.settings.accuracy, ..ConvSettings::default() };
        let is_pointwise = matches!(self.weight.dims(), [_, _, 1, 1]) && self.settings == pointwise;
        is_pointwise.then(|| Linear::of_pointwise_convolution(&self.weight, self.bias.as_ref()))
    }

    pub(super) fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// The convolution and a ReLU in one operation, with candle's graph; none without a bias, which that operation needs.
    pub(super) fn forward_with_relu(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(bias) = &self.bias else { return Ok(None) };
        Ok(Some(conv2d_relu(x, &self.weight, bias, self.settings(pass))?))
    }

    /// As [`Layer::linearize`] for the convolution with its neighbours; the result does not borrow this layer.
    pub(super) fn linearize_fused(
        &self,
        fusion: ConvFusion,
        input: &LayerInput,
        pass: &Pass,
    ) -> Result<LayerLinearization<'static>> {
        let (weight, settings) = (self.weight.detach(), self.settings(pass));
        let bias = self.bias.as_ref().map(Tensor::detach);
        let y = match (fusion.relu, &bias) {
            (Some(_), Some(bias)) => conv2d_relu(&input.x, &weight, bias, settings)?,
            (Some(_), None) => ops::relu(&conv2d(&input.x, &weight, None, settings)?)?,
            (None, bias) => conv2d(&input.x, &weight, bias.as_ref(), settings)?,
        };
        let mut inside = Footprint::default();
        let (output, followed_by) = match (fusion.pool, fusion.relu) {
            (Some(pool), _) => {
                let (pooled, positions) = max_pool2d_with_positions(&y, pool)?;
                // The output before the pool is not kept, but tensors of its size are allocated during the passes.
                inside = Footprint::of(&y).with_total(positions.bytes());
                (pooled.clone(), FollowedBy::ReluMaxPool(positions, pooled))
            }
            (None, Some(ReluMask::ThisLayer)) => (y.clone(), FollowedBy::Relu(y)),
            (None, _) => (y, FollowedBy::Nothing),
        };
        let tape = ConvTape {
            settings,
            shape: input.x.dims().to_vec(),
            x: self.weight.track_op().then(|| input.x.clone()),
            input_mask: fusion.masks_input.then(|| input.x.clone()),
            relu_output: (input.tangents && fusion.relu.is_some()).then(|| output.clone()),
            tangents: input.tangents,
            followed_by,
            masked: Memo::default(),
            layer: self.clone(),
        };
        let parameters = [&self.weight].into_iter().chain(&self.bias);
        Ok(LayerLinearization::new(output, tape).with_parameters(parameters).with_memory(inside))
    }
}

impl Layer for Conv2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(conv2d(x, &self.weight, self.bias.as_ref(), self.settings(pass))?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_fused(ConvFusion::default(), input, pass)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Conv2d(self)
    }
}

struct ConvTape {
    layer: Conv2d,
    settings: ConvSettings,
    /// The shape of the input.
    shape: Vec<usize>,
    /// The input, if the weight is a variable.
    x: Option<Tensor>,
    /// The input, if its ReLU mask is applied here.
    input_mask: Option<Tensor>,
    followed_by: FollowedBy,
    /// The output of a fused ReLU, for tangents.
    relu_output: Option<Tensor>,
    tangents: bool,
    /// The cotangent behind the mask of the fused ReLU.
    masked: Memo<Tensor>,
}

impl ConvTape {
    /// The cotangent of the convolution itself. The gradient by the bias is added on the way.
    fn behind_relu(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let bias = self.layer.bias.as_ref().filter(|bias| into.wants(bias));
        Ok(match (&self.followed_by, bias) {
            (FollowedBy::Relu(y), Some(bias)) => {
                let (g, sum) = relu_mask_with_sum(g, y)?;
                into.add(bias, sum)?;
                g
            }
            (FollowedBy::Relu(y), None) => relu_mask(g, y)?,
            (_, Some(bias)) => {
                let sum = into.channel_sum_of(g)?;
                into.add(bias, sum)?;
                g.clone()
            }
            (_, None) => g.clone(),
        })
    }

    /// The VJP where weight or bias is a variable.
    fn vjp_of_variables(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let weight = &self.layer.weight;
        let behind = self.behind_relu(g, into)?;
        if let Some(x) = self.x.as_ref().filter(|_| into.wants(weight)) {
            into.add(weight, conv2d_weight_gradient(x, &behind, weight.dims(), self.settings)?)?;
        }
        if !into.wants_input() {
            return Ok(None);
        }
        let mut at_input = conv2d_input_gradient(&behind, &weight.detach(), &self.shape, self.settings)?;
        if let Some(mask) = &self.input_mask {
            at_input = relu_mask(&at_input, mask)?;
        }
        if self.tangents && !into.wants_parameters() {
            self.masked.keep(g, behind);
        }
        Ok(Some(at_input))
    }
}

impl Tape for ConvTape {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if self.layer.is_tracked() {
            return self.vjp_of_variables(g, into);
        }
        if !into.wants_input() {
            return Ok(None);
        }
        let masks = ReluMasks { followed_by: &self.followed_by, preceding_relu: self.input_mask.as_ref() };
        Ok(Some(conv2d_input_gradient_masked(g, &self.layer.weight, &self.shape, masks, self.settings)?))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        if !self.tangents {
            return Err(without_tangents());
        }
        let mut t = conv2d(t, &self.layer.weight.detach(), None, self.settings)?;
        if let FollowedBy::ReluMaxPool(positions, _) = &self.followed_by {
            t = positions.gather(&t)?;
        }
        match &self.relu_output {
            Some(y) => Ok(relu_mask(&t, y)?),
            None => Ok(t),
        }
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let weight = &self.layer.weight;
        if into.wants(weight) {
            let behind = match self.masked.take(g) {
                Some(behind) => behind,
                None => self.behind_relu(g, &mut GradientAccumulator::of_input())?,
            };
            into.add(weight, conv2d_weight_gradient(t, &behind, weight.dims(), self.settings)?)?;
        }
        self.jvp(t)
    }
}
