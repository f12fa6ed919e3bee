//! The fully connected layer.

use candle_core::Tensor;
use ops::{Activation, LinearLinearization, Linearized, activated_linear};

use super::operation::{Partial, linearized_through};
use super::{Addend, Kind, Layer, LayerInput, LayerLinearization};
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

/// The neighbours that a linear layer is fused with.
#[derive(Clone, Copy, Default)]
pub(super) struct LinearFusion<'a> {
    /// The activation in front of it.
    pub(super) activation: Option<Activation>,
    /// The factors behind it, one for each output.
    pub(super) factors: Option<&'a Tensor>,
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

    /// The linearization of this layer with its neighbours, with the sum with `addend` as output.
    pub(super) fn linearize_fused<'a>(
        &'a self,
        fusion: LinearFusion<'a>,
        addend: Option<&Tensor>,
        input: &LayerInput,
    ) -> Result<LayerLinearization<'a>> {
        let LinearFusion { activation, factors } = fusion;
        let (weight, bias) = match factors {
            Some(factors) => self.scaled(factors)?,
            None => (self.weight.clone(), self.bias.clone()),
        };
        let operation = LinearLinearization::at(&input.x, &weight, bias.as_ref(), activation)?;
        let output = addend.map_or_else(|| operation.value(), |addend| operation.value_plus(addend))?;
        let parameters = std::iter::once(&self.weight).chain(&self.bias).chain(factors).cloned().collect();
        let through = move |by_arguments| match factors {
            Some(factors) => self.behind_factors(factors, by_arguments),
            None => Ok(by_arguments),
        };
        Ok(linearized_through(output, operation.without_unused_input(), input, parameters, through))
    }

    /// Weight and bias times one factor for each output.
    fn scaled(&self, factors: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let outputs = factors.elem_count();
        let weight = self.weight.reshape((outputs, ()))?.broadcast_mul(&factors.reshape((outputs, 1))?)?;
        Ok((weight, self.bias.as_ref().map(|bias| bias * factors).transpose()?))
    }

    /// The gradients by weight, bias and factors, from those by scaled weight and bias.
    fn behind_factors(&self, factors: &Tensor, by_scaled: Partial) -> Result<Partial> {
        let (weight, factors) = (self.weight.detach(), factors.detach());
        let mut by_scaled = by_scaled.into_iter().flatten();
        let (by_weight, by_bias) = (by_scaled.next(), by_scaled.next());
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
        Ok(activated_linear(x, &self.weight, self.bias.as_ref(), None)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_fused(LinearFusion::default(), None, input)
    }

    fn linearize_plus<'a>(
        &'a self,
        addend: &Addend,
        input: &LayerInput,
        _: &Pass,
    ) -> Result<Option<LayerLinearization<'a>>> {
        if addend.relu {
            return Ok(None);
        }
        self.linearize_fused(LinearFusion::default(), Some(&addend.summand), input).map(Some)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Linear(self)
    }

    fn is_pointwise(&self) -> bool {
        true
    }
}
