//! The trait for a network to measure.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::squared_pullbacks::{self, SquaredPullbacks};
use crate::{Error, InputUnits, Result};

/// Which statistics batch norm uses, as recorded with a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchNormMode {
    /// The map has no batch norm.
    Absent,
    /// Running statistics: the features of a sample depend on that sample alone.
    Evaluation,
    /// Statistics of the current batch: the features of a sample depend on all samples of the batch.
    Training,
    /// The map gives no information.
    Unstated,
}

/// A map from a batch of inputs to a batch of features, one row per sample.
///
/// **Shapes** input `[n, …]`, features `[n, p]`, both of a floating-point dtype.
///
/// **Conventions** a map is measured per sample: row i of the features may depend on row i of the inputs only. A map that
/// mixes samples (batch norm in training mode) has no Jacobian per sample, and measuring returns
/// [`Error::MixesSamples`]. [`Penalty`](crate::Penalty) accepts such maps.
///
/// A closure is a feature map, so a candle model is measured in one line:
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

    /// The features of `x` and the Jacobian–vector product J(x)·dx, both `[n, p]`; `dx` has the shape of `x`.
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

    /// The same map with constant weights: no gradient of a weight is computed through it, and calling it has no side
    /// effect (running statistics are not updated). `None` if the map has no such form, or its weights are constants.
    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        None
    }

    /// Whether the map computes its derivatives with tested rules of its own, not with those of candle's operations.
    ///
    /// Measuring and the penalty compare derivatives with finite differences first, unless this is `true` or
    /// [`FeatureMap::linearize`] returns a linearization with [rules of its own](Linearization::has_own_derivatives).
    fn has_own_derivatives(&self) -> bool {
        false
    }

    /// Which statistics batch norm uses, recorded with a measurement.
    fn batch_norm(&self) -> BatchNormMode {
        BatchNormMode::Unstated
    }

    /// The name of the first layer whose output is not finite at `x`. Called only to name the layer in an error.
    fn first_non_finite_layer(&self, _x: &Tensor) -> Option<String> {
        None
    }

    /// The linearization of the map at `x`, if the map implements one.
    ///
    /// With `None`, the default, VJPs are taken by candle's backward pass over a graph. That works for every map, but
    /// allocates a tensor of zeros and adds to it for each gradient. Called only on maps with constant weights.
    fn linearize(&self, _x: &Tensor) -> Result<Option<Box<dyn Linearization + '_>>> {
        Ok(None)
    }

    /// The squared norms ‖Jᵀv‖² for cotangents v `[n, p]`, which `draw` returns for the features `[n, p]`, and a scalar
    /// whose gradient with respect to the weights is half of the gradient of their sum.
    ///
    /// **Definition** with u = Jᵀv held fixed, ∇½‖Jᵀv‖² = ∇⟨v, J u⟩. One backward pass through a tangent J u gives the
    /// gradient, so nothing is differentiated twice.
    ///
    /// The default takes u from the frozen map (from the map itself if it has none), and J u from [`FeatureMap::jvp`] or,
    /// without a JVP, from the central difference (f(x + hu) − f(x − hu))/2h, as described at
    /// [`Penalty`](crate::Penalty). A map with its own implementation can share the forward pass between the two.
    ///
    /// # Errors
    /// Those of [`Penalty::term`](crate::Penalty::term).
    fn squared_pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> Result<SquaredPullbacks> {
        squared_pullbacks::of_any_map(self, x, draw, units)
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

/// The linearization of a map at a batch of n inputs: see [`FeatureMap::linearize`].
pub trait Linearization {
    /// The features `[n, p]` of the batch.
    fn features(&self) -> &Tensor;

    /// The VJP Jᵀv for cotangents v `[k·n, p]`, shaped `[k·n, …]` as the inputs. k ≥ 1 is the number of cotangents per
    /// sample; row r of both belongs to sample r mod n. Can be called repeatedly.
    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor>;

    /// Gives the number of cotangents of each sample in all VJPs that follow. A linearization may compute what makes so many VJPs cheaper.
    /// The default does nothing.
    fn expect(&mut self, _cotangents: usize) {}

    /// Whether the VJPs follow tested rules of the map's own, as for most linearizations. If not, measuring compares them with
    /// finite differences first: see [`FeatureMap::has_own_derivatives`].
    fn has_own_derivatives(&self) -> bool {
        true
    }

    /// The memory of the tensors that are kept for the VJPs.
    fn bytes(&self) -> ResidualBytes;
}

/// The memory of the residuals of a [`Linearization`], in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResidualBytes {
    /// All tensors together.
    pub total: usize,
    /// The largest tensor.
    pub largest: usize,
}
