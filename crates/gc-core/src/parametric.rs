//! Maps as functions of a list of weights, which can be held constant, and constant views of variables.

use std::collections::HashMap;
use std::hash::Hash;

use candle_core::{Tensor, Var};

use crate::{FeatureMap, Result};

/// Constant views of named variables, such as those of a `candle_nn::VarMap`. They share the storage of the variables, so
/// they have their current values.
///
/// A model on these views (`candle_nn::VarBuilder::from_tensors`) is measured without computing gradients of weights. Models
/// on the variables themselves can be measured too, at a higher cost ([`TrackedWeights`](crate::TrackedWeights)).
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gc_core::{GeometricComplexity, frozen_weights};
///
/// let weight = Var::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let frozen = frozen_weights(&[("weight", weight)].into());
/// let map = |x: &Tensor| x.matmul(&frozen["weight"].t()?);
/// let estimate = GeometricComplexity::exact().measure_inputs(&map, &Tensor::new(&[[0.5f64, 0.25]], &Device::Cpu)?)?;
/// assert_eq!(estimate.value, 91.0);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn frozen_weights<K: Clone + Eq + Hash>(variables: &HashMap<K, Var>) -> HashMap<K, Tensor> {
    variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().detach())).collect()
}

/// The type parameter of a [`Parametric`] map without a JVP.
#[derive(Debug, Clone, Copy)]
pub struct NoForwardMode;

/// A feature map as a function of a list of weights. It can be frozen, and can have a JVP.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gc_core::{FeatureMap, Parametric};
///
/// let weight = Var::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = Parametric::new(vec![weight.as_tensor().clone()], |w, x| x.matmul(&w[0].t()?))
///     .with_jvp(|w, x, dx| Ok((x.matmul(&w[0].t()?)?, dx.matmul(&w[0].t()?)?)));
/// let x = Tensor::new(&[[1f64, 0.]], &Device::Cpu)?;
/// assert_eq!(linear.jvp(&x, &x)?.1.to_vec2::<f64>()?, [[1., 3., 5.]]);
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parametric<F, G = NoForwardMode> {
    weights: Vec<Tensor>,
    features: F,
    jvp: G,
}

impl<F> Parametric<F>
where
    F: Fn(&[Tensor], &Tensor) -> candle_core::Result<Tensor>,
{
    /// The map x ↦ `features(weights, x)`, without a JVP.
    pub fn new(weights: Vec<Tensor>, features: F) -> Self {
        Self { weights, features, jvp: NoForwardMode }
    }

    /// The same map with a JVP: `jvp(weights, x, dx)` returns the features and J·dx.
    pub fn with_jvp<G>(self, jvp: G) -> Parametric<F, G>
    where
        G: Fn(&[Tensor], &Tensor, &Tensor) -> candle_core::Result<(Tensor, Tensor)>,
    {
        Parametric { weights: self.weights, features: self.features, jvp }
    }
}

impl<F, G> Parametric<F, G> {
    /// The weights, in their original order.
    pub fn weights(&self) -> &[Tensor] {
        &self.weights
    }
}

/// The JVP of a [`Parametric`] map, or its absence.
pub trait ForwardMode {
    /// The features and J·dx, if there is a JVP.
    fn apply(&self, weights: &[Tensor], x: &Tensor, dx: &Tensor) -> Option<candle_core::Result<(Tensor, Tensor)>>;
    /// Whether there is a JVP.
    fn present(&self) -> bool;
}

impl ForwardMode for NoForwardMode {
    fn apply(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Option<candle_core::Result<(Tensor, Tensor)>> {
        None
    }

    fn present(&self) -> bool {
        false
    }
}

impl<G> ForwardMode for G
where
    G: Fn(&[Tensor], &Tensor, &Tensor) -> candle_core::Result<(Tensor, Tensor)>,
{
    fn apply(&self, weights: &[Tensor], x: &Tensor, dx: &Tensor) -> Option<candle_core::Result<(Tensor, Tensor)>> {
        Some(self(weights, x, dx))
    }

    fn present(&self) -> bool {
        true
    }
}

/// A [`Parametric`] map on detached weights, which borrows its functions.
struct FrozenParametric<'a, F, G> {
    weights: Vec<Tensor>,
    map: &'a Parametric<F, G>,
}

impl<F, G> FeatureMap for Parametric<F, G>
where
    F: Fn(&[Tensor], &Tensor) -> candle_core::Result<Tensor>,
    G: ForwardMode,
{
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok((self.features)(&self.weights, x)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        jvp(&self.jvp, &self.weights, x, dx)
    }

    fn has_jvp(&self) -> bool {
        self.jvp.present()
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        Some(Box::new(FrozenParametric { weights: self.weights.iter().map(Tensor::detach).collect(), map: self }))
    }
}

impl<F, G> FeatureMap for FrozenParametric<'_, F, G>
where
    F: Fn(&[Tensor], &Tensor) -> candle_core::Result<Tensor>,
    G: ForwardMode,
{
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok((self.map.features)(&self.weights, x)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        jvp(&self.map.jvp, &self.weights, x, dx)
    }

    fn has_jvp(&self) -> bool {
        self.map.jvp.present()
    }
}

fn jvp(mode: &impl ForwardMode, weights: &[Tensor], x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
    match mode.apply(weights, x, dx) {
        Some(pair) => Ok(pair?),
        None => Err(crate::Error::NoForwardMode),
    }
}
