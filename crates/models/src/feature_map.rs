//! A view of a network as a feature map of `gc-core`.

use std::sync::Arc;

use candle_core::Tensor;
use gc_core::{BatchNormMode, FeatureMap, InputUnits, Linearization, SquaredPullbacks, Tangent};

use crate::layer::{GradientAccumulator, Layer, Sequential, Tape, relative_change};
use crate::layout::to_outside;
use crate::shared_tape::SharedTape;
use crate::squared_vjp::{SquaredNorms, SquaredVjp, SquaredVjps};
use crate::view::View;
use crate::{Error, Pass, Result};

/// A view of a network as a [`FeatureMap`] in a given pass, up to a given layer (see [`View::features_at`]).
pub struct Features<'a> {
    view: &'a View,
    pass: Pass,
    layers: Arc<Sequential>,
    layer: Option<String>,
}

impl View {
    /// This view as a feature map in the given pass, up to the features or up to any named layer.
    ///
    /// **Errors** [`Error::UnknownName`] when there is no such layer.
    pub fn feature_map(&self, pass: Pass, layer: Option<&str>) -> Result<Features<'_>> {
        let layers = layer.map_or_else(|| Ok(self.layers().body.clone()), |name| self.up_to(name))?;
        Ok(Features { view: self, pass, layers: Arc::new(layers), layer: layer.map(str::to_owned) })
    }
}

impl Features<'_> {
    /// Each squared norm ‖Jᵀv‖² and the tangent–cotangent terms: one forward pass, then a backward and a forward-mode pass per
    /// cotangent. The features are in candle's graph, whose backward pass goes through the same tape.
    fn squared_vjps(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        let shared = self.view.to_inside(x).and_then(|x| SharedTape::new(&self.layers, &x, &self.pass));
        let shared = Arc::new(shared.map_err(Error::into_candle)?);
        let cotangents = draw(shared.features())?;
        let terms = || -> Result<(SquaredNorms, Tensor, Tensor)> {
            let vjps = SquaredVjps { view: self.view, tape: shared.tape(), images: x, units };
            let mut gradients = GradientAccumulator::of_parameters();
            let vjps =
                cotangents.iter().map(|v| vjps.of(v, 1.0, &mut gradients)).collect::<Result<Vec<SquaredVjp>>>()?;
            let (term, features) = (self.scalar(&shared, gradients)?, self.in_graph(&shared, x)?);
            Ok((SquaredNorms::read(&vjps)?, term, features))
        };
        let (SquaredNorms { norms, mismatch }, term, features) = terms().map_err(Error::into_candle)?;
        let difference = Tangent::CentralDifference { step: relative_change(x.dtype()), mismatch };
        let mut pullbacks = SquaredPullbacks::new(features, norms, term);
        if shared.tape().by_graph() {
            pullbacks.tangent = difference;
        }
        Ok(pullbacks)
    }

    /// The features with candle's graph down to the variables and to `x`.
    fn in_graph(&self, shared: &Arc<SharedTape>, x: &Tensor) -> Result<Tensor> {
        let (tape, variables, images) = (shared.clone(), self.view.variables().to_vec(), x.detach());
        let by_input = x.track_op();
        let vjps = move |g: &Tensor| -> Result<Vec<Option<Tensor>>> {
            let mut gradients =
                if by_input { GradientAccumulator::of_all() } else { GradientAccumulator::of_parameters() };
            let at_input = tape.tape().vjp(&g.detach().contiguous()?, &mut gradients)?;
            let at_input = at_input.map(|at_input| to_outside(&at_input, &images)).transpose()?;
            Ok(variables.iter().map(|variable| gradients.take(variable)).chain([at_input]).collect())
        };
        let arguments: Vec<&Tensor> = self.view.variables().iter().chain([x]).collect();
        Ok(ops::with_vjps(shared.features(), &arguments, move |g| vjps(g).map_err(Error::into_candle))?)
    }

    /// A scalar in candle's graph that has these gradients by the variables, after those by the inputs of layers went on to them.
    fn scalar(&self, shared: &SharedTape, mut gradients: GradientAccumulator) -> Result<Tensor> {
        let (variables, features) = (self.view.variables(), shared.features());
        if gradients.len() > variables.iter().filter(|variable| gradients.holds(variable)).count() {
            shared.tape().vjp(&features.zeros_like()?, &mut gradients)?;
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
