//! The fully connected layer.

use candle_core::Tensor;
use ops::{Activation, LinearLinearization, Linearized, activated_linear};

use super::operation::linearized_as;
use super::{Kind, Layer, LayerInput, LayerLinearization};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

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
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
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

    /// The layer with these parameters of a pointwise convolution: a weight `[out, in, 1, 1]`.
    pub(super) fn of_pointwise_convolution(weight: &Tensor, bias: Option<&Tensor>) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned() }
    }

    /// The linearization of this layer of the values of an activation.
    pub(super) fn linearize_activated<'a>(
        &self,
        activation: Option<Activation>,
        input: &LayerInput,
    ) -> Result<LayerLinearization<'a>> {
        let operation = LinearLinearization::at(&input.x, &self.weight, self.bias.as_ref(), activation)?;
        let output = operation.value()?;
        let parameters = std::iter::once(&self.weight).chain(&self.bias).cloned().collect();
        Ok(linearized_as(output, operation.without_unused_input(), input, parameters))
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

impl Layer for Linear {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(activated_linear(x, &self.weight, self.bias.as_ref(), None)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_activated(None, input)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Linear(self)
    }

    fn is_pointwise(&self) -> bool {
        true
    }
}
