//! An exponential moving average of the parameters.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::optimizer::Formula;
use crate::{Error, Network, Result};

/// An exponential moving average of the parameters of a network, by which it is often evaluated better than by the last ones.
///
/// **Definition** e₀ = θ₀, the initial parameters; after each step e ← decay·e + (1 − decay)·θ. Running means and variances of
/// batch norm are averaged like weights; the count of their batches is that of the network.
///
/// **Conventions** there is no correction for the start: after t steps the initial parameters still have the weight decayᵗ, so
/// the decay has to fit the length of the run (0.99 for some hundred steps, 0.999 for some thousand).
///
/// **Source** B. Polyak and A. Juditsky, SIAM J. Control Optim. 1992, for averaging; timm's `ModelEmaV2`, with the same
/// recursion on the whole state dict.
#[derive(Debug, Clone, Default)]
pub struct MovingAverage {
    /// The averages by the names of the parameters.
    pub(crate) tensors: BTreeMap<String, Var>,
}

impl MovingAverage {
    /// The parameters as they are, from which the average starts.
    pub(crate) fn of(network: &Network) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, parameter) in network.params().iter() {
            tensors.insert(name.to_owned(), Var::from_tensor(&parameter.var.as_detached_tensor().copy()?)?);
        }
        Ok(Self { tensors })
    }

    /// Moves the average towards the parameters after one step.
    pub(crate) fn update(&self, network: &Network, decay: f64) -> Result<()> {
        for (name, parameter) in network.params().iter() {
            let (average, now) = (self.get(name)?, parameter.var.as_detached_tensor());
            if now.dtype().is_float() {
                Formula::Mean { keep: decay, l2: 0.0 }.apply(average, &now, &now)?;
            } else {
                average.set(&now)?;
            }
        }
        Ok(())
    }

    /// Calls `look` while the network has the averaged parameters; it has its own ones again afterwards, also after an error.
    ///
    /// **Errors** those of `look`, and [`Error::Setting`] when the average is of another network.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use candle_core::{DType, Device, Tensor};
    /// use models::train::{Fit, Progress, Sgd};
    /// use models::{Architecture, Initialisation, Network};
    /// let net = Network::new(&Architecture::named("vgg-small")?.with_width(0.1), Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let bias = |net: &Network| -> models::Result<f32> { Ok(net.params().get("classifier.bias").unwrap().var.get(0)?.to_scalar()?) };
    /// let mut batches = |_| Ok((Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu)?, Tensor::new(&[0u32, 1], &Device::Cpu)?));
    /// let (fit, mut progress) = (Fit { ema: Some(0.5), ..Fit::new(1, Sgd::new(0.1)) }, Progress::default());
    /// fit.run(&net, &mut progress, &mut batches, |_, _| Ok(ControlFlow::Continue(())))?;
    /// // The biases start at 0: after one step the average with decay ½ is half the bias.
    /// let averaged = progress.average().unwrap().in_place(&net, |net| bias(net))?;
    /// assert!(bias(&net)? != 0.0 && averaged == 0.5 * bias(&net)?);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn in_place<T>(&self, network: &Network, look: impl FnOnce(&Network) -> Result<T>) -> Result<T> {
        let params = || network.params().iter().map(|(name, parameter)| (name, &parameter.var));
        let own = params().map(|(_, var)| Ok(var.as_detached_tensor().copy()?)).collect::<Result<Vec<Tensor>>>()?;
        let averages = params().map(|(name, _)| self.get(name)).collect::<Result<Vec<&Var>>>()?;
        let put = params().zip(averages).try_for_each(|((_, var), average)| var.set(&average.as_detached_tensor()));
        let seen = put.map_err(Error::from).and_then(|()| look(network));
        params().zip(&own).try_for_each(|((_, var), own)| var.set(own))?;
        seen
    }

    fn get(&self, name: &str) -> Result<&Var> {
        let rule = "the average has the parameters of the network";
        let missing = || Error::Setting { op: "moving average", name: "parameter", value: name.to_owned(), rule };
        self.tensors.get(name).ok_or_else(missing)
    }
}
