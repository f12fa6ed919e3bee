//! Stochastic gradient descent with momentum and L2, in place.

use std::collections::BTreeMap;

use candle_core::backend::BackendStorage;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result as CandleResult, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ops::cpu::elements;
use crate::params::Params;
use crate::{Error, Result};

/// Stochastic gradient descent with momentum and L2, PyTorch's `SGD`.
///
/// **Definition** g ← g + l2·w; v ← momentum·v + g (v ← g at first); w ← w − rate·v, or w − rate·(g + momentum·v)
/// with Nesterov. L2 reaches every trainable parameter, biases and batch norm's γ and β included, and never the running
/// statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// Base learning rate.
    pub learning_rate: f64,
    /// Share of the last velocity; 0 is plain SGD.
    #[serde(default)]
    pub momentum: f64,
    /// Whether the velocity looks one step ahead (Nesterov).
    #[serde(default)]
    pub nesterov: bool,
    /// Coefficient of w in the gradient (PyTorch's `weight_decay`): the loss gains ½·l2·‖w‖².
    #[serde(default)]
    pub l2: f64,
}

/// The state of an optimiser: one velocity a parameter, none without momentum.
#[derive(Debug, Clone, Default)]
pub struct Velocities(BTreeMap<String, Tensor>);

impl Sgd {
    /// Plain SGD: no momentum, no L2.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, momentum: 0.0, nesterov: false, l2: 0.0 }
    }

    /// Refuses settings with which no step makes sense.
    ///
    /// **Errors** [`Error::Setting`] naming the first.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("learning rate", self.learning_rate, self.learning_rate.is_finite() && self.learning_rate > 0.0),
            ("momentum", self.momentum, (0.0..1.0).contains(&self.momentum)),
            ("l2", self.l2, self.l2.is_finite() && self.l2 >= 0.0),
        ];
        let rules = ["it is a finite number above 0", "it lies in [0, 1)", "it is a finite number, not below 0"];
        for ((name, value, holds), rule) in checks.into_iter().zip(rules) {
            if !holds {
                return Err(Error::Setting { op: "sgd", name, value: value.to_string(), rule });
            }
        }
        Ok(())
    }

    /// One step, in place, on every trainable parameter that the loss reached, at `factor` times the learning rate.
    ///
    /// **Errors** [`Error::Candle`] when a gradient does not fit its parameter.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::{Sgd, Velocities};
    /// use models::{Architecture, Initialisation, Network, Pass, ops};
    /// let net = Network::new(&Architecture::named("vgg-small")?, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let images = Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
    /// let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
    /// let loss = || ops::cross_entropy(&net.tracked().logits(&images, &Pass::training(0, 0))?, &labels, 0.0);
    /// let before = loss()?;
    /// Sgd::new(0.1).step(net.params(), &before.backward()?, 1.0, &mut Velocities::default())?;
    /// assert!(loss()?.to_scalar::<f32>()? < before.to_scalar::<f32>()?);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn step(&self, params: &Params, gradients: &GradStore, factor: f64, velocities: &mut Velocities) -> Result<()> {
        let rate = self.learning_rate * factor;
        for (name, var) in params.trainable() {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            let weight = var.as_tensor();
            let gradient = gradient.contiguous()?;
            if self.momentum == 0.0 {
                weight.inplace_op2(&gradient, &Descend { rate, l2: self.l2, ahead: 1.0 })?;
                continue;
            }
            let velocity = match velocities.0.get(name) {
                Some(velocity) => velocity.clone(),
                None => {
                    let fresh = weight.zeros_like()?.detach();
                    velocities.0.insert(name.to_owned(), fresh.clone());
                    fresh
                }
            };
            velocity.inplace_op3(&gradient, &weight.detach(), &Accelerate { momentum: self.momentum, l2: self.l2 })?;
            if self.nesterov {
                // rate·(g + l2·w + momentum·v): the plain gradient first, then the velocity's share.
                weight.inplace_op2(&gradient, &Descend { rate, l2: self.l2, ahead: 1.0 })?;
                weight.inplace_op2(&velocity, &Descend { rate, l2: 0.0, ahead: self.momentum })?;
            } else {
                weight.inplace_op2(&velocity, &Descend { rate, l2: 0.0, ahead: 1.0 })?;
            }
        }
        Ok(())
    }
}

