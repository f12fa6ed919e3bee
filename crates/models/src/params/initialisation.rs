//! Initial values of parameters.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::similar_names::most_similar;
use crate::{Error, Result};

/// The distribution of the initial weights and biases.
///
/// Every parameter has a random stream of its own (seed, `models/init/<name>`), so its values do not depend on what was built
/// before. Normalisations start with γ = 1, β = 0, mean 0, variance 1.
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
    /// The default of PyTorch's layers: weights and biases uniform on ±1/√fan-in.
    Pytorch,
    /// The default of Flax's layers, `lecun_normal`: normal with variance 1/fan-in, truncated at two standard deviations; biases 0.
    Flax,
    /// `he_normal` of Flax and JAX: normal with variance 2/fan-in, truncated at two standard deviations; biases 0.
    FlaxHeNormal,
}

/// The names in the two frameworks.
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

/// Standard deviation of the standard normal distribution truncated at ±2, by which Flax and JAX divide.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initialisation {
    /// The initialisation of this name in PyTorch or Flax, such as `pytorch.kaiming_normal` or `flax.he_normal`; `pytorch.default`
    /// and `flax.default` are the defaults of their layers.
    ///
    /// **Errors** [`Error::UnknownName`] with the nearest names.
    ///
    /// ```
    /// use models::Initialisation;
    /// assert_eq!(Initialisation::named("pytorch.kaiming_normal")?, Initialisation::HeNormal);
    /// // The one of the same name in Flax is truncated at two standard deviations.
    /// assert_eq!(Initialisation::named("flax.kaiming_normal")?, Initialisation::FlaxHeNormal);
    /// assert!(Initialisation::named("xavier").is_err());
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, meant)| meant).ok_or_else(|| Error::UnknownName {
            what: "initialisation",
            name: name.to_owned(),
            nearest: most_similar(name, NAMES.into_iter().map(|(known, _)| known)),
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
            Role::Constant { value } => vec![value; count],
            Role::TruncatedNormal { deviation } => {
                truncated_normal(&mut stream, count).into_iter().map(|draw| deviation * draw).collect()
            }
            Role::Normal { mean, deviation } => {
                streams::standard_normal(&mut stream, count).into_iter().map(|draw| mean + deviation * draw).collect()
            }
            Role::Uniform { low, high } => streams::uniform(&mut stream, count, low, high),
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
                let deviation = (gain / fan_in).sqrt() / TRUNCATED_DEVIATION;
                truncated_normal(stream, count).into_iter().map(|draw| deviation * draw).collect()
            }
        }
    }
}

/// Standard normal draws; those beyond ±2 are drawn again.
fn truncated_normal(stream: &mut streams::Stream, count: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let draws = streams::standard_normal(stream, count - values.len());
        values.extend(draws.into_iter().filter(|draw| draw.abs() <= 2.0));
    }
    values
}
