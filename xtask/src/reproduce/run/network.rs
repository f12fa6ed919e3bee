//! The network of a run, from its configuration.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use models::{Architecture, Initialisation, Network, Pass, VggConfig};

use crate::study::configuration::Model;

/// Refuses a model that does not exist, and layers that it does not have, before any run is started.
pub(crate) fn check_model(model: &Model, layers: &[String]) -> Result<()> {
    let architecture = architecture(model)?;
    if layers.is_empty() {
        return Ok(());
    }
    check_layers(&Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?, layers)
}

/// Refuses layers that the network does not have.
pub(super) fn check_layers(network: &Network, layers: &[String]) -> Result<()> {
    let map = |layer: &String| network.frozen().feature_map(Pass::evaluation(), Some(layer)).map(|_| ());
    layers.iter().try_for_each(map).context("measure.layers")
}

/// A freshly initialised network.
pub(super) fn build(
    model: &Model,
    [channels, height, width]: [usize; 3],
    classes: usize,
    seed: u64,
    device: &Device,
) -> Result<Network> {
    let architecture = architecture(model)?.with_input(channels, [height, width]).with_classes(classes);
    Ok(Network::new(&architecture, Initialisation::HeNormal, seed, DType::F32, device)?)
}

fn architecture(model: &Model) -> Result<Architecture> {
    let mut architecture = Architecture::named(&model.architecture)?.with_width(model.width);
    if let Some(vgg) = architecture.config_mut::<VggConfig>() {
        vgg.batch_norm = model.batch_norm;
    } else if architecture.has_batch_norm() != model.batch_norm {
        bail!(
            "model.batch_norm = {} contradicts model.architecture = \"{}\": only the VGG family leaves the choice",
            model.batch_norm,
            model.architecture
        );
    }
    Ok(architecture)
}
