//! Named parameters: their initial values, their files, and access to them as variables or as constants.

mod builder;
mod initialisation;
mod weights;
mod weights_source;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

pub use builder::{Access, Builder};
pub use initialisation::Initialisation;
pub use weights::{InterpolatedPositions, RenamedTensor, ShapeMismatch, TensorShape, WeightsFile, WeightsReport};
pub(crate) use weights::{encode_tensors, parse_tensors};
pub use weights_source::WeightsSource;

use crate::{Error, Result};

/// The role of a parameter, which decides its initial values and whether an optimiser changes it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// A weight of a convolution or a linear layer.
    Weight,
    /// The bias of such a layer; PyTorch's initial range depends on the number of inputs of each output.
    Bias {
        /// Inputs of each output.
        fan_in: usize,
    },
    /// The factor γ of a normalisation.
    NormScale,
    /// The summand β of a normalisation.
    NormShift,
    /// A trainable parameter that starts with this value everywhere, such as a layer scale.
    Constant {
        /// The value.
        value: f64,
    },
    /// A trainable parameter drawn from a normal distribution truncated at two standard deviations, whatever the initialisation
    /// of the network: class tokens, position embeddings.
    TruncatedNormal {
        /// Standard deviation before the truncation.
        deviation: f64,
    },
    /// A trainable parameter drawn from a normal distribution, whatever the initialisation of the network.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
    /// A trainable parameter drawn uniformly from an interval, whatever the initialisation of the network.
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// A running mean: a statistic, which no optimiser changes.
    RunningMean,
    /// A running variance: a statistic, which no optimiser changes.
    RunningVariance,
    /// The number of batches in the statistics (i64, as in PyTorch).
    BatchCount,
}

impl Role {
    /// Whether an optimiser may change it.
    pub fn is_trainable(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVariance | Role::BatchCount)
    }
}

/// One named parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its storage, shared by every tensor that was made of it.
    pub var: Var,
    /// Its role.
    pub role: Role,
}

/// The parameters of one network, in the order of their names.
///
/// ```
/// use candle_core::{DType, Device};
/// use models::{Architecture, Initialisation, Network};
/// let net = Network::new(&Architecture::named("vgg13")?, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
/// let first = net.params().names().next();
/// assert_eq!(first, Some("classifier.bias"));
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Params {
    entries: BTreeMap<String, Parameter>,
    dtype: DType,
    device: Device,
    /// The name of the last linear layer.
    head: Option<String>,
}

impl Params {
    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Name and parameter, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// The parameters that an optimiser may change, in the order of the names.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.iter()
            .filter(|(_, parameter)| parameter.role.is_trainable())
            .map(|(name, parameter)| (name, &parameter.var))
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.entries.get(name)
    }

    /// The name of the head, the last linear layer, whose parameters are `<name>.weight` and `<name>.bias`.
    pub fn head_name(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// The number of values that an optimiser may change.
    pub fn trainable_count(&self) -> usize {
        self.trainable().map(|(_, var)| var.elem_count()).sum()
    }

    /// The dtype of all but the batch counts.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Their device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Sets every parameter to the value of the same name.
    ///
    /// # Errors
    /// [`Error::Weights`] for `path` where a value is missing, unexpected or of another shape; nothing is changed then.
    pub(crate) fn assign(&self, path: &Path, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let report = WeightsReport::compare(self, values);
        if !report.is_clean() {
            return Err(Error::Weights { path: path.to_owned(), report: Box::new(report) });
        }
        Ok(self.set(values)?)
    }

    /// Sets parameters to the values of the same names, whose shapes were checked before.
    fn set(&self, values: &BTreeMap<String, Tensor>) -> candle_core::Result<()> {
        for (name, parameter) in &self.entries {
            if let Some(value) = values.get(name) {
                let value = value.to_device(&self.device)?.to_dtype(parameter.var.dtype())?.contiguous()?;
                parameter.var.set(&value)?;
            }
        }
        Ok(())
    }

    /// A copy of the running statistics, for [`Statistics::restore`].
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        let statistics = self.entries.values().filter(|parameter| !parameter.role.is_trainable());
        let copies =
            statistics.map(|parameter| Ok((parameter.var.clone(), parameter.var.as_detached_tensor().copy()?)));
        Ok(Statistics(copies.collect::<Result<_>>()?))
    }
}

/// A copy of the running statistics, which a forward pass in training mode changes.
pub(crate) struct Statistics(Vec<(Var, Tensor)>);

impl Statistics {
    /// Sets the network's statistics to the copy.
    pub(crate) fn restore(&self) -> Result<()> {
        Ok(self.0.iter().try_for_each(|(var, copy)| var.set(copy))?)
    }
}

impl Params {
    /// No parameters yet.
    pub fn new(dtype: DType, device: &Device) -> Self {
        Self { entries: BTreeMap::new(), dtype, device: device.clone(), head: None }
    }

    /// The same with the name of the last linear layer.
    pub(crate) fn with_head(self, head: String) -> Self {
        Self { head: Some(head), ..self }
    }
}
