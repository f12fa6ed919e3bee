//! Layer norm, group norm, instance norm and RMS norm: each sample is normalised by its own statistics.

use candle_core::{Tensor, WithDType};

use super::composed::{self, is_composed};
use super::cpu::{require_float, same_dtype, with_elements};
use super::fused_relu::{add_detached, cotangents_per_row, repeat_rows};
use super::linearized::{
    Gradients, Linearized, TangentCotangentTerm, check_single_cotangent, check_tangent, in_graph_with, jvp_in_graph,
};
use super::product::require_same_shape;
use crate::kernels::Element;
use crate::kernels::sample_norm::{self, Kept, Moments, Sets};
use crate::{Error, Result};

const OP: &str = "sample-norm";

/// Which values of a sample are normalised together, by [`layer_norm`], [`group_norm`], [`instance_norm`] or [`rms_norm`].
///
/// **Definition** y = γ·(x − μ)/√(σ² + ε) + β with the mean μ and the variance σ² (divisor: their number) of the values of one set.
/// RMS norm has μ = 0 and the mean square in place of σ².
///
/// **Source** J. L. Ba et al., "Layer Normalization" (arXiv 1607.06450); Y. Wu and K. He, "Group Normalization", ECCV 2018
/// (arXiv 1803.08494); D. Ulyanov et al., "Instance Normalization" (arXiv 1607.08022); B. Zhang and R. Sennrich, "Root Mean Square
/// Layer Normalization", NeurIPS 2019 (arXiv 1910.07467).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleNormSettings {
    grouping: Grouping,
    centred: bool,
    epsilon: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Grouping {
    /// The values of the last dimension.
    LastDimension,
    /// All pixels of each group of channels; the number of groups.
    Groups(usize),
    /// All pixels of each channel.
    Channel,
}

impl SampleNormSettings {
    /// Layer norm over the last dimension: PyTorch's `LayerNorm(c)` on `[…, c]`.
    pub fn layer_norm(epsilon: f64) -> Self {
        Self { grouping: Grouping::LastDimension, centred: true, epsilon }
    }

    /// RMS norm over the last dimension: PyTorch's `RMSNorm(c)` on `[…, c]`.
    pub fn rms_norm(epsilon: f64) -> Self {
        Self { grouping: Grouping::LastDimension, centred: false, epsilon }
    }

    /// Group norm over the pixels and `channels / groups` neighbouring channels of a sample: PyTorch's `GroupNorm(groups, c)`.
    pub fn group_norm(groups: usize, epsilon: f64) -> Self {
        Self { grouping: Grouping::Groups(groups), centred: true, epsilon }
    }

    /// Instance norm over the pixels of each channel of a sample: PyTorch's `InstanceNorm2d(c)` without running statistics.
    pub fn instance_norm(epsilon: f64) -> Self {
        Self { grouping: Grouping::Channel, centred: true, epsilon }
    }

    /// Whether each vector along the last dimension is normalised by itself: layer norm and RMS norm.
    pub fn is_of_last_dimension(&self) -> bool {
        self.grouping == Grouping::LastDimension
    }

    fn sets(&self, x: &Tensor) -> Result<Sets> {
        require_float(OP, x)?;
        let refuse = |rule: &str| Error::shape(OP, x.dims(), &[], rule);
        let [.., channels] = *x.dims() else { return Err(refuse("the input has at least one dimension")) };
        if x.elem_count() == 0 {
            return Err(refuse("the input is not empty"));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            let (name, value) = ("epsilon", self.epsilon.to_string());
            return Err(Error::Setting { op: OP, name, value, rule: "it is finite and at least 0" });
        }
        let (pixels, groups) = match self.grouping {
            Grouping::LastDimension => (1, 1),
            grouping => {
                let [samples, .., _] = *x.dims() else { return Err(refuse("the input is [n, …, c]")) };
                let groups = if let Grouping::Groups(groups) = grouping { groups } else { channels };
                (x.elem_count() / (samples * channels), groups)
            }
        };
        if groups == 0 || !channels.is_multiple_of(groups) {
            let value = format!("{groups} for {channels} channels");
            return Err(Error::Setting {
                op: OP,
                name: "groups",
                value,
                rule: "the number of groups divides the channels",
            });
        }
        Ok(Sets { pixels, channels, groups, centred: self.centred, epsilon: self.epsilon })
    }
}

