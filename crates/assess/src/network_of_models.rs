//! Networks of the crate `models`.

use candle_core::Tensor;
use collapse::Head;
use gc_core::FeatureMap;
use models::{Pass, View};

use crate::{BoxError, Layers, Network};

impl Layers for View {
    fn layer(&self, name: &str) -> Result<Box<dyn FeatureMap + '_>, BoxError> {
        Ok(Box::new(self.feature_map(Pass::evaluation(), Some(name))?))
    }

    /// One forward pass for all layers.
    fn outputs(&self, images: &Tensor, names: &[String]) -> Result<Vec<Tensor>, BoxError> {
        Ok(self.features_at_each(images, names, &Pass::evaluation())?)
    }
}

impl<'a> Network<'a> {
    /// A network of the crate `models` in evaluation mode, with its head and its layers. Give the frozen view. The measures of a
    /// head that is not finite are left out.
    ///
    /// # Errors
    /// Those of [`View::feature_map`].
    ///
    /// ```
    /// use assess::{Assessment, Data, Images, Network, Options, measures};
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Architecture, Initialisation};
    /// let architecture = Architecture::from_toml("family = 'mlp'\ninputs = 3\nhidden = [8]\nclasses = 2")?;
    /// let net = models::Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let images = Tensor::arange(0f32, 18.0, &Device::Cpu)?.sin()?.reshape((6, 3))?;
    /// let train = vec![(images, vec![0u32, 1, 0, 1, 0, 1])];
    /// let network = Network::of_view(net.frozen())?;
    /// let assessment = Assessment::of(&network, &Data::new(Images::new(&train)), &Options::default())?;
    /// let values = assessment.values([measures::GC, measures::SELF_DUALITY, measures::TRAIN_ACCURACY]);
    /// assert_eq!(values.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_view(view: &'a View) -> Result<Self, BoxError> {
        let (weight, bias) = view.head_parameters();
        let head = Head::new(weight, Some(bias)).ok();
        let map = Box::new(view.feature_map(Pass::evaluation(), None)?);
        let logits = |features: &Tensor| Ok(view.head(features, &Pass::evaluation())?);
        Ok(Network::of_boxed(map).with_head(head).with_logits(logits).with_layers(view))
    }
}
