//! A network: an architecture with its parameters, for training (tracked) and for measuring (frozen).

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use gc_core::{BatchNormMode, FeatureMap, InputUnits, Linearization, SquaredPullbacks};

use crate::layer::{Arrived, Flatten, Layer, Pairings, Stack};
use crate::params::{Access, Initialisation, Params};
use crate::recorded::{Recorded, TracedLogits};
use crate::zoo::{Architecture, Parts};
use crate::{Error, Pass, Result};

/// An architecture with its parameters.
///
/// The same storage is seen in two ways: tracked, so that a backward pass reaches the parameters, and frozen, so that
/// measuring never computes a parameter gradient. Features are the input of the last linear layer.
///
/// **Shapes** images enter as `[n, c, h, w]` (or `[n, d]` for an MLP), features leave as `[n, p]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::{Architecture, Initialisation, Network, Pass};
/// let architecture = Architecture::named("vgg-small")?.with_input(1, [32, 32]).with_classes(7);
/// let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
/// let images = Tensor::zeros((2, 1, 32, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.frozen().features(&images, &Pass::evaluation())?.dims(), [2, 128]);
/// assert_eq!(net.tracked().logits(&images, &Pass::training(0, 0))?.dims(), [2, 7]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct Network {
    architecture: Architecture,
    params: Params,
    tracked: View,
    frozen: Arc<View>,
}

impl Network {
    /// A network with freshly drawn parameters, the same for the same seed whatever else was built before.
    ///
    /// **Errors** [`Error::Setting`] for impossible sizes; [`Error::DType`] for other numbers than f32 and f64: mixed precision
    /// ([`Pass::mixed_precision`]) keeps weights in f32.
    pub fn new(
        architecture: &Architecture,
        initialisation: Initialisation,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::F64) {
            let expected = "f32 or f64 (mixed precision keeps f32 weights and is asked for in the pass)".into();
            return Err(Error::DType { op: "network", expected, got: dtype.as_str().into() });
        }
        let mut params = Params::empty(dtype, device);
        let mut view = |access, frozen| -> Result<View> {
            let parts = architecture.build(params.builder(initialisation, seed, access))?;
            Ok(View { parts, input: architecture.input_shape(), batch_norm: architecture.has_batch_norm(), frozen })
        };
        let frozen = Arc::new(view(Access::Frozen, None)?);
        let tracked = view(Access::Tracked, Some(frozen.clone()))?;
        Ok(Self { architecture: architecture.clone(), params, tracked, frozen })
    }

    /// What it is made of.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Its named parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The network with variables: a backward pass reaches the parameters.
    pub fn tracked(&self) -> &View {
        &self.tracked
    }

    /// The network on plain tensors of the same storage: no parameter gradient is ever computed.
    pub fn frozen(&self) -> &View {
        &self.frozen
    }
}

/// One way to see a network's parameters: tracked or frozen.
pub struct View {
    parts: Parts,
    input: Vec<usize>,
    batch_norm: bool,
    /// The same parameters as constants, unless these are.
    frozen: Option<Arc<View>>,
}

impl View {
    /// Class scores `[n, k]`.
    ///
    /// **Errors** [`Error::Shape`] when the images are not of the architecture's size.
    pub fn logits(&self, images: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.parts.head.forward(&self.features(images, pass)?, pass)
    }

    /// The input of the last linear layer, `[n, p]`.
    ///
    /// **Errors** as [`View::logits`].
    pub fn features(&self, images: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.parts.body.forward(&self.enter(images)?, pass)
    }

    /// The features and their directional derivative along `tangent`.
    ///
    /// **Errors** as [`View::logits`], for the tangent too.
    pub fn features_jvp(&self, images: &Tensor, tangent: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        self.parts.body.jvp(&self.enter(images)?, &self.enter(tangent)?, pass)
    }

    /// The class scores of features.
    ///
    /// **Errors** [`Error::Shape`] when the features are not `[n, p]`.
    pub fn head(&self, features: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.parts.head.forward(features, pass)
    }