/// A norm of each sample, linearized at one input: see [`SampleNormSettings`].
///
/// **Shapes** the input, tangents and the value `[…, c]`, γ and β `[c]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use ops::{Linearized, SampleNormLinearization, SampleNormSettings};
/// let x = Tensor::new(&[[1f64, 3.], [5., 5.]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::ones(2, DType::F64, &Device::Cpu)?, Tensor::zeros(2, DType::F64, &Device::Cpu)?);
/// let norm = SampleNormLinearization::at(&x, Some(&gamma), Some(&beta), SampleNormSettings::layer_norm(1.0))?;
/// // The second row is constant: its value is β, and its gradient is finite because of ε.
/// let half = 0.5f64.sqrt();
/// assert!((norm.value()?.to_vec2::<f64>()?[0][1] - half).abs() < 1e-15);
/// let gradients = norm.gradients(&Tensor::new(&[[0f64, 0.], [1., 0.]], &Device::Cpu)?, true)?;
/// assert_eq!(gradients.input.to_vec2::<f64>()?, [[0., 0.], [0.5, -0.5]]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SampleNormLinearization {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    sets: Sets,
    /// The moments of the sets; none where the operations are composed, which compute them again.
    moments: Vec<Moments>,
    /// Whether γ and β were given.
    given: [bool; 2],
}

impl SampleNormLinearization {
    /// The linearization at `x`. Without γ it is 1, without β it is 0.
    ///
    /// **Errors** [`Error::Shape`] if the sizes do not match or the input is empty, [`Error::Setting`] if the groups do not divide
    /// the channels, [`Error::DType`] unless all tensors are f32 or all are f64.
    pub fn at(x: &Tensor, gamma: Option<&Tensor>, beta: Option<&Tensor>, settings: SampleNormSettings) -> Result<Self> {
        Ok(Self::with_value(x, gamma, beta, settings)?.1)
    }

    /// The value and the linearization at `x`, in one pass over `x`.
    ///
    /// **Errors** as [`SampleNormLinearization::at`].
    pub fn with_value(
        x: &Tensor,
        gamma: Option<&Tensor>,
        beta: Option<&Tensor>,
        settings: SampleNormSettings,
    ) -> Result<(Tensor, Self)> {
        let sets = settings.sets(x)?;
        let given = [gamma.is_some(), beta.is_some()];
        let parameter = |given: Option<&Tensor>, default: f64| -> Result<Tensor> {
            let Some(given) = given else {
                return Ok(Tensor::ones(sets.channels, x.dtype(), x.device())?.affine(default, 0.0)?);
            };
            same_dtype(OP, x, given)?;
            if given.dims() != [sets.channels] {
                return Err(Error::shape(
                    OP,
                    x.dims(),
                    given.dims(),
                    "scale and shift have one value per channel (the last size of the input)",
                ));
            }
            Ok(given.detach())
        };
        let (gamma, beta) = (parameter(gamma, 1.0)?, parameter(beta, 0.0)?);
        let x = x.detach().contiguous()?;
        let mut norm = Self { x, gamma, beta, sets, moments: Vec::new(), given };
        let (value, moments) = norm.evaluate()?;
        norm.moments = moments;
        Ok((value, norm))
    }

    /// The value, and the moments where the operation has a kernel.
    fn evaluate(&self) -> Result<(Tensor, Vec<Moments>)> {
        if is_composed(&self.x) {
            return Ok((self.composed(None)?.value(&self.beta)?.reshape(self.x.shape())?, Vec::new()));
        }
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, beta: self.beta], T => {
            let (y, moments) = sample_norm::value::<T>(&self.sets, x, gamma, beta);
            (Tensor::from_vec(y, self.x.shape(), self.x.device())?, moments)
        }))
    }

    fn composed(&self, g: Option<&Tensor>) -> Result<composed::SampleNorm> {
        let x = g.map_or_else(|| Ok(self.x.clone()), |g| repeat_rows(OP, &self.x, g))?;
        composed::SampleNorm::new(self.sets, &x, &self.gamma)
    }

    fn vector<T: Element + WithDType>(&self, values: Vec<f64>) -> candle_core::Result<Tensor> {
        let values: Vec<T> = values.into_iter().map(<T as Element>::from_f64).collect();
        Tensor::from_vec(values, self.gamma.shape(), self.x.device())
    }

    /// The gradients by those of γ and β that were given.
    fn given<P>(&self, gamma: P, beta: P) -> Vec<P> {
        [gamma, beta].into_iter().zip(self.given).filter(|(_, given)| *given).map(|(gradient, _)| gradient).collect()
    }
}

