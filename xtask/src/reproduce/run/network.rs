//! The network of a run, from its configuration.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use models::{Architecture, Network, Pass, VggConfig};

use crate::study::configuration::Model;
use crate::study::experiment::Experiment;

/// Refuses models that do not exist, layers that they do not have, and images of a registered data set that they do not take, of the
/// base and of every level of every sweep, before any run is started.
pub(crate) fn check_models(experiment: &Experiment) -> Result<()> {
    let mut checked: Vec<(Model, Vec<String>, Option<[usize; 3]>)> = Vec::new();
    for configuration in experiment.configurations()? {
        let entry = datasets::find(&configuration.data.set).ok();
        let shape = entry.map(|entry| configuration.data.padded(entry.shape));
        let own = (configuration.model, configuration.measure.layers, shape);
        if !checked.contains(&own) {
            check_model(&own.0, &own.1, shape)?;
            checked.push(own);
        }
    }
    Ok(())
}

fn check_model(model: &Model, layers: &[String], images: Option<[usize; 3]>) -> Result<()> {
    let mut architecture = architecture(model)?;
    if let Some([channels, height, width]) = images {
        architecture = architecture.with_input(channels, [height, width]);
    }
    check_layers(&Network::new(&architecture, model.initialisation, 0, DType::F32, &Device::Cpu)?, layers)
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
    Ok(Network::new(&architecture, model.initialisation, seed, DType::F32, device)?)
}

fn architecture(model: &Model) -> Result<Architecture> {
    let mut architecture = Architecture::named(&model.architecture)?.with_width(model.width);
    let Some(batch_norm) = model.batch_norm else { return Ok(architecture) };
    if let Some(vgg) = architecture.config_mut::<VggConfig>() {
        vgg.batch_norm = batch_norm;
    } else if architecture.has_batch_norm() != batch_norm {
        bail!(
            "model.batch_norm = {batch_norm} contradicts model.architecture = \"{}\": only the VGG family leaves the choice",
            model.architecture
        );
    }
    Ok(architecture)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Tensor;
    use collapse::{CdnvConvention, ClassMoments, Scatter};
    use gc_core::{GeometricComplexity, Probe};

    use super::*;

    #[test]
    fn the_networks_of_every_embedded_experiment_take_its_images() {
        for name in Experiment::names() {
            for preset in Experiment::presets(name).unwrap() {
                let experiment = Experiment::resolve(name, &preset, None, None, &[]).unwrap();
                check_models(&experiment).unwrap_or_else(|error| panic!("{name} at {preset}: {error:#}"));
            }
        }
    }

    #[test]
    fn images_that_the_network_does_not_take_are_refused_before_any_run() {
        let set = ["data.padding=0".to_owned()];
        let experiment = Experiment::resolve("vgg11-mnist", "cpu", None, None, &set).unwrap();
        let refused = format!("{:#}", check_models(&experiment).unwrap_err());
        assert!(refused.contains("[28, 28]"), "{refused}");
    }

    /// Families whose input is text.
    const OF_TEXT: [&str; 2] = ["decoder", "encoder"];

    /// The smallest network of this name that takes images of one of these sizes.
    fn small(name: &str) -> (Network, usize) {
        let of = |side: usize| {
            let settings = format!("architecture = '{name}'\nwidth = 0.1\ninitialisation = 'pytorch'");
            let model: Model = toml::from_str(&settings).unwrap();
            build(&model, [3, side, side], 3, 1, &Device::Cpu).map(|network| (network, side))
        };
        [32, 64, 224]
            .into_iter()
            .find_map(|side| of(side).ok())
            .unwrap_or_else(|| panic!("{name}: {}", of(224).err().unwrap()))
    }

    #[test]
    fn gc_and_nc_of_layers_of_every_family_are_measured_by_name() {
        let mut families: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        for name in Architecture::names() {
            families.entry(Architecture::named(name).unwrap().family_name()).or_insert(name);
        }
        families.retain(|family, _| !OF_TEXT.contains(family));
        assert!(families.len() >= 10, "{families:?}");
        // Two images of each of three classes.
        let labels = [0u32, 1, 2, 0, 1, 2];
        for (family, name) in families {
            let (network, side) = small(name);
            let draws = streams::standard_normal(&mut streams::stream(0, "network/tests", 0), 6 * 3 * side * side);
            let images =
                Tensor::from_vec(draws, (6, 3, side, side), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            // The head is no layer before the features. A third, two thirds, and the features themselves.
            let names = network.frozen().layer_names();
            let inner = names.len() - 1;
            let layers = [inner / 3, 2 * inner / 3, inner - 1].map(|index| names[index].clone());
            check_layers(&network, &layers).unwrap();
            for layer in &layers {
                let map = network.frozen().feature_map(Pass::evaluation(), Some(layer)).unwrap();
                let gc = GeometricComplexity::projections(Probe::Rademacher, 1).measure_inputs(&map, &images).unwrap();
                assert!(gc.value.is_finite() && gc.value > 0.0, "{family} ({name}), {layer}: GC {}", gc.value);
                let rows = network.frozen().features_at(&images, layer, &Pass::evaluation()).unwrap();
                assert_eq!(rows.dims().len(), 2, "{family} ({name}), {layer}");
                let mut moments = ClassMoments::new(3, rows.dims()[1], Scatter::Trace);
                moments.update(&rows, &labels).unwrap();
                let nc = collapse::cdnv(&moments, CdnvConvention::default()).unwrap().mean;
                assert!(nc.is_finite() && nc > 0.0, "{family} ({name}), {layer}: NC {nc}");
            }
            let message = format!("{:#}", check_layers(&network, &["nowhere".to_owned()]).unwrap_err());
            assert!(message.starts_with("measure.layers: ") && message.contains("nowhere"), "{message}");
        }
    }
}
