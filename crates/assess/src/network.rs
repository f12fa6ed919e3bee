//! The network to assess: its features, its head, and its named layers.

use candle_core::Tensor;
use collapse::Head;
use gc_core::FeatureMap;

use crate::BoxError;

/// The named layers of a network.
pub trait Layers {
    /// The map from the images to the flattened output of a layer.
    ///
    /// # Errors
    /// A name that is no layer.
    fn layer(&self, name: &str) -> std::result::Result<Box<dyn FeatureMap + '_>, BoxError>;

    /// The flattened outputs `[n, p]` of several layers. The default runs the network once for each layer; implement it with one
    /// forward pass where the network allows.
    ///
    /// # Errors
    /// A name that is no layer, and errors of the forward pass.
    fn outputs(&self, images: &Tensor, names: &[String]) -> std::result::Result<Vec<Tensor>, BoxError> {
        names.iter().map(|name| Ok(self.layer(name)?.features(images)?.flatten_from(1)?)).collect()
    }

    /// The head that takes the output of a layer, if it is known that one does. The default is none.
    ///
    /// # Errors
    /// Weights that are no head.
    fn head(&self, _name: &str) -> std::result::Result<Option<Head>, BoxError> {
        Ok(None)
    }
}

/// A feature map of the caller, or one that the network owns.
pub(crate) enum Map<'a> {
    Borrowed(&'a dyn FeatureMap),
    Owned(Box<dyn FeatureMap + 'a>),
}

/// The map from features to class scores.
type Logits<'a> = Box<dyn Fn(&Tensor) -> std::result::Result<Tensor, BoxError> + 'a>;

/// A network to assess: any [`FeatureMap`], a closure among them, with a head and named layers if there are.
///
/// ```
/// use assess::Network;
/// use candle_core::{Device, Tensor};
/// use collapse::Head;
/// let map = |x: &Tensor| x.tanh();
/// let weight = Tensor::new(&[[1f32, -1.0], [-1.0, 1.0]], &Device::Cpu)?;
/// let network = Network::new(&map).with_head(Head::new(&weight, None)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Network<'a> {
    pub(crate) map: Map<'a>,
    pub(crate) head: Option<Head>,
    pub(crate) logits: Option<Logits<'a>>,
    pub(crate) layers: Option<&'a dyn Layers>,
}

impl<'a> Network<'a> {
    /// A network of which the features alone are known.
    pub fn new(map: &'a dyn FeatureMap) -> Self {
        Self { map: Map::Borrowed(map), head: None, logits: None, layers: None }
    }

    /// The same for a map that the network owns.
    pub fn of_boxed(map: Box<dyn FeatureMap + 'a>) -> Self {
        Self { map: Map::Owned(map), head: None, logits: None, layers: None }
    }

    /// The feature map.
    pub(crate) fn map(&self) -> &dyn FeatureMap {
        match &self.map {
            Map::Borrowed(map) => *map,
            Map::Owned(map) => map.as_ref(),
        }
    }

    /// The last linear layer, for the measures of the head (NC3, NC4, NC0). It is left out, with a reason, where its classes
    /// are not those of the data: [`crate::Part::without_head`].
    pub fn with_head(self, head: impl Into<Option<Head>>) -> Self {
        Self { head: head.into(), ..self }
    }

    /// The map from features `[n, p]` to class scores `[n, k]`, for loss and accuracy on training and test images.
    pub fn with_logits(self, logits: impl Fn(&Tensor) -> std::result::Result<Tensor, BoxError> + 'a) -> Self {
        Self { logits: Some(Box::new(logits)), ..self }
    }

    /// The named layers, for [`crate::Options::with_layers`].
    pub fn with_layers(self, layers: &'a dyn Layers) -> Self {
        Self { layers: Some(layers), ..self }
    }
}