impl Linearized for SampleNormLinearization {
    fn value(&self) -> Result<Tensor> {
        Ok(self.evaluate()?.0)
    }

    fn gradients(&self, g: &Tensor, by_parameters: bool) -> Result<Gradients> {
        self.gradients_plus(g, by_parameters, None)
    }

    fn gradients_plus(&self, g: &Tensor, by_parameters: bool, addend: Option<&Tensor>) -> Result<Gradients> {
        same_dtype(OP, &self.x, g)?;
        cotangents_per_row(OP, &self.x, g)?;
        if let Some(addend) = addend {
            require_same_shape(OP, g, addend)?;
        }
        let by_parameters = by_parameters && self.given.contains(&true);
        if is_composed(&self.x) {
            let [input, gamma, beta] = self.composed(Some(g))?.gradients(&g.detach())?;
            let parameters = if by_parameters { self.given(gamma, beta) } else { Vec::new() };
            let input = input.reshape(g.shape())?;
            let input = addend.map_or(Ok(input.clone()), |addend| add_detached(&input, addend, false))?;
            return Ok(Gradients { input, parameters });
        }
        let (added, cotangent) = (addend.unwrap_or(g).detach(), g.detach());
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, cotangent: cotangent, added: added], T => {
            let kept = Kept { x, moments: &self.moments, gamma };
            let addend = addend.map(|_| added);
            let (input, sums) = sample_norm::gradients::<T>(&self.sets, kept, cotangent, by_parameters, addend);
            let parameters = match sums {
                Some([gamma, beta]) => self.given(self.vector::<T>(gamma)?, self.vector::<T>(beta)?),
                None => Vec::new(),
            };
            Gradients { input: Tensor::from_vec(input, g.shape(), g.device())?, parameters }
        }))
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        same_dtype(OP, &self.x, t)?;
        check_tangent(OP, self.x.dims(), t)?;
        if is_composed(&self.x) {
            return Ok(self.composed(None)?.tangent(&t.detach())?.reshape(self.x.shape())?);
        }
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, t: t.detach()], T => {
            let tangent = sample_norm::tangent::<T>(&self.sets, x, &self.moments, gamma, t);
            Tensor::from_vec(tangent, self.x.shape(), self.x.device())?
        }))
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        same_dtype(OP, &self.x, g)?;
        same_dtype(OP, &self.x, t)?;
        check_single_cotangent(OP, self.x.dims(), g)?;
        check_tangent(OP, self.x.dims(), t)?;
        if is_composed(&self.x) {
            let [tangent, by_input, by_gamma] =
                self.composed(None)?.tangent_cotangent_term(&g.detach(), &t.detach())?;
            let [tangent, by_input] = [tangent, by_input].map(|values| values.reshape(self.x.shape()));
            let by_parameters = self.given(Some(by_gamma), None);
            return Ok(TangentCotangentTerm { tangent: tangent?, by_input: Some(by_input?), by_parameters });
        }
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, g: g.detach(), t: t.detach()], T => {
            let term = sample_norm::tangent_cotangent_term::<T>(&self.sets, x, &self.moments, gamma, g, t);
            let tensor = |values: Vec<T>| Tensor::from_vec(values, self.x.shape(), self.x.device());
            TangentCotangentTerm {
                tangent: tensor(term.tangent)?,
                by_input: Some(tensor(term.by_input)?),
                by_parameters: self.given(Some(self.vector::<T>(term.by_gamma)?), None),
            }
        }))
    }
}