/// w ← w − rate·(ahead·g + l2·w).
struct Descend {
    rate: f64,
    l2: f64,
    ahead: f64,
}

/// v ← momentum·v + g + l2·w.
struct Accelerate {
    momentum: f64,
    l2: f64,
}

/// Values that one task updates.
const BLOCK: usize = 1 << 14;

/// Runs `update` on every value of `target` and its partners in the others, in parallel blocks of a fixed size.
fn update<T: Copy + Send + Sync>(target: &mut [T], first: &[T], second: &[T], update: impl Fn(T, T, T) -> T + Sync) {
    target.par_chunks_mut(BLOCK).zip(first.par_chunks(BLOCK)).zip(second.par_chunks(BLOCK)).for_each(
        |((target, first), second)| {
            for ((target, first), second) in target.iter_mut().zip(first).zip(second) {
                *target = update(*target, *first, *second);
            }
        },
    );
}

/// The elements of a contiguous tensor that is written in place.
macro_rules! elements_mut {
    ($op:expr, $storage:expr, $layout:expr, $variant:ident) => {{
        let (start, end) = $layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: $op })?;
        match $storage {
            CpuStorage::$variant(values) => values.get_mut(start..end),
            _ => None,
        }
        .ok_or_else(|| candle_core::Error::Msg(format!("{}: the parameter changed its dtype or size", $op)).bt())?
    }};
}

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "sgd-descend"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, lw: &Layout, g: &CpuStorage, lg: &Layout) -> CandleResult<()> {
        let (step, decay) = (self.rate * self.ahead, self.rate * self.l2);
        match BackendStorage::dtype(g) {
            DType::F32 => {
                let (step, keep, g) = (step as f32, 1.0 - decay as f32, elements::<f32>("sgd-descend", g, lg)?);
                update(elements_mut!("sgd-descend", w, lw, F32), g, g, |w, g, _| keep * w - step * g);
            }
            DType::F64 => {
                let (keep, g) = (1.0 - decay, elements::<f64>("sgd-descend", g, lg)?);
                update(elements_mut!("sgd-descend", w, lw, F64), g, g, |w, g, _| keep * w - step * g);
            }
            other => return Err(unsupported("sgd-descend", other)),
        }
        Ok(())
    }
}

impl InplaceOp3 for Accelerate {
    fn name(&self) -> &'static str {
        "sgd-accelerate"
    }

    fn cpu_fwd(
        &self,
        v: &mut CpuStorage,
        lv: &Layout,
        g: &CpuStorage,
        lg: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> CandleResult<()> {
        const OP: &str = "sgd-accelerate";
        match BackendStorage::dtype(g) {
            DType::F32 => {
                let (momentum, l2) = (self.momentum as f32, self.l2 as f32);
                let (g, w) = (elements::<f32>(OP, g, lg)?, elements::<f32>(OP, w, lw)?);
                update(elements_mut!(OP, v, lv, F32), g, w, |v, g, w| momentum * v + g + l2 * w);
            }
            DType::F64 => {
                let (momentum, l2) = (self.momentum, self.l2);
                let (g, w) = (elements::<f64>(OP, g, lg)?, elements::<f64>(OP, w, lw)?);
                update(elements_mut!(OP, v, lv, F64), g, w, |v, g, w| momentum * v + g + l2 * w);
            }
            other => return Err(unsupported(OP, other)),
        }
        Ok(())
    }
}

fn unsupported(op: &'static str, got: DType) -> candle_core::Error {
    Error::DType { op, expected: "f32 or f64".into(), got: got.as_str().into() }.into_candle()
}
