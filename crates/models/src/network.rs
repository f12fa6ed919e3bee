//! A network: an architecture with its parameters.

use std::sync::Arc;

use candle_core::{DType, Device};

use crate::params::{Access, Builder, Initialisation, Params};
use crate::view::View;
use crate::zoo::{Architecture, BodyAndHead, OwnLayers};
use crate::{Error, Result};

/// An architecture with its parameters.
///
/// There are two views of the same parameter storage: a tracked one, through which a backward pass reaches the parameters, and
/// a frozen one, through which no parameter gradient is ever computed. Features are the input of the head, the last linear
/// layer.
///
/// **Shapes** images are `[n, c, h, w]` (`[n, d]` for an MLP), features `[n, p]`.
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
    /// A network with initial parameters drawn from `seed`. The same seed gives the same parameters, whatever else was built
    /// before.
    ///
    /// **Errors** [`Error::Setting`] for impossible sizes; [`Error::DType`] for other dtypes than f32 and f64. Mixed precision
    /// ([`Pass::mixed_precision`](crate::Pass::mixed_precision)) keeps weights in f32.
    pub fn new(
        architecture: &Architecture,
        initialisation: Initialisation,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let params = params(dtype, device)?.with_head(architecture.head_name());
        let start = Start { initialisation, seed, params };
        Self::assemble(architecture.clone(), start, |builder| architecture.build(builder))
    }

    /// A network of one's own layers, for samples of this shape: `[c, h, w]` for images, `[t, d]` for tokens, `[d]` for vectors.
    ///
    /// `build` is called twice, with a builder that gives the parameters as variables and as constants. Training, checkpoints,
    /// geometric complexity and the penalty work as for any other network. `name` tells the network from others in a checkpoint.
    ///
    /// **Errors** those of `build`, and [`Error::DType`] for other dtypes than f32 and f64.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::layer::{ActivationLayer, Linear, Sequential};
    /// use models::ops::Activation;
    /// use models::{BodyAndHead, Builder, Initialisation, Network, Pass};
    ///
    /// let build = |mut builder: Builder<'_>| {
    ///     let mut body = Sequential::default();
    ///     body.push("fc1", Linear::new(builder.under("fc1"), 6, 4)?);
    ///     body.push("act1", ActivationLayer(Activation::Gelu));
    ///     BodyAndHead::new(body, builder, "fc2", 4, 3)
    /// };
    /// let net = Network::of_layers("two layers", &[6], Initialisation::Pytorch, 0, (DType::F32, &Device::Cpu), build)?;
    /// let x = Tensor::zeros((2, 6), DType::F32, &Device::Cpu)?;
    /// assert_eq!(net.frozen().features(&x, &Pass::evaluation())?.dims(), [2, 4]);
    /// assert_eq!(net.params().names().collect::<Vec<_>>(), ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn of_layers(
        name: &str,
        sample_shape: &[usize],
        initialisation: Initialisation,
        seed: u64,
        (dtype, device): (DType, &Device),
        build: impl Fn(Builder<'_>) -> Result<BodyAndHead>,
    ) -> Result<Self> {
        let mut start = Start { initialisation, seed, params: params(dtype, device)? };
        let layers = build(start.builder(Access::Frozen))?;
        let own = OwnLayers {
            name: name.to_owned(),
            input: sample_shape.to_vec(),
            head: layers.head_name.clone(),
            classes: layers.head.weight().dim(0)?,
            batch_norm: layers.body.has_batch_norm(),
        };
        start.params = start.params.with_head(layers.head_name);
        Self::assemble(Architecture::of(own), start, build)
    }

    fn assemble(
        architecture: Architecture,
        mut start: Start,
        build: impl Fn(Builder<'_>) -> Result<BodyAndHead>,
    ) -> Result<Self> {
        let shape = || architecture.input_shape();
        let frozen = Arc::new(View::new(build(start.builder(Access::Frozen))?, shape(), None));
        let tracked = View::new(build(start.builder(Access::Tracked))?, shape(), Some(frozen.clone()));
        let params = start.params;
        let tracked = tracked.with_variables(params.trainable().map(|(_, var)| var.as_tensor().clone()).collect());
        Ok(Self { architecture, params, tracked, frozen })
    }

    /// Its architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Its named parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The view whose parameters are variables: a backward pass reaches them.
    pub fn tracked(&self) -> &View {
        &self.tracked
    }

    /// The view whose parameters are constants on the same storage: no parameter gradient is ever computed.
    pub fn frozen(&self) -> &View {
        &self.frozen
    }
}

/// Parameters with the rule for those that do not exist yet.
struct Start {
    initialisation: Initialisation,
    seed: u64,
    params: Params,
}

impl Start {
    fn builder(&mut self, access: Access) -> Builder<'_> {
        self.params.builder(self.initialisation, self.seed, access)
    }
}

/// No parameters yet, of a dtype that networks have.
fn params(dtype: DType, device: &Device) -> Result<Params> {
    if matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Params::new(dtype, device));
    }
    let expected = "f32 or f64 (mixed precision keeps f32 weights and is a setting of the pass)".into();
    Err(Error::DType { op: "network", expected, got: dtype.as_str().into() })
}
