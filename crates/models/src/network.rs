//! A network: an architecture with its parameters, for training (tracked) and for measuring (frozen).

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use gc_core::{BatchNormMode, FeatureMap, InputUnits, SquaredPullbacks};

use crate::layer::Layer;
use crate::params::{Access, Initialisation, Params};
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
    /// **Errors** [`Error::Setting`] for impossible sizes.
    pub fn new(
        architecture: &Architecture,
        initialisation: Initialisation,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
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
        self.parts.body.forward(&self.enter(images)?, pass, self.parts.body.len())
    }

    /// The features and their directional derivative along `tangent`.
    ///
    /// **Errors** as [`View::logits`], for the tangent too.
    pub fn features_jvp(&self, images: &Tensor, tangent: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        self.parts.body.jvp(&self.enter(images)?, &self.enter(tangent)?, pass, self.parts.body.len())
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

    /// The names of the layers before the head, in their order.
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        self.parts.body.names()
    }

    /// This view as a feature map in the given mode, up to the features or to any named layer.
    ///
    /// **Errors** [`Error::UnknownName`] when there is no such layer.
    pub fn feature_map(&self, pass: Pass, layer: Option<&str>) -> Result<Features<'_>> {
        let depth = match layer {
            Some(name) => self.parts.body.position(name)?,
            None => self.parts.body.len(),
        };
        Ok(Features { view: self, pass, depth })
    }

    /// Checks the shape and brings images to the order inside a network, `[n, h, w, c]`.
    fn enter(&self, images: &Tensor) -> Result<Tensor> {
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
fn leave(inside: &Tensor, outside: &Tensor) -> Result<Tensor> {
    if inside.rank() == 4 && outside.rank() == 4 {
        return Ok(inside.permute((0, 3, 1, 2))?.contiguous()?);
    }
    Ok(inside.reshape(outside.shape())?)
}

/// ‖u‖² of each sample, summed in f64.
fn squared_norms(u: &Tensor) -> Result<Vec<f64>> {
    Ok(u.to_dtype(DType::F64)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?)
}

/// A view of a network as a [`FeatureMap`], in a given mode and up to a given layer; images are flattened to `[n, p]` in
/// the order row, column, channel when the layer puts out images.
pub struct Features<'a> {
    view: &'a View,
    pass: Pass,
    depth: usize,
}

fn as_rows(features: &Tensor) -> candle_core::Result<Tensor> {
    if features.rank() == 2 { Ok(features.clone()) } else { features.flatten_from(1) }
}

impl Features<'_> {
    /// The squared pullbacks with one forward pass, one pass back and one tangent pass, none of which is walked again.
    fn pullbacks(
        &self,
        x: &Tensor,
        draw: &dyn Fn(&Tensor) -> gc_core::Result<Vec<Tensor>>,
        units: &InputUnits,
    ) -> gc_core::Result<SquaredPullbacks> {
        let body = &self.view.parts.body;
        let entered = self.view.enter(x).map_err(Error::into_candle)?;
        let records = body.record(&entered, &self.pass, self.depth).map_err(Error::into_candle)?;
        let output = records.last().map_or(&entered, |record| &record.y);
        let features = as_rows(output)?;
        let (mut pairings, mut norms) = (Vec::new(), Vec::new());
        for cotangent in draw(&features.detach())? {
            let g = cotangent.reshape(output.shape())?;
            let pulled = body.pullback(&records, &g, &self.pass);
            let (cotangents, at_input) = pulled.map_err(Error::into_candle)?;
            let u = units.divide(&leave(&at_input, x).map_err(Error::into_candle)?)?;
            norms.push(squared_norms(&u).map_err(Error::into_candle)?);
            let tangent = units.divide(&u)?;
            let paired = self
                .view
                .enter(&tangent)
                .and_then(|tangent| body.pair(&records, &cotangents, &tangent, &self.pass, &mut pairings));
            paired.map_err(Error::into_candle)?;
        }
        let zero = Tensor::zeros((), features.dtype(), features.device())?;
        let pairing = pairings.into_iter().try_fold(zero, |sum, pairing| sum + pairing)?;
        Ok(SquaredPullbacks { features, squared_norms: norms, pairing })
    }
}

impl FeatureMap for Features<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        let features = self.view.enter(x).and_then(|x| self.view.parts.body.forward(&x, &self.pass, self.depth));
        Ok(as_rows(&features.map_err(Error::into_candle)?)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> gc_core::Result<(Tensor, Tensor)> {
        let both = self.view.enter(x).and_then(|x| {
            let dx = self.view.enter(dx)?;
            self.view.parts.body.jvp(&x, &dx, &self.pass, self.depth)
        });
        let (features, tangent) = both.map_err(Error::into_candle)?;
        Ok((as_rows(&features)?, as_rows(&tangent)?))
    }

    fn has_jvp(&self) -> bool {
        true
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        let view = self.view.frozen.as_deref()?;
        Some(Box::new(Features { view, pass: self.pass.without_update(), depth: self.depth }))
    }

    fn batch_norm(&self) -> BatchNormMode {
        match (self.view.batch_norm, self.pass.batch_statistics) {
            (false, _) => BatchNormMode::Absent,
            (true, false) => BatchNormMode::Evaluation,
            (true, true) => BatchNormMode::Training,
        }
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
        let view = self.view.frozen.as_deref().unwrap_or(self.view);
        view.parts.body.first_non_finite(&view.enter(x).ok()?, &self.pass.without_update())
    }
}
