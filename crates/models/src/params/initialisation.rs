//! Initial values, each drawn from the address of its parameter's name.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::names::nearest;
use crate::{Error, Result};

/// How weights and biases start.
///
/// Every parameter draws from its own stream (seed, `models/init/<name>`), so a network is the same whatever is built
/// before it. Normalisations start at γ = 1, β = 0, mean 0, variance 1.
///
/// **Source** K. He et al., ICCV 2015 (arXiv 1502.01852): the fan-in forms keep the variance of activations under ReLU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Initialisation {
    /// Normal with variance 2/fan-in, biases 0: PyTorch's `kaiming_normal_` with ReLU gain.
    #[default]
    HeNormal,
    /// Uniform on ±√(6/fan-in), biases 0: PyTorch's `kaiming_uniform_` with ReLU gain.
    HeUniform,
    /// What PyTorch's layers do by themselves: weights and biases uniform on ±1/√fan-in.
    Pytorch,
    /// What Flax's layers do by themselves, `lecun_normal`: normal with variance 1/fan-in, cut at two standard deviations;
    /// biases 0.
    Flax,
    /// Flax's (and JAX's) `he_normal`: normal with variance 2/fan-in, cut at two standard deviations; biases 0.
    FlaxHeNormal,
}

/// The names that the two frameworks use, with what they mean here.
const NAMES: [(&str, Initialisation); 8] = [
    ("pytorch.default", Initialisation::Pytorch),
    ("pytorch.kaiming_normal", Initialisation::HeNormal),
    ("pytorch.kaiming_uniform", Initialisation::HeUniform),
    ("flax.default", Initialisation::Flax),
    ("flax.lecun_normal", Initialisation::Flax),
    ("flax.he_normal", Initialisation::FlaxHeNormal),
    ("flax.kaiming_normal", Initialisation::FlaxHeNormal),
    ("flax.he_uniform", Initialisation::HeUniform),
];

/// Standard deviation of the standard normal distribution cut at ±2, by which Flax (and JAX) divide.
const CUT_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initialisation {
    /// The initialisation of this name in PyTorch or Flax: `pytorch.kaiming_normal`, `flax.he_normal` and the like, or
    /// `pytorch.default` and `flax.default` for what their layers do by themselves.
    ///
    /// **Errors** [`Error::UnknownName`] with the nearest names.
    ///
    /// ```
    /// use models::Initialisation;
    /// assert_eq!(Initialisation::named("pytorch.kaiming_normal")?, Initialisation::HeNormal);
    /// // Flax's namesake cuts at two standard deviations.
    /// assert_eq!(Initialisation::named("flax.kaiming_normal")?, Initialisation::FlaxHeNormal);
    /// assert!(Initialisation::named("xavier").is_err());
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, meant)| meant).ok_or_else(|| Error::UnknownName {
            what: "initialisation",
            name: name.to_owned(),
            nearest: nearest(name, NAMES.into_iter().map(|(known, _)| known)),
        })
    }

    pub(super) fn draw(self, name: &str, shape: &[usize], role: Role, seed: u64) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let mut stream = streams::stream(seed, &format!("models/init/{name}"), 0);
        let values = match role {
            Role::Weight => self.weight(&mut stream, count, shape.iter().skip(1).product()),
            Role::Bias { fan_in } if self == Initialisation::Pytorch => {
                let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
                streams::uniform(&mut stream, count, -bound, bound)
            }
            Role::NormScale | Role::RunningVariance => vec![1.0; count],
            Role::Bias { .. } | Role::NormShift | Role::RunningMean | Role::BatchCount => vec![0.0; count],
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    fn weight(self, stream: &mut streams::Stream, count: usize, fan_in: usize) -> Vec<f64> {
        let fan_in = fan_in.max(1) as f64;
        match self {
            Initialisation::HeNormal => {
                let deviation = (2.0 / fan_in).sqrt();
                streams::standard_normal(stream, count).into_iter().map(|draw| draw * deviation).collect()
            }
            Initialisation::HeUniform => {
                let bound = (6.0 / fan_in).sqrt();
                streams::uniform(stream, count, -bound, bound)
            }
            Initialisation::Pytorch => {
                let bound = 1.0 / fan_in.sqrt();
                streams::uniform(stream, count, -bound, bound)
            }
            Initialisation::Flax | Initialisation::FlaxHeNormal => {
                let gain = if self == Initialisation::Flax { 1.0 } else { 2.0 };
                let deviation = (gain / fan_in).sqrt() / CUT_DEVIATION;
                cut_normal(stream, count).into_iter().map(|draw| deviation * draw).collect()
            }
        }
    }
}

/// Standard normal draws, those beyond two drawn again.
fn cut_normal(stream: &mut streams::Stream, count: usize) -> Vec<f64> {
    let mut kept = Vec::with_capacity(count);
    while kept.len() < count {
        let draws = streams::standard_normal(stream, count - kept.len());
        kept.extend(draws.into_iter().filter(|draw| draw.abs() <= 2.0));
    }
    kept
}
