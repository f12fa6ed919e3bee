//! The network of a run, from its configuration.

use anyhow::{Result, bail};
use candle_core::{DType, Device};
use models::{Architecture, Initialisation, Network, VggConfig};

use crate::study::configuration::Model;

/// Refuses a model that does not exist, before any run is started.
pub(crate) fn check_model(model: &Model) -> Result<()> {
    architecture(model).map(|_| ())
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
