//! A network with its weights, up to the measured tensor.

use candle_core::{DType, Device};
use gc_core::{Batch, FeatureMap};
use models::{Architecture, Initialisation, Network, Pass, WeightsFile};
use onnx_graph::{Graph, Layer, Model};

use super::source::Readable;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// A network that is ready to run.
pub(crate) struct Loaded {
    kind: Kind,
    layer: Option<String>,
    dtype: DType,
}

enum Kind {
    Family { network: Box<Network>, sample: Vec<usize>, has_head: bool, notes: Vec<String> },
    Graph(Box<Graph>),
}

/// Weight `[K, p]` and bias `[K]` of a linear head.
pub(super) type HeadTensors = (candle_core::Tensor, Option<candle_core::Tensor>);

impl Loaded {
    /// Reads a network for samples of this shape; `layer` names the measured tensor, if that is not the features.
    pub(crate) fn read(
        source: Readable,
        dtype: DType,
        layer: Option<String>,
        sample: Option<&[usize]>,
    ) -> Result<Self> {
        let kind = match source {
            Readable::File { architecture, path } => family(&architecture, &WeightsFile::open(path)?, dtype, sample)?,
            Readable::Arrays { architecture, file } => family(&architecture, &file, dtype, sample)?,
            Readable::Onnx(path) => {
                let chosen = layer.as_deref().map_or(Layer::Features, Layer::of);
                Kind::Graph(Box::new(Model::open(&path)?.graph(&chosen, dtype, &Device::Cpu)?))
            }
        };
        Ok(Self { kind, layer, dtype })
    }

    /// The map from inputs to the measured tensor.
    pub(crate) fn map(&self) -> Result<Box<dyn FeatureMap + '_>> {
        Ok(match &self.kind {
            Kind::Family { network, .. } => {
                Box::new(network.frozen().feature_map(Pass::evaluation(), self.layer.as_deref())?)
            }
            Kind::Graph(graph) => Box::new(&**graph),
        })
    }

    /// Refuses a batch of another dtype or of samples of another shape than the network takes.
    pub(crate) fn check(&self, batch: &Batch) -> Result<()> {
        let (got, expected) = (batch.inputs.dtype(), self.dtype);
        if got != expected {
            return Err(Error::BatchType { expected, got });
        }
        let given = batch.inputs.dims().get(1..).unwrap_or_default();
        match &self.kind {
            Kind::Graph(graph) => Ok(graph.check_sample(given)?),
            Kind::Family { sample, .. } => {
                let flattened = sample.len() == 1 && sample[0] == given.iter().product::<usize>();
                if flattened || sample == given {
                    return Ok(());
                }
                Err(Error::SampleShape { expected: sample.clone(), got: given.to_vec() })
            }
        }
    }

    /// Which tensor is measured.
    pub(crate) fn tensor(&self) -> Tensor {
        match &self.kind {
            Kind::Graph(graph) => {
                let measured = graph.tensor();
                let (layer, tensor) = (measured.role.clone(), Some(measured.name.clone()));
                Tensor { layer, tensor, is_guess: measured.is_guess, notes: Vec::new() }
            }
            Kind::Family { network, notes, .. } => {
                let features = || format!("input of {}", network.frozen().head_name());
                let layer = self.layer.clone().unwrap_or_else(features);
                Tensor { layer, tensor: None, is_guess: false, notes: notes.clone() }
            }
        }
    }

    /// The linear layer that takes the measured tensor, where that layer is the classifier.
    pub(super) fn head(&self) -> Result<Option<HeadTensors>> {
        match &self.kind {
            Kind::Graph(graph) => Ok(graph.head()?.map(|head| (head.weight, head.bias))),
            Kind::Family { network, has_head: true, .. } if self.layer.is_none() => {
                let (weight, bias) = network.frozen().head_parameters();
                Ok(Some((weight.clone(), Some(bias.clone()))))
            }
            Kind::Family { .. } => Ok(None),
        }
    }
}

/// A network of a known family. A name takes its classes from the weights and its input size from the samples.
fn family(text: &str, file: &WeightsFile, dtype: DType, sample: Option<&[usize]>) -> Result<Kind> {
    let described = text.contains('=');
    let mut architecture = if described { Architecture::from_toml(text)? } else { Architecture::named(text)? };
    if !described {
        if let Some(&[channels, height, width]) = sample {
            architecture = architecture.with_input(channels, [height, width]);
        }
        if let Some(classes) = file.classes(&architecture) {
            architecture = architecture.with_classes(classes);
        }
    }
    let network = Network::new(&architecture, Initialisation::HeNormal, 0, dtype, &Device::Cpu)?;
    let report = network.params().load_body(file)?;
    let (sample, has_head) = (architecture.input_shape().to_vec(), !report.lacks_only_head());
    Ok(Kind::Family { network: Box::new(network), sample, has_head, notes: report.notes() })
}