    /// Weight `[k, p]` and bias `[k]` of the last linear layer.
    pub fn head_parameters(&self) -> (&Tensor, &Tensor) {
        (self.parts.head.weight(), self.parts.head.bias())
    }

    /// The names of the layers, in their order; those inside a residual block come before its own.
    pub fn layer_names(&self) -> Vec<String> {
        let mut names = self.parts.body.names();
        names.push(self.parts.head_name.clone());
        names
    }

    /// The output of any named layer instead of the features, `[n, p]`, images flattened in PyTorch's order (channel,
    /// row, column). `layer1` means the last layer under that name; a name may point inside a residual block.
    ///
    /// **Errors** as [`View::logits`], and [`Error::UnknownName`] with the nearest names when there is no such layer.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Architecture, Error, Initialisation, Network, Pass};
    /// let architecture = Architecture::named("resnet18-cifar")?.with_width(0.0625).with_input(3, [8, 12]);
    /// let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let (images, pass) = (Tensor::zeros((2, 3, 8, 12), DType::F32, &Device::Cpu)?, Pass::evaluation());
    /// let at = |layer| net.frozen().features_at(&images, layer, &pass);
    /// assert_eq!(at("layer1")?.dims(), [2, 4 * 8 * 12]);
    /// assert_eq!(at("layer2.0.conv1")?.dims(), [2, 8 * 4 * 6]);
    /// assert_eq!(at("fc")?.to_vec2::<f32>()?, net.frozen().logits(&images, &pass)?.to_vec2::<f32>()?);
    /// assert!(matches!(at("layer9"), Err(Error::UnknownName { what: "layer", .. })));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn features_at(&self, images: &Tensor, layer: &str, pass: &Pass) -> Result<Tensor> {
        self.up_to(layer)?.forward(&self.enter(images)?, pass)
    }

    /// This view as a feature map in the given mode, up to the features or to any named layer.
    ///
    /// **Errors** [`Error::UnknownName`] when there is no such layer.
    pub fn feature_map(&self, pass: Pass, layer: Option<&str>) -> Result<Features<'_>> {
        let body = layer.map_or_else(|| Ok(self.parts.body.clone()), |name| self.up_to(name))?;
        Ok(Features { view: self, pass, body, layer: layer.map(str::to_owned) })
    }

    /// The layers from the images to the features.
    pub(crate) fn body(&self) -> &Stack {
        &self.parts.body
    }

    /// The class scores, and the way back from them to the parameters that are variables; with `recorded`, also a record of
    /// every layer on the way to the features.
    pub(crate) fn traced_logits(&self, images: &Tensor, recorded: bool, pass: &Pass) -> Result<TracedLogits<'_>> {
        let entering = Arrived { recorded, ..Arrived::entering(&self.enter(images)?, false) };
        let (features, mut trace) = self.parts.body.trace(entering, pass)?;
        let records = std::mem::take(&mut trace.records);
        let arrived = Arrived::entering(&features, !trace.is_empty());
        let (logits, _) = trace.push(&arrived, self.parts.head.trace(&arrived, pass)?, false);
        Ok(TracedLogits { features, records, logits, trace })
    }

    /// How batch norm works in a pass.
    pub(crate) fn batch_norm_mode(&self, pass: &Pass) -> BatchNormMode {
        match (self.batch_norm, pass.batch_statistics) {
            (false, _) => BatchNormMode::Absent,
            (true, false) => BatchNormMode::Evaluation,
            (true, true) => BatchNormMode::Training,
        }
    }

    /// The first layer whose output is not finite, found on constants and without any change to running statistics.
    pub(crate) fn first_non_finite_layer(&self, images: &Tensor, pass: &Pass) -> Option<String> {
        let view = self.frozen.as_deref().unwrap_or(self);
        view.parts.body.first_non_finite(&view.enter(images).ok()?, &pass.without_update())
    }

    /// The layers from the images to the named one, with its output flattened.
    fn up_to(&self, layer: &str) -> Result<Stack> {
        let mut whole = self.parts.body.clone();
        whole.push_shared(self.parts.head_name.clone(), self.parts.head.clone());
        let mut stack = whole.up_to(layer)?;
        stack.push("flatten", Flatten);
        Ok(stack)
    }

    /// Checks the shape and brings images to the order inside a network, `[n, h, w, c]`.
    pub(crate) fn enter(&self, images: &Tensor) -> Result<Tensor> {
        let dims = images.dims();
        let sample: usize = dims.iter().skip(1).product();
        match self.input.as_slice() {
            &[inputs] if dims.len() >= 2 && sample == inputs => Ok(images.flatten_from(1)?.contiguous()?),
            expected if dims.len() == 4 && dims.get(1..) == Some(expected) => {
                Ok(images.permute((0, 2, 3, 1))?.contiguous()?)
            }
            expected => Err(Error::Shape {
                op: "network",
                left: dims.to_vec(),
                right: expected.to_vec(),
                rule: "the input is a batch [n, …] of samples of the second shape; set `in_channels` and `input_size`"
                    .into(),
            }),
        }
    }
}

