//! Parameters by name while a network is built.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use super::{Initialisation, Parameter, Params, Role};
use crate::{Error, Result};

/// Whether a network has its parameters as variables or as constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Variables, so that a backward pass reaches them.
    Tracked,
    /// Constants on the same storage, so that no parameter gradient is ever computed.
    Frozen,
}

/// Gives layers their parameters by name while a network is built; the first request creates a parameter.
///
/// A network is built twice on the same [`Params`]: with its parameters as variables, to train it, and as constants, to measure it.
///
/// ```
/// use candle_core::{DType, Device};
/// use models::{Access, Initialisation, Params, Role};
/// let mut params = Params::new(DType::F32, &Device::Cpu);
/// let mut builder = params.builder(Initialisation::HeNormal, 0, Access::Tracked);
/// let weight = builder.under("layer1").under("conv").tensor("weight", &[4, 3], Role::Weight)?;
/// assert!(weight.is_variable());
/// let frozen = params.builder(Initialisation::HeNormal, 0, Access::Frozen).tensor("layer1.conv.weight", &[4, 3], Role::Weight)?;
/// assert!(!frozen.is_variable());
/// assert_eq!(params.names().collect::<Vec<_>>(), ["layer1.conv.weight"]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct Builder<'a> {
    params: &'a mut Params,
    initialisation: Initialisation,
    seed: u64,
    access: Access,
    /// The name of the layer that is built.
    prefix: String,
}

impl Params {
    /// A builder that gives parameters of these by name, and draws those that do not exist yet from `seed`.
    pub fn builder(&mut self, initialisation: Initialisation, seed: u64, access: Access) -> Builder<'_> {
        Builder { params: self, initialisation, seed, access, prefix: String::new() }
    }
}

impl<'a> Builder<'a> {
    /// The same parameters for code that is written with candle-nn: a `VarBuilder` that takes them from here, by name.
    ///
    /// Initial values follow candle-nn's hints, drawn from the seed of this builder; weights with the hint `Init::Kaiming` follow the
    /// network's [`Initialisation`]. `running_mean` and `running_var` are statistics, which no optimiser changes.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Access, Initialisation, Params};
    /// let mut params = Params::new(DType::F32, &Device::Cpu);
    /// let builder = params.builder(Initialisation::Pytorch, 0, Access::Tracked);
    /// let linear = candle_nn::linear(3, 4, builder.var_builder().pp("fc"))?;
    /// assert!(linear.weight().is_variable());
    /// assert_eq!(params.names().collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn var_builder(self) -> candle_nn::VarBuilder<'a> {
        let (dtype, device) = (self.params.dtype, self.params.device.clone());
        candle_nn::VarBuilder::from_backend(Box::new(ByName(Mutex::new(self))), dtype, device)
    }
}

/// A builder behind the interface of candle-nn.
struct ByName<'a>(Mutex<Builder<'a>>);

impl SimpleBackend for ByName<'_> {
    fn get(&self, shape: Shape, name: &str, hint: Init, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        let role = match (name.rsplit('.').next(), hint) {
            (Some("running_mean"), _) => Role::RunningMean,
            (Some("running_var"), _) => Role::RunningVariance,
            (_, Init::Const(value)) => Role::Constant { value },
            (_, Init::Randn { mean, stdev }) => Role::Normal { mean, deviation: stdev },
            (_, Init::Uniform { lo, up }) => Role::Uniform { low: lo, high: up },
            (_, Init::Kaiming { .. }) => Role::Weight,
        };
        let mut builder = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        builder.shared(name, shape.dims(), role).map_err(Error::into_candle)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        let mut builder = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = builder.params.entries.get(&builder.path(name)).cloned();
        match known {
            Some(Parameter { var, role }) => builder.shared(name, var.dims(), role).map_err(Error::into_candle),
            None => Err(candle_core::Error::CannotFindTensor { path: builder.path(name) }.bt()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        let builder = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        builder.params.entries.contains_key(&builder.path(name))
    }
}

impl Builder<'_> {
    /// As [`Builder::tensor`], but running statistics are always the variable itself: candle-nn's batch norm copies constants, and would
    /// not see statistics that are loaded or updated later.
    fn shared(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Tensor> {
        match role {
            Role::RunningMean | Role::RunningVariance => Ok(self.var(name, shape, role)?.as_tensor().clone()),
            _ => self.tensor(name, shape, role),
        }
    }

    /// Takes an existing variable, such as one of a `VarMap`, as the parameter `name`.
    ///
    /// # Errors
    /// [`Error::Setting`] when the parameter exists already as another variable; [`Error::DType`] when it has another dtype than the
    /// network.
    pub fn adopt(&mut self, name: &str, var: &Var, role: Role) -> Result<()> {
        let path = self.path(name);
        if var.dtype() != self.params.dtype && role != Role::BatchCount {
            let (expected, got) = (self.params.dtype.as_str().into(), var.dtype().as_str().into());
            return Err(Error::DType { op: "adopt", expected, got });
        }
        match self.params.entries.get(&path) {
            Some(known) if known.var.id() != var.id() => {
                let rule = "a parameter of this name exists already; adopt each variable under a name of its own";
                Err(Error::Setting { op: "adopt", name: "name", value: path, rule })
            }
            _ => {
                self.params.entries.insert(path, Parameter { var: var.clone(), role });
                Ok(())
            }
        }
    }

    /// The builder of the layer `name` inside this one.
    pub fn under(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
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
    pub fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The parameter `name` of this shape and role, as a tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] when it exists with another shape; [`Error::Setting`] when it does not fit into memory.
    pub fn tensor(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Tensor> {
        let var = self.var(name, shape, role)?;
        Ok(match self.access {
            Access::Tracked if role.is_trainable() => var.as_tensor().clone(),
            _ => var.as_detached_tensor(),
        })
    }

    /// The variable itself, for statistics that a layer updates.
    ///
    /// # Errors
    /// As [`Builder::tensor`].
    pub fn var(&mut self, name: &str, shape: &[usize], role: Role) -> Result<Var> {
        let path = self.path(name);
        if let Some(parameter) = self.params.entries.get(&path) {
            if parameter.var.dims() != shape {
                return Err(Error::Shape {
                    op: "build",
                    left: parameter.var.dims().to_vec(),
                    right: shape.to_vec(),
                    rule: format!("parameter `{path}` has one shape in all layers that share it"),
                });
            }
            return Ok(parameter.var.clone());
        }
        require_memory(&path, shape)?;
        let value = self.initialisation.draw(&path, shape, role, self.seed)?;
        let dtype = if role == Role::BatchCount { DType::I64 } else { self.params.dtype };
        let var = Var::from_tensor(&value.to_dtype(dtype)?.to_device(&self.params.device)?)?;
        self.params.entries.insert(path, Parameter { var: var.clone(), role });
        Ok(var)
    }
}

/// Refuses a parameter for which memory cannot be reserved even once, in the f64 in which it is drawn.
fn require_memory(path: &str, shape: &[usize]) -> Result<()> {
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let fits = count.is_some_and(|count| Vec::<f64>::new().try_reserve_exact(count).is_ok());
    if fits {
        return Ok(());
    }
    let rule = "it fits into the memory of this machine; choose smaller sizes";
    let value = format!("{shape:?} for `{path}`");
    Err(Error::Setting { op: "architecture", name: "a parameter's shape", value, rule })
}
