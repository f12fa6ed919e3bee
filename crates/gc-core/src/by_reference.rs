//! A reference to a feature map as a feature map.

use candle_core::Tensor;

use crate::{BatchNormMode, FeatureMap, InputUnits, Linearization, Result, SquaredPullbacks};

/// Makes a trait object of a reference to a map of any size.
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

    fn has_own_derivatives(&self) -> bool {
        self.0.has_own_derivatives()
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
