//! A network of files: its architecture and its weights, or an ONNX graph.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device};
use collapse::Head;
use datasets::HubFile;
use gc_core::FeatureMap;
use models::{Architecture, DeviceName, Initialisation, Network, Pass, WeightsFile, WeightsReport, WeightsSource};

use super::Inputs;
use super::onnx::OnnxGraph;
use crate::arguments::architecture;
use crate::files::existing;
use crate::usage::usage;

/// The network.
#[allow(rustdoc::broken_intra_doc_links, reason = "the texts are help in a terminal, where shapes need no escapes")]
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Architecture by name, such as vgg13 or resnet18-cifar; classes follow the weights, the input size the data
    #[arg(long, value_name = "NAME", required_unless_present_any = ["arch", "onnx"], conflicts_with = "arch",
        value_parser = architecture(), hide_possible_values = true)]
    model: Option<String>,
    /// Architecture as a TOML file
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
    /// Weights with PyTorch's parameter names: a safetensors or PyTorch file, an index, a folder, or hub:OWNER/NAME[@REVISION][:FILE]
    #[arg(long, value_name = "FILE", required_unless_present = "onnx", value_hint = clap::ValueHint::FilePath)]
    weights: Option<WeightsSource>,
    /// Instead of an architecture and weights: a graph as an ONNX file, with external weights in its folder
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "arch", "weights"])]
    onnx: Option<PathBuf>,
    /// Resample the position embeddings of a vision transformer to the size of the images, as timm does
    #[arg(long, conflicts_with = "onnx")]
    interpolate_positions: bool,
    /// Device: cpu, cuda:N or metal, if this program was built with it
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
}

/// A network of either origin.
pub(crate) enum Subject {
    /// An architecture with weights.
    Checkpoint(Box<Checkpoint>),
    /// A graph of an ONNX file.
    Graph(Box<OnnxGraph>),
}

/// A network with its weights.
pub(crate) struct Checkpoint {
    /// The file of the weights.
    pub(crate) name: String,
    /// Its architecture.
    pub(crate) architecture: Architecture,
    /// The network.
    pub(crate) network: Network,
    /// Whether the weights have a head; without one the network's head has random values.
    has_head: bool,
    /// How the names in the file were matched, where they are not those of the parameters.
    pub(crate) notes: Vec<String>,
}

impl NetworkArgs {
    /// Reads the network for these inputs; `layer` is the layer that will be measured, if not the features.
    pub(crate) fn load(&self, inputs: &Inputs, dtype: DType, layer: Option<&str>) -> Result<Subject> {
        let device = self.device.open()?;
        if let Some(path) = &self.onnx {
            let graph = OnnxGraph::read(path, layer, &inputs.shape(), dtype, &device)
                .with_context(|| format!("--onnx on {}", inputs.name()))?;
            return Ok(Subject::Graph(Box::new(graph)));
        }
        let description = Description::read(self.model.as_deref(), self.arch.as_deref())?;
        let weights = self.weights.as_ref().context("neither --weights nor --onnx was given")?;
        let description = Description { interpolates_positions: self.interpolate_positions, ..description };
        let checkpoint = description.load(&fetched(weights)?, inputs, dtype, &device)?;
        Ok(Subject::Checkpoint(Box::new(Checkpoint { name: weights.to_string(), ..checkpoint })))
    }

    /// Checks the arguments without a download: names, files and the device.
    ///
    /// # Errors
    /// An unknown architecture or layer, and a device that this program or machine does not have, as errors in the command line; a file
    /// that is missing, and an architecture file that is none.
    pub(crate) fn check(&self, layer: Option<&str>) -> Result<()> {
        self.device.open().map_err(|error| usage(error.into()))?;
        if self.onnx.is_none() {
            let description = Description::read(self.model.as_deref(), self.arch.as_deref())?;
            layer.map_or(Ok(()), |layer| description.check_layer(layer))?;
        }
        if let Some(path) = &self.onnx {
            existing(path).context("--onnx")?;
        }
        match &self.weights {
            Some(WeightsSource::File(path)) => existing(path).context("--weights"),
            _ => Ok(()),
        }
    }

    /// The file of a graph, if that is the network.
    pub(super) fn onnx(&self) -> Option<&Path> {
        self.onnx.as_deref()
    }

    /// The device.
    pub(crate) fn device(&self) -> Result<Device> {
        Ok(self.device.open()?)
    }
}

/// The path of weights on this machine, after a download if they are on the Hub and not in its cache.
pub(crate) fn fetched(weights: &WeightsSource) -> Result<PathBuf> {
    match weights {
        WeightsSource::File(path) => Ok(path.clone()),
        WeightsSource::Hub { repository, revision, file } => {
            let hub = crate::data::watched(None).hub;
            let fetch = |path: &str| {
                let fetched = hub.file(&HubFile::model(repository, revision, path));
                fetched.with_context(|| format!("cannot fetch {path} of the weights {weights}"))
            };
            let path = fetch(file)?;
            // The files of an index are beside it in the repository, and so in the cache.
            for part in WeightsFile::files_of_index(&path)?.unwrap_or_default() {
                fetch(&Path::new(file).with_file_name(part).to_string_lossy())?;
            }
            Ok(path)
        }
    }
}

