//! GC, neural collapse and probe accuracy of single layers, on few images.

use candle_core::Tensor;
use collapse::{CollapseReport, ReportOptions, Scatter};
use fewshot::{Episode, EpisodeSampler, Head, LabelledFeatures, Task};

use super::Assembly;
use super::outputs::{self, NAME};
use super::watcher::Watcher;
use crate::data::LayerImages;
use crate::options::{FewShot, LayerOptions, Stage};
use crate::{Error, LayerMeasures, Measured, Network, Options, PartOf, Result};

impl LayerMeasures {
    /// Measures the layers of [`Options::with_layers`] alone, on images of `classes` training classes.
    ///
    /// # Errors
    /// Those of [`crate::Assessment::of`].
    pub fn of(
        network: &Network<'_>,
        images: &LayerImages<'_>,
        classes: usize,
        options: &Options<'_>,
    ) -> Result<Vec<Self>> {
        let assembly = Assembly { network, options, watcher: Watcher::new(options.watch) };
        options.layers.as_ref().map_or(Ok(Vec::new()), |layers| assembly.layers(layers, Some(images), classes))
    }
}

impl Assembly<'_> {
    /// Measures the layers, whose outputs come from one pass over the images.
    pub(super) fn layers(
        &self,
        options: &LayerOptions,
        images: Option<&LayerImages<'_>>,
        classes: usize,
    ) -> Result<Vec<LayerMeasures>> {
        let setting = |setting, reason: &str| Error::Setting { setting, reason: reason.into() };
        let of_network = self
            .network
            .layers
            .ok_or_else(|| setting("Options::with_layers", "give them with `Network::with_layers`"))?;
        let images = images.ok_or_else(|| {
            setting("Options::with_layers", "give the images of layers with `Data::with_layer_images`")
        })?;
        let gc = self.options.complexity.as_ref().ok_or_else(|| {
            setting("Options::with_complexity", "layers need geometric complexity; do not leave it out")
        })?;
        let inputs = outputs::of_labelled(of_network, &options.names, images.train)?;
        let probes = outputs::of_labelled(of_network, &options.names, images.probe)?;
        let layer = |(index, name): (usize, &String)| -> Result<LayerMeasures> {
            self.watcher.see(Stage::Layer(index), 0)?;
            let map = of_network.layer(name).map_err(|source| Error::Network { part: NAME, source })?;
            let gc = self.complexity(PartOf::Train, map.as_ref(), gc, images.complexity)?;
            let (own, probe) = (&inputs.of_layer[index], &probes.of_layer[index]);
            let target_classes = probes.labels.iter().max().map_or(0, |last| *last as usize + 1);
            let target = || unbiased(probe, &probes.labels, target_classes);
            Ok(LayerMeasures {
                layer: name.clone(),
                outputs: own.dim(1)?,
                gc: Measured::new(gc.value, gc.standard_error.total, gc.samples),
                nc_unbiased: unbiased(own, &inputs.labels, classes),
                target_nc_unbiased: images.are_targets.then(target),
                probe_accuracy: if images.are_targets {
                    self.few_shot_accuracy(options, probe, &probes.labels)?
                } else {
                    fitted_accuracy(options, own, &inputs.labels, probe, &probes.labels, classes)?
                },
            })
        };
        options.names.iter().enumerate().map(layer).collect()
    }

    fn few_shot_accuracy(&self, options: &LayerOptions, rows: &Tensor, labels: &[u32]) -> Result<Measured> {
        let Some(few_shot) = &self.options.few_shot else {
            let reason = "layers on target images need few-shot episodes; give `Options::with_few_shot`";
            return Err(Error::Setting { setting: "Options::with_layers", reason: reason.into() });
        };
        let FewShot { way, shot, query, episodes, seed, .. } = *few_shot;
        let episodes = episodes.min(options.most_episodes);
        let failed = |source| Error::FewShot { part: NAME, what: "few-shot episodes", source };
        let features = LabelledFeatures::from_tensor(rows, labels).map_err(failed)?;
        let sampler = EpisodeSampler::fixed(labels, way, shot, query, seed).map_err(failed)?;
        let head = std::slice::from_ref(&options.head);
        let evaluation = fewshot::evaluate(&features, &sampler, episodes, head).map_err(failed)?;
        let accuracy = evaluation.heads.first().map(|head| &head.accuracy);
        Ok(Measured::maybe(
            accuracy.map(|accuracy| accuracy.mean),
            accuracy.map(|accuracy| accuracy.standard_error),
            episodes,
        ))
    }
}

/// Accuracy on the probe images of the head fitted to the training images.
fn fitted_accuracy(
    options: &LayerOptions,
    train: &Tensor,
    train_labels: &[u32],
    probe: &Tensor,
    probe_labels: &[u32],
    classes: usize,
) -> Result<Measured> {
    let failed = |source| Error::FewShot { part: NAME, what: "accuracy of the head of a layer", source };
    let rows = Tensor::cat(&[train, probe], 0)?;
    let labels = [train_labels, probe_labels].concat();
    let features = LabelledFeatures::from_tensor(&rows, &labels).map_err(failed)?;
    let of_class = |range: std::ops::Range<usize>, class: usize| {
        range.filter(|row| labels[*row] as usize == class).collect::<Vec<_>>()
    };
    let (first, all) = (train_labels.len(), labels.len());
    let support = (0..classes).map(|class| of_class(0..first, class)).collect();
    let queries = (0..classes).map(|class| of_class(first..all, class)).collect();
    let episode = Episode::new((0..classes as u32).collect(), support, queries).map_err(failed)?;
    let task = Task::new(&features, &episode).map_err(failed)?;
    let guesses = options.head.scores(&task).map_err(failed)?.predictions();
    let right = guesses.iter().zip(episode.query_classes()).filter(|(guess, class)| guess == class).count();
    Ok(Measured::share(right, guesses.len()))
}

/// The unbiased NC of outputs, where it is defined.
fn unbiased(rows: &Tensor, labels: &[u32], classes: usize) -> Measured {
    let options = ReportOptions::default().with_class_count(classes).with_scatter(Scatter::Trace);
    let report: Option<CollapseReport> = collapse::report(rows, labels, None, &options).ok();
    let value = report.as_ref().and_then(|report| report.cdnv.unbiased);
    Measured::maybe(value, report.and_then(|report| report.cdnv.unbiased_std_error), labels.len())
}
