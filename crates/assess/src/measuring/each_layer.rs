//! Geometric complexity and collapse of several layers on the same images.

use super::Assembly;
use super::forward::Forward;
use super::outputs::Pass;
use super::watcher::Watcher;
use crate::network::Layers;
use crate::options::Stage;
use crate::{Error, Images, Network, Options, Part, PartOf, Result};

/// Bytes of outputs that are held together where no limit is set.
const TOGETHER: u64 = 1 << 30;

impl Part {
    /// Measures the outputs of several layers, each as [`crate::Assessment::of`] measures the features of a network.
    ///
    /// The outputs of all layers come from one forward pass, unless they take more than [`Options::with_memory_limit`] together,
    /// or 1 GiB without a limit; then there are several passes, each for as many layers as fit, but at least one. Geometric
    /// complexity takes passes of its own for each layer.
    ///
    /// # Errors
    /// Those of [`crate::Assessment::of`]; those of one layer within [`Error::Layer`].
    ///
    /// ```
    /// use assess::{BoxError, Images, Layers, Options, Part};
    /// use candle_core::{Device, Tensor};
    /// use gc_core::FeatureMap;
    ///
    /// /// f(x) = 2x after the first layer, 6x after the second.
    /// struct Two;
    /// impl Layers for Two {
    ///     fn layer(&self, name: &str) -> Result<Box<dyn FeatureMap + '_>, BoxError> {
    ///         let factor = if name == "first" { 2.0 } else { 6.0 };
    ///         Ok(Box::new(move |x: &Tensor| x * factor))
    ///     }
    /// }
    /// let images = vec![(Tensor::new(&[[-1f64, 0.0], [1.0, 0.0], [0.0, 8.0], [0.0, 12.0]], &Device::Cpu)?, vec![0u32, 0, 1, 1])];
    /// let names = ["first".to_owned(), "second".to_owned()];
    /// let parts = Part::of_layers(&Two, &names, &Images::new(&images), &Options::default())?;
    /// let gc: Vec<f64> = parts.iter().filter_map(|part| Some(part.gc.as_ref()?.value)).collect();
    /// assert_eq!(gc, [8.0, 72.0]);
    /// let nc: Vec<f64> = parts.iter().filter_map(|part| Some(part.collapse.as_ref()?.cdnv.mean)).collect();
    /// assert_eq!(nc, [0.025, 0.025]);
    /// # Ok::<(), BoxError>(())
    /// ```
    pub fn of_layers(
        layers: &dyn Layers,
        names: &[String],
        images: &Images<'_>,
        options: &Options<'_>,
    ) -> Result<Vec<Self>> {
        let mut parts = Vec::with_capacity(names.len());
        while let Some(left) = names.get(parts.len()..).filter(|left| !left.is_empty()) {
            let watcher = Watcher::new(options.watch);
            let limit = options.memory_limit;
            let pass = Pass { layers, names: left, together: limit.unwrap_or(TOGETHER), limit, watcher: &watcher };
            let forwards = forwards(&pass, images)?;
            for (name, forward) in left.iter().zip(forwards) {
                let one = Layer { layers, name, options, position: parts.len() };
                let part = one.part(images, forward);
                parts.push(part.map_err(|error| Error::Layer { layer: name.clone(), source: Box::new(error) })?);
            }
        }
        Ok(parts)
    }
}

/// The forward passes of the first layers of those left, as many as are within the memory limit; none of each without labels.
fn forwards(pass: &Pass<'_>, images: &Images<'_>) -> Result<Vec<Option<Forward>>> {
    let Some(outputs) = pass.outputs(images.features)? else {
        return Ok(pass.names.iter().map(|_| None).collect());
    };
    let (labels, device) = (outputs.labels, outputs.device);
    let forward = |rows| Some(Forward { rows, labels: labels.clone(), device: device.clone() });
    Ok(outputs.of_layer.into_iter().map(forward).collect())
}

/// One layer to measure.
struct Layer<'a> {
    layers: &'a dyn Layers,
    name: &'a str,
    options: &'a Options<'a>,
    position: usize,
}

impl Layer<'_> {
    fn part(&self, images: &Images<'_>, forward: Option<Forward>) -> Result<Part> {
        let failed = |source| Error::Network { part: PartOf::Train.name(), source };
        let map = self.layers.layer(self.name).map_err(failed)?;
        let network = Network::of_boxed(map).with_head(self.layers.head(self.name).map_err(failed)?);
        let assembly = Assembly { network: &network, options: self.options, watcher: Watcher::new(self.options.watch) };
        assembly.watcher.see(Stage::Layer(self.position), 0)?;
        let gc = assembly.complexity_of(PartOf::Train, images)?;
        assembly.finished(PartOf::Train, images, forward, gc)
    }
}