/// `[n, h, w, c]` to `[n, c, h, w]`, the order outside a network; vectors stay as they are.
pub(crate) fn leave(inside: &Tensor, outside: &Tensor) -> Result<Tensor> {
    if inside.rank() == 4 && outside.rank() == 4 {
        return Ok(inside.permute((0, 3, 1, 2))?.contiguous()?);
    }
    let rows = inside.dims().iter().take(1);
    Ok(inside.reshape(rows.chain(outside.dims().iter().skip(1)).copied().collect::<Vec<_>>())?)
}

/// A view of a network as a [`FeatureMap`], in a given mode and up to a given layer (see [`View::features_at`]).
pub struct Features<'a> {
    view: &'a View,
    pass: Pass,
    body: Stack,
    layer: Option<String>,
}

impl Features<'_> {
    /// The squared pullbacks with one forward pass, one pass back and one tangent pass, none of which is walked again.
    fn pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        let body = &self.body;
        let entered = self.view.enter(x).map_err(Error::into_candle)?;
        let records = body.record(&entered, &self.pass).map_err(Error::into_candle)?;
        let features = records.last().map_or(&entered, |record| &record.y).clone();
        let recorded = Recorded { view: self.view, body, records, images: x, pass: &self.pass };
        let (mut pairings, mut norms) = (Pairings::Scalars(Vec::new()), Vec::new());
        for cotangent in draw(&features.detach())? {
            norms.push(recorded.squared_pullback(&cotangent, units, 1.0, &mut pairings).map_err(Error::into_candle)?);
        }
        let pairing = pairings.total(&features).map_err(Error::into_candle)?;
        Ok(SquaredPullbacks { features, squared_norms: norms, tangent_cotangent_term: pairing })
    }
}

impl FeatureMap for Features<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        let features = self.view.enter(x).and_then(|x| self.body.forward(&x, &self.pass));
        Ok(features.map_err(Error::into_candle)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> gc_core::Result<(Tensor, Tensor)> {
        let both = self.view.enter(x).and_then(|x| self.body.jvp(&x, &self.view.enter(dx)?, &self.pass));
        Ok(both.map_err(Error::into_candle)?)
    }

    fn has_jvp(&self) -> bool {
        true
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        let view = self.view.frozen.as_deref()?;
        Some(Box::new(view.feature_map(self.pass.without_update(), self.layer.as_deref()).ok()?))
    }

    fn batch_norm(&self) -> BatchNormMode {
        self.view.batch_norm_mode(&self.pass)
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        // Parameters that are variables are for the caller to refuse: it finds them in the graph.
        if self.view.frozen.is_some() {
            return Ok(None);
        }
        let map = self.view.linearise_up_to(&self.body, x, &self.pass).map_err(Error::into_candle)?;
        Ok(Some(Box::new(map)))
    }

    fn squared_pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        self.pullbacks(x, draw, units)
    }

    fn first_non_finite_layer(&self, x: &Tensor) -> Option<String> {
        self.view.first_non_finite_layer(x, &self.pass)
    }
}
