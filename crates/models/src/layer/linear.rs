//! The fully connected layer.

use candle_core::Tensor;
use ops::{Activation, LinearLinearization, Linearized, activated_linear};

use super::operation::{Partial, linearized_through};
use super::{Addend, Kind, Layer, LayerInput, LayerLinearization, WithSum};
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
    /// The activation in front of it, if one is fused.
    activation: Option<Activation>,
    /// The factors behind it, one for each output, if they are fused.
    factors: Option<Tensor>,
}

impl Linear {
    /// The layer from `inputs` to `outputs` numbers, with a bias.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = builder.tensor("weight", &[outputs, inputs], Role::Weight)?;
        let bias = builder.tensor("bias", &[outputs], Role::Bias { fan_in: inputs })?;
        Ok(Self { weight, bias: Some(bias), activation: None, factors: None })
    }

    /// The layer from `inputs` to `outputs` numbers, without a bias.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn without_bias(mut builder: Builder<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = builder.tensor("weight", &[outputs, inputs], Role::Weight)?;
        Ok(Self { weight, bias: None, activation: None, factors: None })
    }

    /// The layer with these parameters of a pointwise convolution: a weight `[out, in, 1, 1]`.
    pub(super) fn of_pointwise_convolution(weight: &Tensor, bias: Option<&Tensor>) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned(), activation: None, factors: None }
    }

    /// The same with an activation in front of it and factors behind it.
    pub(super) fn between(self, activation: Option<Activation>, factors: Option<Tensor>) -> Self {
        Self { activation, factors, ..self }
    }

    /// Whether an activation in front of it is fused.
    pub(super) fn is_activated(&self) -> bool {
        self.activation.is_some()
    }

    /// Weight and bias, times the factors if there are any.
    fn scaled(&self) -> Result<(Tensor, Option<Tensor>)> {
        let Some(factors) = &self.factors else { return Ok((self.weight.clone(), self.bias.clone())) };
        let outputs = factors.elem_count();
        let weight = self.weight.reshape((outputs, ()))?.broadcast_mul(&factors.reshape((outputs, 1))?)?;
        Ok((weight, self.bias.as_ref().map(|bias| bias * factors).transpose()?))
    }

    /// The operation at `x`.
    pub(super) fn at(&self, x: &Tensor) -> Result<LinearLinearization> {
        let (weight, bias) = self.scaled()?;
        Ok(LinearLinearization::at(x, &weight, bias.as_ref(), self.activation)?)
    }

    /// The linearization of the operation at `input`, with the sum with `addend` as output.
    pub(super) fn linearized<'a>(
        &'a self,
        operation: LinearLinearization,
        addend: Option<&Addend>,
        input: &LayerInput,
    ) -> Result<LayerLinearization<'a>> {
        let output = addend.map_or_else(|| operation.value(), |addend| operation.value_plus(&addend.summand))?;
        let parameters = std::iter::once(&self.weight).chain(&self.bias).chain(&self.factors).cloned().collect();
        let through = |by_arguments| match &self.factors {
            Some(factors) => self.behind_factors(factors, by_arguments),
            None => Ok(by_arguments),
        };
        Ok(linearized_through(output, operation.without_unused_input(), input, parameters, through))
    }

    /// The gradients by weight, bias and factors, from those by scaled weight and bias.
    fn behind_factors(&self, factors: &Tensor, by_scaled: Partial) -> Result<Partial> {
        let (weight, factors) = (self.weight.detach(), factors.detach());
        let mut by_scaled = by_scaled.into_iter();
        let (by_weight, by_bias) = (by_scaled.next().flatten(), by_scaled.next().flatten());
        let Some(by_weight) = by_weight else { return Ok(Vec::new()) };
        let column = factors.reshape((factors.elem_count(), 1))?;
        let mut by_factors = (&by_weight * weight.reshape(by_weight.shape())?)?.sum(1)?;
        let mut gradients = vec![Some(by_weight.broadcast_mul(&column)?.reshape(weight.shape())?)];
        if let Some(bias) = &self.bias {
            if let Some(by_bias) = &by_bias {
                by_factors = (by_factors + (by_bias * bias.detach())?)?;
            }
            gradients.push(by_bias.map(|by_bias| by_bias * &factors).transpose()?);
        }
        gradients.push(Some(by_factors));
        Ok(gradients)
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
        let (weight, bias) = self.scaled()?;
        Ok(activated_linear(x, &weight, bias.as_ref(), self.activation)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearized(self.at(&input.x)?, None, input)
    }

    fn linearize_plus<'a>(&'a self, addend: &Addend, input: &LayerInput, _: &Pass) -> WithSum<'a> {
        if addend.relu { Ok(None) } else { self.linearized(self.at(&input.x)?, Some(addend), input).map(Some) }
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Linear(self)
    }

    fn is_pointwise(&self) -> bool {
        true
    }
}
