//! A view of a network as a feature map of `gc-core`.

use candle_core::Tensor;
use gc_core::{BatchNormMode, FeatureMap, InputUnits, Linearization, SquaredPullbacks, Tangent};

use crate::layer::{GradientAccumulator, Layer, LayerInput, Sequential, SequentialTape, relative_change};
use crate::squared_vjp::{SquaredVjp, SquaredVjps, mismatch};
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
        let inside = self.view.to_inside(x).map_err(Error::into_candle)?;
        let features = self.layers.forward(&inside, &self.pass).map_err(Error::into_candle)?;
        let cotangents = draw(&features.detach())?;
        let terms = || -> Result<(Vec<SquaredVjp>, Tensor, bool)> {
            let input = LayerInput::new(&inside).by_input().with_tangents();
            let (_, tape) = self.layers.tape(&input, &self.pass.without_update())?;
            let vjps = SquaredVjps { view: self.view, tape: &tape, images: x, units };
            let mut gradients = GradientAccumulator::of_parameters();
            let vjps = cotangents.iter().map(|v| vjps.of(v, 1.0, &mut gradients)).collect::<Result<_>>()?;
            let by_graph = tape.by_graph();
            Ok((vjps, self.scalar(tape, gradients, &features)?, by_graph))
        };
        let (vjps, term, by_graph) = terms().map_err(Error::into_candle)?;
        let difference = Tangent::CentralDifference { step: relative_change(x.dtype()), mismatch: mismatch(&vjps) };
        let norms = vjps.into_iter().map(|vjp| vjp.norms).collect();
        let mut pullbacks = SquaredPullbacks::new(features, norms, term);
        if by_graph {
            pullbacks.tangent = difference;
        }
        Ok(pullbacks)
    }

    /// A scalar in candle's graph that has these gradients by the variables, after those by the inputs of layers went on to them.
    fn scalar(
        &self,
        tape: SequentialTape<'_>,
        mut gradients: GradientAccumulator,
        features: &Tensor,
    ) -> Result<Tensor> {
        let variables = self.view.variables();
        if gradients.len() > variables.iter().filter(|variable| gradients.holds(variable)).count() {
            tape.into_vjp(features.zeros_like()?.detach(), &mut gradients)?;
        }
        let zero = Tensor::zeros((), features.dtype(), features.device())?;
        variables.iter().try_fold(zero, |sum, variable| match gradients.take(variable) {
            Some(gradient) => Ok((sum + ops::with_gradient(variable, &gradient)?)?),
            None => Ok(sum),
        })
    }
}

impl FeatureMap for Features<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        let features = self.view.to_inside(x).and_then(|x| self.layers.forward(&x, &self.pass));
        Ok(features.map_err(Error::into_candle)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> gc_core::Result<(Tensor, Tensor)> {
        let both = self.view.jvp_up_to(&self.layers, x, dx, &self.pass);
        Ok(both.map_err(Error::into_candle)?)
    }

    /// Measuring prefers VJPs where JVPs are central differences.
    fn has_jvp(&self) -> bool {
        self.has_own_derivatives()
    }

    fn has_own_derivatives(&self) -> bool {
        !self.view.is_by_graph(&self.layers, &self.pass)
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
