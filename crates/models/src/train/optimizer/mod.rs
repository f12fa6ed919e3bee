//! Optimisers and their state.

mod adam;
mod formula;
mod in_place;
mod momentum;
mod sgd;

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

pub use adam::Adam;
pub(super) use formula::Formula;
pub use sgd::Sgd;

use super::Gradients;
use crate::params::Params;
use crate::{Error, Result};

/// An optimiser with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam, or AdamW with decoupled decay.
    Adam(Adam),
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Self {
        Optimizer::Sgd(sgd)
    }
}

impl From<Adam> for Optimizer {
    fn from(adam: Adam) -> Self {
        Optimizer::Adam(adam)
    }
}

impl Optimizer {
    /// Base learning rate.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Optimizer::Sgd(sgd) => sgd.learning_rate,
            Optimizer::Adam(adam) => adam.learning_rate,
        }
    }

    /// Checks the settings.
    ///
    /// **Errors** [`Error::Setting`] for the first invalid one.
    pub fn validate(&self) -> Result<()> {
        match self {
            Optimizer::Sgd(sgd) => sgd.validate(),
            Optimizer::Adam(adam) => adam.validate(),
        }
    }

    /// One step, in place, on every trainable parameter that has a gradient, at `factor` times the learning rate.
    ///
    /// **Errors** [`Error::Shape`] when a gradient does not have the shape of its parameter; [`Error::Candle`] on a failing device.
    pub fn step(&self, params: &Params, gradients: &Gradients, factor: f64, state: &mut OptimizerState) -> Result<()> {
        match self {
            Optimizer::Sgd(sgd) => sgd.step(params, gradients, factor, state),
            Optimizer::Adam(adam) => adam.step(params, gradients, factor, state),
        }
    }
}

/// The state of an optimiser between steps: their number, and tensors by kind and parameter.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    /// Number of steps.
    pub(crate) steps: u64,
    /// `velocity/<parameter>`, `first-moment/<parameter>`, `second-moment/<parameter>`.
    pub(crate) tensors: BTreeMap<String, Var>,
}

impl OptimizerState {
    /// The tensor of this kind for a parameter; zeros at first.
    fn entry(&mut self, kind: &str, name: &str, weight: &Tensor) -> Result<Var> {
        let key = format!("{kind}/{name}");
        if let Some(known) = self.tensors.get(&key) {
            return Ok(known.clone());
        }
        let fresh = Var::from_tensor(&weight.zeros_like()?.detach())?;
        self.tensors.insert(key, fresh.clone());
        Ok(fresh)
    }
}

/// Refuses the first setting whose check (the third entry) fails.
fn require(op: &'static str, checks: &[(&'static str, f64, bool, &'static str)]) -> Result<()> {
    match checks.iter().find(|(_, _, holds, _)| !holds) {
        Some((name, value, _, rule)) => Err(Error::Setting { op, name, value: value.to_string(), rule }),
        None => Ok(()),
    }
}

const NOT_NEGATIVE: &str = "it is a finite number, not below 0";
const POSITIVE: &str = "it is a finite number above 0";
const SHARE: &str = "it is in [0, 1)";

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn is_not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}
