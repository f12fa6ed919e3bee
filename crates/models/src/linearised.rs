//! A network at one batch of images: its features, and the map v ↦ Jᵀv, walked as often as one likes.

use candle_core::Tensor;

use crate::layer::{Arrived, ByParameter, Footprint, Stack, Trace};
use crate::network::{View, leave};
use crate::{Pass, Result};

/// The features of a batch and the way back from them to the images, without a graph.
///
/// It holds what the way back needs and nothing else, so it takes less memory and time than candle's `backward` on
/// [`View::features`]; the derivatives are the same.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::{Architecture, Initialisation, Network, Pass};
/// let text = "family = 'mlp'\ninputs = 2\nhidden = [3]\nactivation = 'identity'\nclasses = 2";
/// let net = Network::new(&Architecture::from_toml(text)?, Initialisation::HeNormal, 0, DType::F64, &Device::Cpu)?;
/// let map = net.frozen().linearise(&Tensor::zeros((1, 2), DType::F64, &Device::Cpu)?, &Pass::evaluation())?;
/// assert_eq!(map.features().dims(), [1, 3]);
/// // Without an activation Jᵀ is the transpose of the one weight: a unit vector reads one of its rows.
/// let row = map.pullback(&Tensor::new(&[[0f64, 1., 0.]], &Device::Cpu)?)?;
/// let weight = net.params().get("embed.0.weight").unwrap().var.to_vec2::<f64>()?;
/// assert_eq!(row.to_vec2::<f64>()?[0], weight[1]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct Linearised<'a> {
    images: Tensor,
    features: Tensor,
    trace: Trace<'a>,
}

impl View {
    /// The features `[n, p]` of a batch, with the way back from them to the images.
    ///
    /// **Errors** as [`View::features`].
    pub fn linearise(&self, images: &Tensor, pass: &Pass) -> Result<Linearised<'_>> {
        self.linearise_up_to(self.body(), images, pass)
    }

    /// The same for some of this view's layers, from the images on.
    pub(crate) fn linearise_up_to<'a>(&self, body: &'a Stack, images: &Tensor, pass: &Pass) -> Result<Linearised<'a>> {
        let (features, trace) = body.trace(Arrived::entering(&self.enter(images)?, true), pass)?;
        Ok(Linearised { images: images.detach(), features, trace })
    }
}

impl gc_core::Linearization for Linearised<'_> {
    fn features(&self) -> &Tensor {
        &self.features
    }

    fn vjp(&self, cotangents: &Tensor) -> gc_core::Result<Tensor> {
        Ok(Linearised::pullback(self, cotangents).map_err(crate::Error::into_candle)?)
    }

    fn bytes(&self) -> (usize, usize) {
        let Footprint { total, largest } = self.trace.footprint.and(Footprint::of(&self.images));
        (total, largest)
    }
}

impl Linearised<'_> {
    /// The features, `[n, p]`, outside any graph.
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// Jᵀv for cotangents `[k·n, p]`, k of each image: `[k·n, …]` as the images, and the rows r of both belong to image
    /// r mod n.
    ///
    /// Many cotangents of an image share what they meet: weights are transformed once, and where ReLUs stop all of them on the
    /// CPU, nothing is multiplied.
    ///
    /// **Errors** [`Error::Shape`](crate::Error::Shape) when the cotangents have not the width of the features or are no
    /// multiple of n, or when k > 1 and batch norm mixes the images or a parameter is a variable.
    pub fn pullback(&self, cotangents: &Tensor) -> Result<Tensor> {
        let (got, features) = (cotangents.dims(), self.features.dims());
        let fits =
            matches!((got, features), (&[rows, width], &[n, p]) if width == p && rows > 0 && rows % n.max(1) == 0);
        if !fits {
            return Err(crate::Error::Shape {
                op: "pullback",
                left: got.to_vec(),
                right: features.to_vec(),
                rule: "cotangents have the width of the features, and one or more rows for each of theirs".into(),
            });
        }
        // Parameters that are variables cost their gradients here; measuring goes through the frozen view, which has none.
        let inside = self.trace.pullback(&cotangents.detach(), &mut ByParameter::default())?;
        match inside {
            Some(inside) => leave(&inside, &self.images),
            None => {
                let zeros: Vec<usize> = got.iter().take(1).chain(self.images.dims().iter().skip(1)).copied().collect();
                Ok(Tensor::zeros(zeros, self.images.dtype(), self.images.device())?)
            }
        }
    }
}
