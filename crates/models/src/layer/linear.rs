//! The fully connected layer.

use candle_core::Tensor;
use ops::nhwc::{channel_sum, conv2d_input_gradient, conv2d_weight_gradient};
use ops::{ConvSettings, linear};

use super::{GradientAccumulator, Layer, LayerInput, LayerLinearization, Tape};
use crate::params::{Builder, Role};
use crate::{Error, Pass, Result};

/// Fully connected layer with PyTorch's parameter names `weight` and `bias`: y = x·weightᵀ + bias on the last dimension.
///
/// **Shapes** vectors `[n, in]` to `[n, out]`, tokens `[n, t, in]` to `[n, t, out]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::layer::{Layer, Linear};
/// use models::{Access, Initialisation, Params, Pass};
/// let mut params = Params::new(DType::F32, &Device::Cpu);
/// let layer = Linear::new(params.builder(Initialisation::Pytorch, 0, Access::Tracked), 3, 5)?;
/// let tokens = Tensor::zeros((2, 7, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&tokens, &Pass::evaluation())?.dims(), [2, 7, 5]);
/// assert_eq!(params.names().collect::<Vec<_>>(), ["bias", "weight"]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// The layer from `inputs` to `outputs` numbers, with a bias.
    ///
    /// # Errors
    /// [`Error::Shape`] when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = builder.tensor("weight", &[outputs, inputs], Role::Weight)?;
        let bias = builder.tensor("bias", &[outputs], Role::Bias { fan_in: inputs })?;
        Ok(Self { weight, bias: Some(bias) })
    }

    /// The layer from `inputs` to `outputs` numbers, without a bias.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn without_bias(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self { weight: builder.tensor("weight", &[outputs, inputs], Role::Weight)?, bias: None })
    }

    /// The weight `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias `[out]`, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

/// All rows of `[n, …, p]` as `[rows, p]`.
fn rows(x: &Tensor) -> Result<Tensor> {
    match x.dims() {
        [_, _] => Ok(x.clone()),
        [_, .., width] => Ok(x.contiguous()?.reshape(((), *width))?),
        dims => Err(Error::Shape {
            op: "linear",
            left: dims.to_vec(),
            right: Vec::new(),
            rule: "the input is a batch of vectors [n, p] or of tokens [n, t, p]".into(),
        }),
    }
}

/// `rows` `[r, width]` in the shape of `like`, with its last size replaced by `width`; the first size follows.
fn shaped(rows: Tensor, like: &[usize], width: usize) -> Result<Tensor> {
    match like {
        [_, _] => Ok(rows),
        [_, between @ .., _] => {
            let per_sample: usize = between.iter().product();
            let samples = rows.dim(0)? / per_sample.max(1);
            Ok(rows.reshape([&[samples], between, &[width]].concat())?)
        }
        _ => Ok(rows),
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        shaped(linear(&rows(x)?, &self.weight, self.bias.as_ref())?, x.dims(), self.weight.dim(0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (x, bias) = (rows(&input.x)?, self.bias.as_ref().map(Tensor::detach));
        let y = linear(&x, &self.weight.detach(), bias.as_ref())?;
        let y = shaped(y, input.x.dims(), self.weight.dim(0)?)?;
        let x = self.weight.track_op().then_some(x);
        let parameters = [&self.weight].into_iter().chain(&self.bias);
        let tape = LinearLayerTape { layer: self, x, shape: input.x.dims().to_vec() };
        Ok(LayerLinearization::new(y, tape).with_parameters(parameters))
    }
}

struct LinearLayerTape<'a> {
    layer: &'a Linear,
    /// The rows of the input, if the weight is a variable.
    x: Option<Tensor>,
    /// The shape of the input.
    shape: Vec<usize>,
}

impl LinearLayerTape<'_> {
    /// The gradient of ⟨g, x·weightᵀ⟩ by the weight, as that of a 1×1 convolution over one image whose pixels are the rows.
    fn weight_gradient(&self, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let ((outputs, inputs), rows) = (self.layer.weight.dims2()?, g.dim(0)?);
        let (x, g) = (x.reshape((1, 1, rows, inputs))?, g.reshape((1, 1, rows, outputs))?);
        let gradient = conv2d_weight_gradient(&x, &g, &[outputs, inputs, 1, 1], ConvSettings::default())?;
        Ok(gradient.reshape((outputs, inputs))?)
    }
}

impl Tape for LinearLayerTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let g = rows(g)?;
        let Linear { weight, bias } = self.layer;
        if let Some(bias) = bias.as_ref().filter(|bias| into.wants(bias)) {
            into.add(bias, channel_sum(&g)?)?;
        }
        if let Some(x) = self.x.as_ref().filter(|_| into.wants(weight)) {
            into.add(weight, self.weight_gradient(x, &g)?)?;
        }
        if !into.wants_input() {
            return Ok(None);
        }
        let ((outputs, inputs), count) = (weight.dims2()?, g.dim(0)?);
        let row = g.reshape((1, 1, count, outputs))?;
        let weight = weight.detach().reshape((outputs, inputs, 1, 1))?;
        let at_input = conv2d_input_gradient(&row, &weight, &[1, 1, count, inputs], ConvSettings::default())?;
        Ok(Some(shaped(at_input.reshape((count, inputs))?, &self.shape, inputs)?))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        let weight = self.layer.weight.detach();
        shaped(linear(&rows(t)?, &weight, None)?, &self.shape, weight.dim(0)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        if into.wants(&self.layer.weight) {
            into.add(&self.layer.weight, self.weight_gradient(&rows(t)?, &rows(g)?)?)?;
        }
        self.jvp(t)
    }
}