impl Subject {
    /// The file of the network.
    pub(crate) fn name(&self) -> &str {
        match self {
            Subject::Checkpoint(checkpoint) => &checkpoint.name,
            Subject::Graph(graph) => &graph.name,
        }
    }

    /// The architecture; a graph has none, its file holds the operations.
    pub(crate) fn architecture(&self) -> Option<&Architecture> {
        match self {
            Subject::Checkpoint(checkpoint) => Some(&checkpoint.architecture),
            Subject::Graph(_) => None,
        }
    }

    /// The tensor whose complexity is measured, in words.
    pub(crate) fn tensor(&self, layer: Option<&str>) -> Option<String> {
        match (self, layer) {
            (Subject::Graph(graph), _) => Some(graph.graph.tensor().to_string()),
            (_, Some(layer)) => Some(format!("output of `{layer}`")),
            (Subject::Checkpoint(checkpoint), None) => {
                let view = checkpoint.network.frozen();
                Some(format!("input of the head `{}`, output of `{}`", view.head_name(), view.feature_layer()?))
            }
        }
    }

    /// Whether the measured tensor is a guess. `None` for a checkpoint, whose architecture says what its features are.
    pub(crate) fn tensor_is_guess(&self) -> Option<bool> {
        match self {
            Subject::Checkpoint(_) => None,
            Subject::Graph(graph) => Some(graph.graph.tensor().is_guess),
        }
    }

    /// How the names of the weights were matched, where they are not those of the parameters.
    pub(crate) fn notes(&self) -> &[String] {
        match self {
            Subject::Checkpoint(checkpoint) => &checkpoint.notes,
            Subject::Graph(_) => &[],
        }
    }

    /// Its features, or the output of `layer`.
    pub(crate) fn features<'a>(&'a self, layer: Option<&str>) -> Result<Box<dyn FeatureMap + 'a>> {
        Ok(match self {
            Subject::Checkpoint(checkpoint) => {
                layer.map_or(Ok(()), |layer| checkpoint.require_weights_of(layer))?;
                Box::new(checkpoint.network.frozen().feature_map(Pass::evaluation(), layer)?)
            }
            Subject::Graph(graph) => Box::new(&graph.graph),
        })
    }

    /// The head that takes the measured tensor, where it is known.
    ///
    /// A head that acts on each token has another number of inputs than there are features; an assessment leaves it out.
    pub(crate) fn head(&self, layer: Option<&str>) -> Result<Option<Head>> {
        match (self, layer) {
            (Subject::Checkpoint(checkpoint), None) => checkpoint.head(),
            (Subject::Checkpoint(_), Some(_)) => Ok(None),
            (Subject::Graph(graph), _) => graph.head(),
        }
    }
}

/// The architecture of a network, before its weights are read.
pub(crate) struct Description {
    /// The file or the name, for messages.
    origin: String,
    architecture: Architecture,
    /// Whether the architecture states the size of its inputs; else the data's is used.
    sized: bool,
    /// Whether the architecture states its number of classes; else the weights' is used.
    classed: bool,
    /// Whether positions of another image size are resampled.
    interpolates_positions: bool,
}

impl Description {
    /// Reads an architecture by name or from a file.
    pub(crate) fn read(model: Option<&str>, file: Option<&Path>) -> Result<Self> {
        match (model, file) {
            (_, Some(path)) => {
                let origin = path.display().to_string();
                let architecture = Architecture::from_file(path).context(origin.clone())?;
                let keys: toml::Table = toml::from_str(&std::fs::read_to_string(path)?)?;
                let says = |key: &str| keys.contains_key(key);
                let sized = says("input_size") || says("inputs");
                Ok(Self { origin, architecture, sized, classed: says("classes"), interpolates_positions: false })
            }
            (Some(name), None) => {
                let architecture = Architecture::named(name).map_err(|error| usage(error.into()))?;
                Ok(Self {
                    origin: name.to_owned(),
                    architecture,
                    sized: false,
                    classed: false,
                    interpolates_positions: false,
                })
            }
            (None, None) => Err(usage(anyhow!("neither --model nor --arch was given"))),
        }
    }

    /// Refuses a layer that the architecture does not have, as an error in the command line.
    fn check_layer(&self, layer: &str) -> Result<()> {
        let network = Network::new(&self.architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)
            .with_context(|| self.origin.clone())?;
        let found = network.frozen().feature_map(Pass::evaluation(), Some(layer)).map(|_| ());
        found.map_err(|error| usage(anyhow!(error).context("--layer")))
    }

