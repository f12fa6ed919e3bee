//! Named parameters: their initial values, their files, and handles to them that are tracked or frozen.

mod initialisation;
mod report;
mod weights_file;
mod weights_source;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

pub use initialisation::Initialisation;
pub use report::WeightsReport;
pub(crate) use weights_file::{encode_tensors, parse_tensors};
pub use weights_source::WeightsSource;

use crate::{Error, Result};

/// What a parameter is for, which decides how it starts and who may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A weight of a convolution or a linear layer.
    Weight,
    /// A bias of one; the number of inputs that feed each output decides PyTorch's initial range.
    Bias {
        /// Inputs to each output.
        fan_in: usize,
    },
    /// The factor γ of a normalisation.
    NormScale,
    /// The summand β of a normalisation.
    NormShift,
    /// A running mean: a statistic, which no optimiser touches.
    RunningMean,
    /// A running variance: a statistic, which no optimiser touches.
    RunningVariance,
    /// How many batches the statistics have seen (i64, as PyTorch keeps it).
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
    /// Its storage, shared by every handle to it.
    pub var: Var,
    /// What it is for.
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
}

impl Params {
    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Name and parameter, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.entries.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// What an optimiser may change, in the order of the names.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.iter()
            .filter(|(_, parameter)| parameter.role.is_trainable())
            .map(|(name, parameter)| (name, &parameter.var))
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.entries.get(name)
    }

    /// How many numbers an optimiser may change.
    pub fn trainable_count(&self) -> usize {
        self.trainable().map(|(_, var)| var.elem_count()).sum()
    }

    /// The dtype of all but the batch counts.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where they live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Gives every parameter the value of the same name, refusing what is missing, unexpected or of another shape.
    ///
    /// **Errors** the report of all three; nothing is changed then.
    pub(crate) fn assign(&self, values: &BTreeMap<String, Tensor>) -> std::result::Result<(), AssignError> {
        let report = WeightsReport::compare(self, values);
        if !report.is_clean() {
            return Err(AssignError::Report(report));
        }
        Ok(self.set(values)?)
    }

    /// Gives parameters the values of their names, whose shapes were found to fit.
    fn set(&self, values: &BTreeMap<String, Tensor>) -> candle_core::Result<()> {
        for (name, parameter) in &self.entries {
            if let Some(value) = values.get(name) {
                let value = value.to_device(&self.device)?.to_dtype(parameter.var.dtype())?.contiguous()?;
                parameter.var.set(&value)?;
            }
        }
        Ok(())
    }

    /// The running statistics as they are now, for [`Statistics::restore`].
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        let kept = self.entries.values().filter(|parameter| !parameter.role.is_trainable());
        let copies = kept.map(|parameter| Ok((parameter.var.clone(), parameter.var.as_detached_tensor().copy()?)));
        Ok(Statistics(copies.collect::<Result<_>>()?))
    }
}

/// Copies of what a forward pass in training mode changes.
pub(crate) struct Statistics(Vec<(Var, Tensor)>);

impl Statistics {
    /// Gives the network the statistics that were copied.
    pub(crate) fn restore(&self) -> Result<()> {
        Ok(self.0.iter().try_for_each(|(var, copy)| var.set(copy))?)
    }
}

/// Why values could not be assigned.
pub(crate) enum AssignError {
    Report(WeightsReport),
    Candle(candle_core::Error),
}

impl From<candle_core::Error> for AssignError {
    fn from(error: candle_core::Error) -> Self {
        AssignError::Candle(error)
    }
}

/// How a network is handed its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// As variables, so that a backward pass reaches them.
    Tracked,
    /// As plain tensors on the same storage, so that measuring never computes a parameter gradient.
    Frozen,
}

/// Hands out parameters by name while a network is built, creating each on its first request.
pub(crate) struct Builder<'a> {
    params: &'a mut Params,
    initialisation: Initialisation,
    seed: u64,
    access: Access,
    prefix: String,
}

impl Params {
    pub(crate) fn empty(dtype: DType, device: &Device) -> Self {
        Self { entries: BTreeMap::new(), dtype, device: device.clone() }
    }

    pub(crate) fn builder(&mut self, initialisation: Initialisation, seed: u64, access: Access) -> Builder<'_> {
        Builder { params: self, initialisation, seed, access, prefix: String::new() }
    }
}

impl Builder<'_> {
    /// The builder of what lies under `name`.
    pub(crate) fn under(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let prefix = self.path(&name.to_string());
        Builder {
            params: self.params,
            initialisation: self.initialisation,
            seed: self.seed,
            access: self.access,
            prefix,
        }
    }

    /// The full name of `name` under this builder.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The parameter `name` of this shape and role, as a tensor.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Tensor> {
        let var = self.var(name, shape, role)?;
        Ok(match self.access {
            Access::Tracked if role.is_trainable() => var.as_tensor().clone(),
            _ => var.as_detached_tensor(),
        })
    }

    /// The variable itself, for statistics that a layer updates.
    pub(crate) fn var(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Var> {
        let path = self.path(name);
        if let Some(parameter) = self.params.entries.get(&path) {
            if parameter.var.dims() != shape {
                return Err(Error::Shape {
                    op: "build",
                    left: parameter.var.dims().to_vec(),
                    right: shape.to_vec(),
                    rule: format!("parameter `{path}` keeps its shape"),
                });
            }
            return Ok(parameter.var.clone());
        }
        require_room(&path, shape)?;
        let value = self.initialisation.draw(&path, shape, role, self.seed)?;
        let dtype = if role == Role::BatchCount { DType::I64 } else { self.params.dtype };
        let var = Var::from_tensor(&value.to_dtype(dtype)?.to_device(&self.params.device)?)?;
        self.params.entries.insert(path, Parameter { var: var.clone(), role });
        Ok(var)
    }
}

/// Refuses a parameter that the memory of this machine cannot hold even once, in the f64 in which it is drawn.
fn require_room(path: &str, shape: &[usize]) -> Result<()> {
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let room = count.is_some_and(|count| Vec::<f64>::new().try_reserve_exact(count).is_ok());
    if room {
        return Ok(());
    }
    let rule = "it fits into the memory of this machine; choose smaller sizes";
    let value = format!("{shape:?} for `{path}`");
    Err(Error::Setting { op: "architecture", name: "a parameter's shape", value, rule })
}
