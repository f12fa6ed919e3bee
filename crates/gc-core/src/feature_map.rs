//! The one trait for "a network to measure".

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::penalty::{self, SquaredPullbacks};
use crate::{Error, InputUnits, Result};

/// How a map normalises by batch statistics, as the record of a measurement states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchNormMode {
    /// The map has no batch norm.
    Absent,
    /// Running statistics: each sample is mapped by itself.
    Evaluation,
    /// Statistics of the batch at hand: samples are mixed.
    Training,
    /// The map does not say.
    Unstated,
}

/// A map from a batch of inputs to a batch of features, one row a sample.
///
/// **Shapes** input `[n, …]`, features `[n, p]`. To be measured, row i of the features may depend on row i of the input
/// alone: a map that mixes samples (training-mode batch norm) has no Jacobian per sample, and measuring refuses it. The
/// [`Penalty`](crate::Penalty) takes such maps too.
///
/// A closure is a feature map without forward mode, so any candle model is measured in one line:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::FeatureMap;
///
/// let weight = Tensor::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = |x: &Tensor| x.matmul(&weight.t()?);
/// let features = linear.features(&Tensor::zeros((7, 2), DType::F64, &Device::Cpu)?)?;
/// assert_eq!(features.dims(), [7, 3]);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub trait FeatureMap {
    /// The features `[n, p]` of the inputs `[n, …]`.
    fn features(&self, x: &Tensor) -> Result<Tensor>;

    /// The features of `x` and their directional derivative J(x)·dx, both `[n, p]`; `dx` has the shape of `x`.
    ///
    /// # Errors
    /// [`Error::NoForwardMode`] unless the map implements it.
    fn jvp(&self, _x: &Tensor, _dx: &Tensor) -> Result<(Tensor, Tensor)> {
        Err(Error::NoForwardMode)
    }

    /// Whether [`FeatureMap::jvp`] is implemented.
    fn has_jvp(&self) -> bool {
        false
    }

    /// The same map with constant weights: no gradient of a weight is computed below it, and nothing that it does changes
    /// the map (no running statistics are updated). `None` if the weights are constants already.
    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        None
    }

    /// How the map normalises by batch statistics, for the record of a measurement.
    fn batch_norm(&self) -> BatchNormMode {
        BatchNormMode::Unstated
    }

    /// The first layer whose output is not finite at `x`. Asked only after a failure, to name the layer in the error.
    fn first_non_finite_layer(&self, _x: &Tensor) -> Option<String> {
        None
    }

    /// The map at `x`, ready for many reverse passes, if it has a way of its own to take them.
    ///
    /// `None`, the default, leaves them to candle's backward pass over a graph from `x`, which is right for every map and
    /// fills a tensor with zeros, and adds to it, for each gradient on the way. Asked of maps with constant weights only.
    fn linearize(&self, _x: &Tensor) -> Result<Option<Box<dyn Linearization + '_>>> {
        Ok(None)
    }

    /// The squared norms ‖Jᵀv‖² for each of the cotangents v `[n, p]` that `draw` gives for the features `[n, p]`, with a
    /// scalar whose gradient by the weights is half of the gradient of their sum.
    ///
    /// **Definition** with u = Jᵀv held fixed, ∇ ½‖Jᵀv‖² = ∇⟨v, J u⟩, so one reverse pass over a forward-mode pass gives
    /// the gradient and nothing is differentiated twice.
    ///
    /// The default runs the frozen map forward and backward for u and then [`FeatureMap::jvp`] with the weights as they
    /// are. A map that knows its layers can share the forward pass and the chain of cotangents between the two.
    ///
    /// # Errors
    /// [`Error::NoForwardMode`] unless [`FeatureMap::jvp`] is implemented.
    fn squared_pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> Result<SquaredPullbacks> {
        penalty::squared_pullbacks_by_jvp(self, x, draw, units)
    }
}

impl<F> FeatureMap for F
where
    F: Fn(&Tensor) -> candle_core::Result<Tensor>,
{
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self(x)?)
    }
}

/// A map linearised at a batch of inputs: see [`FeatureMap::linearize`].
pub trait Linearization {
    /// The features `[n, p]` of the batch.
    fn features(&self) -> &Tensor;

    /// Jᵀv for cotangents v `[k·n, p]`, `[k·n, …]` as the inputs: k ≥ 1 rows of the Jacobian or probes of each sample, where
    /// the rows r of both belong to sample r mod n.
    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor>;

    /// Bytes of all that is kept for the pullbacks, and of the largest tensor in it.
    fn bytes(&self) -> (usize, usize);
}

/// A map of any size behind a reference, as a trait object.
pub(crate) struct ByReference<'a, M: ?Sized>(pub(crate) &'a M);

impl<M: FeatureMap + ?Sized> FeatureMap for ByReference<'_, M> {
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        self.0.features(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        self.0.jvp(x, dx)
    }

    fn has_jvp(&self) -> bool {
        self.0.has_jvp()
    }

    fn first_non_finite_layer(&self, x: &Tensor) -> Option<String> {
        self.0.first_non_finite_layer(x)
    }

    fn batch_norm(&self) -> BatchNormMode {
        self.0.batch_norm()
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        self.0.frozen()
    }

    fn linearize(&self, x: &Tensor) -> Result<Option<Box<dyn Linearization + '_>>> {
        self.0.linearize(x)
    }

    fn squared_pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> Result<SquaredPullbacks> {
        self.0.squared_pullbacks(x, draw, units)
    }
}