    /// Builds the network for these inputs and reads its weights.
    pub(crate) fn load(&self, weights: &Path, inputs: &Inputs, dtype: DType, device: &Device) -> Result<Checkpoint> {
        let mut architecture = self.architecture.clone();
        let shape = inputs.shape();
        if let ([channels, height, width], false) = (&shape[..], self.sized) {
            architecture = architecture.with_input(*channels, [*height, *width]);
        }
        let file = WeightsFile::open(weights)?;
        if let (false, Some(classes)) = (self.classed, file.classes(&architecture)) {
            architecture = architecture.with_classes(classes);
        }
        let expected = architecture.input_shape();
        if expected != shape && !(expected.len() == 1 && expected[0] == shape.iter().product::<usize>()) {
            bail!("{}: a sample has shape {shape:?}, the architecture takes {expected:?}", inputs.name());
        }
        self.load_into(architecture, file, weights, inputs, dtype, device).map_err(|error| with_shape_of(inputs, error))
    }

    fn load_into(
        &self,
        architecture: Architecture,
        mut file: WeightsFile,
        weights: &Path,
        inputs: &Inputs,
        dtype: DType,
        device: &Device,
    ) -> Result<Checkpoint> {
        let network = Network::new(&architecture, Initialisation::HeNormal, 0, dtype, device)
            .with_context(|| self.origin.clone())?;
        let positions = self.interpolates_positions.then(|| file.interpolate_positions(&architecture));
        let positions = positions.transpose()?.flatten();
        let report = network.params().load_body(&file).map_err(|error| match self.sized {
            true => error.into(),
            false => with_channels(inputs, error),
        })?;
        let has_head = !report.lacks_only_head();
        let notes = report.notes().into_iter().chain(positions.map(|positions| positions.to_string())).collect();
        Ok(Checkpoint { name: weights.display().to_string(), architecture, network, has_head, notes })
    }
}

/// An error of weights as one of the inputs, where the weights differ in the number of channels alone.
fn with_channels(inputs: &Inputs, error: models::Error) -> anyhow::Error {
    let channels = match &error {
        models::Error::Weights { report, .. } => channels_of_weights(report, &inputs.shape()),
        _ => None,
    };
    match channels {
        Some(channels) => anyhow!(
            "{}: a sample has shape {:?}, expected [{channels}, h, w]: the weights take {channels} channels",
            inputs.name(),
            inputs.shape()
        ),
        None => error.into(),
    }
}

/// The number of channels that the weights take, where all else fits.
fn channels_of_weights(report: &WeightsReport, shape: &[usize]) -> Option<usize> {
    let ([channels, _, _], [tensor]) = (shape, report.misshapen.as_slice()) else { return None };
    let ([filters, expected, kernel @ ..], [found_filters, found, found_kernel @ ..]) =
        (tensor.expected.as_slice(), tensor.found.as_slice())
    else {
        return None;
    };
    let of_inputs = filters == found_filters && expected == channels && kernel == found_kernel && kernel.len() == 2;
    (of_inputs && report.missing.is_empty() && report.unexpected.is_empty()).then_some(*found)
}

/// Adds to an error that the samples look like `[h, w, c]`, where they do.
fn with_shape_of(inputs: &Inputs, error: anyhow::Error) -> anyhow::Error {
    match inputs.shape().as_slice() {
        shape @ [height, width, 1 | 3 | 4] if *height > 4 && *width > 4 => error.context(format!(
            "{}: a sample has shape {shape:?}, which looks like [h, w, c]; expected [c, h, w]: transpose `x` to [n, c, h, w]",
            inputs.name()
        )),
        _ => error,
    }
}

impl Checkpoint {
    /// Refuses the output of a head of which the weights have nothing: its values would be random.
    ///
    /// # Errors
    /// The head as the layer, and weights without it.
    pub(crate) fn require_weights_of(&self, layer: &str) -> Result<()> {
        if self.has_head || layer != self.network.frozen().head_name() {
            return Ok(());
        }
        bail!(
            "{}: there are no weights of the head `{layer}`, so that its output would be random; leave --layer out to measure the input \
             of the head, or choose another layer",
            self.name
        )
    }

    /// The layers with weights, in forward order.
    pub(crate) fn layer_names(&self) -> Vec<String> {
        let view = self.network.frozen();
        let has_weights = |name: &String| self.has_head || name != view.head_name();
        view.layer_names().into_iter().filter(has_weights).collect()
    }

    /// The last linear layer, if the weights have one.
    pub(crate) fn head(&self) -> Result<Option<Head>> {
        let (weight, bias) = self.network.frozen().head_parameters();
        Ok(if self.has_head { Some(Head::new(weight, Some(bias))?) } else { None })
    }
}