/// A norm of each sample in candle's graph: see [`SampleNormSettings`]. Without γ it is 1, without β it is 0.
///
/// **Shapes** `x` and the result `[…, c]`, for group and instance norm `[n, …, c]`; γ and β `[c]`.
///
/// **Errors** as [`SampleNormLinearization::at`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{SampleNormSettings, sample_norm};
/// let x = Tensor::new(&[[3f64, 4.]], &Device::Cpu)?;
/// let y = sample_norm(&x, None, None, SampleNormSettings::rms_norm(0.0))?;
/// // The root of the mean square is √12.5.
/// assert!((y.to_vec2::<f64>()?[0][0] - 3.0 / 12.5f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn sample_norm(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    settings: SampleNormSettings,
) -> Result<Tensor> {
    let parameters: Vec<&Tensor> = gamma.into_iter().chain(beta).collect();
    let (value, norm) = SampleNormLinearization::with_value(x, gamma, beta, settings)?;
    in_graph_with(value, norm, x, &parameters)
}

/// The value and JVP of [`sample_norm`], both differentiable.
///
/// **Shapes** `x` and `dx` of one shape.
///
/// **Errors** as [`sample_norm`], and [`Error::Shape`] if the shapes of `x` and `dx` differ.
pub fn sample_norm_jvp(
    x: &Tensor,
    dx: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    settings: SampleNormSettings,
) -> Result<(Tensor, Tensor)> {
    let parameters: Vec<&Tensor> = gamma.into_iter().chain(beta).collect();
    jvp_in_graph(SampleNormLinearization::at(x, gamma, beta, settings)?, x, dx, &parameters)
}

/// Layer norm over the last dimension: PyTorch's `LayerNorm(c)`.
///
/// **Shapes** `x` and the result `[…, c]`, γ and β `[c]`.
///
/// **Errors** as [`sample_norm`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::new(&[[1f64, 3.]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::new(&[1f64, 10.], &Device::Cpu)?, Tensor::new(&[0f64, 5.], &Device::Cpu)?);
/// assert_eq!(ops::layer_norm(&x, &gamma, &beta, 0.0)?.to_vec2::<f64>()?, [[-1., 15.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    sample_norm(x, Some(gamma), Some(beta), SampleNormSettings::layer_norm(epsilon))
}

/// RMS norm over the last dimension: PyTorch's `RMSNorm(c)`.
///
/// **Shapes** `x` and the result `[…, c]`, γ `[c]`.
///
/// **Errors** as [`sample_norm`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::new(&[[2f64, 2.]], &Device::Cpu)?;
/// let gamma = Tensor::new(&[1f64, 10.], &Device::Cpu)?;
/// assert_eq!(ops::rms_norm(&x, &gamma, 0.0)?.to_vec2::<f64>()?, [[1., 10.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn rms_norm(x: &Tensor, gamma: &Tensor, epsilon: f64) -> Result<Tensor> {
    sample_norm(x, Some(gamma), None, SampleNormSettings::rms_norm(epsilon))
}

/// Group norm of channels-last data: PyTorch's `GroupNorm(groups, c)` on `[n, c, …]`.
///
/// **Shapes** `x` and the result `[n, …, c]`, γ and β `[c]`.
///
/// **Errors** as [`sample_norm`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::new(&[[[1f64, 3., 5., 7.]]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::ones(4, DType::F64, &Device::Cpu)?, Tensor::zeros(4, DType::F64, &Device::Cpu)?);
/// assert_eq!(ops::nhwc::group_norm(&x, 2, &gamma, &beta, 0.0)?.to_vec3::<f64>()?, [[[-1., 1., -1., 1.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn group_norm(x: &Tensor, groups: usize, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    sample_norm(x, Some(gamma), Some(beta), SampleNormSettings::group_norm(groups, epsilon))
}

/// Instance norm of channels-last data: PyTorch's `InstanceNorm2d(c)` on `[n, c, h, w]`, without γ and β.
///
/// **Shapes** `x` and the result `[n, …, c]`.
///
/// **Errors** as [`sample_norm`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[1f64], [3.]]], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::instance_norm(&x, 0.0)?.to_vec3::<f64>()?, [[[-1.], [1.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn instance_norm(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    sample_norm(x, None, None, SampleNormSettings::instance_norm(epsilon))
}
