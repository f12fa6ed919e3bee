//! Layer norm, group norm, instance norm and RMS norm as layers.

use candle_core::Tensor;
use ops::{SampleNormLinearization, SampleNormSettings, sample_norm};

use super::operation::linearized_as;
use super::{Layer, LayerInput, LayerLinearization};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// A norm of each sample with PyTorch's parameter names `weight` and `bias`: layer norm, group norm, instance norm or RMS norm.
///
/// **Shapes** `[…, c]`, for group and instance norm `[n, …, c]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::layer::{Layer, SampleNorm};
/// use models::{Access, Initialisation, Params, Pass};
/// let mut params = Params::new(DType::F64, &Device::Cpu);
/// let norm = SampleNorm::layer_norm(params.builder(Initialisation::Pytorch, 0, Access::Tracked), 2, 0.0)?;
/// let y = norm.forward(&Tensor::new(&[[1f64, 3.]], &Device::Cpu)?, &Pass::evaluation())?;
/// assert_eq!(y.to_vec2::<f64>()?, [[-1., 1.]]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "LayerNorm")]
#[doc(alias = "GroupNorm")]
#[doc(alias = "InstanceNorm")]
#[doc(alias = "RmsNorm")]
pub struct SampleNorm {
    gamma: Option<Tensor>,
    beta: Option<Tensor>,
    settings: SampleNormSettings,
}

impl SampleNorm {
    /// Layer norm over the last dimension: PyTorch's `LayerNorm(channels, eps)`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn layer_norm(builder: Builder<'_>, channels: usize, epsilon: f64) -> Result<Self> {
        Self::with_both(builder, channels, SampleNormSettings::layer_norm(epsilon))
    }

    /// Group norm: PyTorch's `GroupNorm(groups, channels, eps)`. That the groups divide the channels is checked in a pass.
    ///
    /// # Errors
    /// As [`SampleNorm::layer_norm`].
    pub fn group_norm(builder: Builder<'_>, groups: usize, channels: usize, epsilon: f64) -> Result<Self> {
        Self::with_both(builder, channels, SampleNormSettings::group_norm(groups, epsilon))
    }

    /// RMS norm over the last dimension: PyTorch's `RMSNorm(channels, eps)`, with `weight` alone.
    ///
    /// # Errors
    /// As [`SampleNorm::layer_norm`].
    pub fn rms_norm(mut builder: Builder<'_>, channels: usize, epsilon: f64) -> Result<Self> {
        let gamma = Some(builder.tensor("weight", &[channels], Role::NormScale)?);
        Ok(Self { gamma, beta: None, settings: SampleNormSettings::rms_norm(epsilon) })
    }

    /// Instance norm: PyTorch's `InstanceNorm2d(channels, eps)`, without parameters and running statistics.
    pub fn instance_norm(epsilon: f64) -> Self {
        Self { gamma: None, beta: None, settings: SampleNormSettings::instance_norm(epsilon) }
    }

    fn with_both(mut builder: Builder<'_>, channels: usize, settings: SampleNormSettings) -> Result<Self> {
        let gamma = Some(builder.tensor("weight", &[channels], Role::NormScale)?);
        Ok(Self { gamma, beta: Some(builder.tensor("bias", &[channels], Role::NormShift)?), settings })
    }
}

impl Layer for SampleNorm {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(sample_norm(x, self.gamma.as_ref(), self.beta.as_ref(), self.settings)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (gamma, beta) = (self.gamma.as_ref(), self.beta.as_ref());
        let (output, operation) = SampleNormLinearization::with_value(&input.x, gamma, beta, self.settings)?;
        Ok(linearized_as(output, operation, input, gamma.into_iter().chain(beta).cloned().collect()))
    }

    fn is_pointwise(&self) -> bool {
        self.settings.is_of_last_dimension()
    }
}
