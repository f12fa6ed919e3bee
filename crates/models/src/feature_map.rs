//! A view of a network as a feature map of `gc-core`.

use candle_core::Tensor;
use gc_core::{BatchNormMode, FeatureMap, InputUnits, Linearization, SquaredPullbacks};

use crate::layer::{Sequential, TangentCotangentTerms};
use crate::squared_vjp::ForwardResiduals;
use crate::view::View;
use crate::{Error, Pass, Result};

/// A view of a network as a [`FeatureMap`] in a given pass, up to a given layer (see [`View::features_at`]).
pub struct Features<'a> {
    view: &'a View,
    pass: Pass,
    layers: Sequential,
    layer: Option<String>,
}

impl View {
    /// This view as a feature map in the given pass, up to the features or up to any named layer.
    ///
    /// **Errors** [`Error::UnknownName`] when there is no such layer.
    pub fn feature_map(&self, pass: Pass, layer: Option<&str>) -> Result<Features<'_>> {
        let layers = layer.map_or_else(|| Ok(self.layers().body.clone()), |name| self.up_to(name))?;
        Ok(Features { view: self, pass, layers, layer: layer.map(str::to_owned) })
    }
}

impl Features<'_> {
    /// Each squared norm ‖Jᵀv‖² and the tangent–cotangent terms: one forward pass, then a backward and a forward-mode pass per
    /// cotangent.
    fn squared_vjps(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        let layers = &self.layers;
        let inside = self.view.to_inside(x).map_err(Error::into_candle)?;
        let residuals = layers.forward_with_residuals(&inside, &self.pass).map_err(Error::into_candle)?;
        let features = residuals.last().map_or(&inside, |last| &last.output).clone();
        let forward = ForwardResiduals { view: self.view, layers, residuals, images: x, pass: &self.pass };
        let (mut terms, mut norms) = (TangentCotangentTerms::Scalars(Vec::new()), Vec::new());
        for cotangent in draw(&features.detach())? {
            norms.push(forward.squared_vjp(&cotangent, units, 1.0, &mut terms).map_err(Error::into_candle)?);
        }
        let tangent_cotangent_term = terms.total(&features).map_err(Error::into_candle)?;
        Ok(SquaredPullbacks::new(features, norms, tangent_cotangent_term))
    }
}

impl FeatureMap for Features<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        let features = self.view.to_inside(x).and_then(|x| self.layers.forward(&x, &self.pass));
        Ok(features.map_err(Error::into_candle)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> gc_core::Result<(Tensor, Tensor)> {
        let both = self.view.to_inside(x).and_then(|x| self.layers.jvp(&x, &self.view.to_inside(dx)?, &self.pass));
        Ok(both.map_err(Error::into_candle)?)
    }

    fn has_jvp(&self) -> bool {
        true
    }

    fn has_own_derivatives(&self) -> bool {
        true
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        let view = self.view.as_frozen()?;
        Some(Box::new(view.feature_map(self.pass.without_update(), self.layer.as_deref()).ok()?))
    }

    fn batch_norm(&self) -> BatchNormMode {
        self.view.batch_norm_mode(&self.pass)
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        // The caller refuses a map whose parameters are variables: it finds them in the graph.
        if self.view.as_frozen().is_some() {
            return Ok(None);
        }
        let linearization = self.view.linearize_layers(&self.layers, x, &self.pass).map_err(Error::into_candle)?;
        Ok(Some(Box::new(linearization)))
    }

    fn squared_pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        self.squared_vjps(x, draw, units)
    }

    fn first_non_finite_layer(&self, x: &Tensor) -> Option<String> {
        self.view.first_non_finite_layer(x, &self.pass)
    }
}
