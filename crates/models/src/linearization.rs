//! A network linearized at one batch of images: its features, and the map v ↦ Jᵀv.

use candle_core::Tensor;

use crate::layer::{
    Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, Sequential, SequentialTape, Tape,
};
use crate::layout::to_outside;
use crate::view::{View, as_vectors};
use crate::{Error, Pass, Result};

/// The features of a batch and the backward pass from them to the images, without a graph.
///
/// It holds only what the backward pass needs, so it takes less memory and time than candle's `backward` on
/// [`View::features`]. The derivatives are the same. It can be applied to any number of cotangents.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::{Architecture, Initialisation, Network, Pass};
/// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nactivation = 'identity'\nclasses = 2";
/// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
/// let images = Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?;
/// let linearization = net.frozen().linearize(&images, &Pass::evaluation())?;
/// assert_eq!(linearization.features().dims(), [1, 3]);
/// // Without an activation Jᵀ is the transpose of the one weight: a unit vector gives one of its rows.
/// let row = linearization.vjp(&Tensor::new(&[[0f64, 1., 0.]], &Device::Cpu)?)?;
/// let weight = net.params().get("embed.0.weight").unwrap().var.to_vec2::<f64>()?;
/// assert_eq!(row.to_vec2::<f64>()?[0], weight[1]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct Linearization<'a> {
    images: Tensor,
    features: Tensor,
    tape: SequentialTape<'a>,
    /// See [`gc_core::Linearization::expect`].
    cotangents: usize,
}

/// Features and class scores of a batch with the backward pass from the class scores to the parameters.
pub(crate) struct LogitsTape<'a> {
    /// `[n, p]`.
    pub(crate) features: Tensor,
    /// From the features to the images.
    pub(crate) body: SequentialTape<'a>,
    /// The class scores `[n, k]`, with the derivatives of the head.
    pub(crate) head: LayerLinearization<'a>,
}

impl LogitsTape<'_> {
    /// The backward pass from the class scores to the parameters. What a layer holds is freed as soon as the pass has left it.
    pub(crate) fn into_vjp(self, cotangent: &Tensor, into: &mut GradientAccumulator) -> Result<()> {
        let Self { features, body, head, .. } = self;
        let at_features = into.asking_input(body.has_variables(), |into| head.tape.vjp(cotangent, into))?;
        drop((head, features));
        if let Some(at_features) = at_features.filter(|_| body.has_variables()) {
            body.into_vjp(at_features, into)?;
        }
        Ok(())
    }
}

impl View {
    /// The features `[n, p]` of a batch, with the backward pass from them to the images.
    ///
    /// **Errors** as [`View::features`].
    pub fn linearize(&self, images: &Tensor, pass: &Pass) -> Result<Linearization<'_>> {
        self.linearize_layers(&self.layers().body, images, pass)
    }

    /// As [`View::linearize`] for `layers`, which are the first layers of this view.
    pub(crate) fn linearize_layers<'a>(
        &self,
        layers: &'a Sequential,
        images: &Tensor,
        pass: &Pass,
    ) -> Result<Linearization<'a>> {
        let input = LayerInput::new(&self.to_inside(images)?).by_input();
        let (features, tape) = layers.tape(&input, pass)?;
        Ok(Linearization { images: images.detach(), features, tape, cotangents: 1 })
    }

    /// The class scores with the backward pass to the parameters that are variables; with `tangents`, also with what the penalty
    /// needs of the layers up to the features.
    pub(crate) fn linearize_logits(&self, images: &Tensor, tangents: bool, pass: &Pass) -> Result<LogitsTape<'_>> {
        let input = LayerInput::new(&self.to_inside(images)?);
        let input = if tangents { input.by_input().with_tangents() } else { input };
        let (features, body) = self.layers().body.tape(&input, pass)?;
        let features = as_vectors(features)?;
        let head = LayerInput::new(&features);
        let head = if body.has_variables() { head.by_input() } else { head };
        let head = self.layers().head.linearize(&head, pass)?;
        Ok(LogitsTape { features, body, head })
    }
}

impl gc_core::Linearization for Linearization<'_> {
    fn features(&self) -> &Tensor {
        &self.features
    }

    fn vjp(&self, cotangents: &Tensor) -> gc_core::Result<Tensor> {
        Ok(Linearization::vjp(self, cotangents).map_err(Error::into_candle)?)
    }

    fn expect(&mut self, cotangents: usize) {
        self.cotangents = cotangents;
    }

    fn has_own_derivatives(&self) -> bool {
        !self.tape.by_graph()
    }

    fn bytes(&self) -> gc_core::ResidualBytes {
        let Footprint { total, largest } = self.tape.footprint().and(Footprint::of(&self.images));
        gc_core::ResidualBytes { total, largest }
    }
}

impl Linearization<'_> {
    /// The features, `[n, p]`, outside any graph.
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// Whether candle's graph differentiates one of the layers: see [`Layer::linearize`].
    pub fn by_graph(&self) -> bool {
        self.tape.by_graph()
    }

    /// Jᵀv for cotangents `[k·n, p]`, k for each image. The result is `[k·n, …]` with the shape of the images; row r of both
    /// belongs to image r mod n.
    ///
    /// Cotangents of the same image share work: weights are transformed once, and on the CPU products are skipped where ReLU
    /// masks set every such cotangent to zero.
    ///
    /// **Errors** [`Error::Shape`] when the cotangents do not have the width of the features, when their number is no
    /// multiple of n, or when k > 1 and either batch norm mixes the images or a parameter is a variable.
    pub fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        let (got, features) = (cotangents.dims(), self.features.dims());
        let fits =
            matches!((got, features), (&[rows, width], &[n, p]) if width == p && rows > 0 && rows % n.max(1) == 0);
        if !fits {
            return Err(Error::Shape {
                op: "vjp",
                left: got.to_vec(),
                right: features.to_vec(),
                rule: "cotangents are [k·n, p] for features [n, p], with k at least 1".into(),
            });
        }
        let into = &mut GradientAccumulator::of_input().of_many(self.cotangents);
        let inside = self.tape.vjp(&cotangents.detach(), into)?;
        match inside {
            Some(inside) => to_outside(&inside, &self.images),
            None => {
                let zeros: Vec<usize> = got.iter().take(1).chain(self.images.dims().iter().skip(1)).copied().collect();
                Ok(Tensor::zeros(zeros, self.images.dtype(), self.images.device())?)
            }
        }
    }
}
