//! An ONNX graph as a network to measure.

use std::path::Path;

use anyhow::{Context, Result, bail};
use assess::{BoxError, Layers};
use candle_core::{DType, Device, Tensor};
use collapse::Head;
use gc_core::FeatureMap;
use onnx_graph::{Graph, Layer, LayerGraphs, Model};

/// The operators of convolutions and linear layers.
const LINEAR: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// A graph of an ONNX file, up to the measured tensor.
pub(crate) struct OnnxGraph {
    /// The file.
    pub(crate) name: String,
    /// The graph.
    pub(crate) graph: Graph,
}

impl OnnxGraph {
    /// Reads a graph up to `layer`: the name of a node or tensor, `output`, or `head`.
    ///
    /// # Errors
    /// Those of [`Model::open`] and [`Model::graph`], and samples of another shape than the graph states.
    pub(crate) fn read(
        path: &Path,
        layer: Option<&str>,
        sample: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let name = path.display().to_string();
        let layer = layer.map_or(Layer::Features, Layer::of);
        let read = || -> Result<Graph> {
            let graph = Model::open(path)?.graph(&layer, dtype, device)?;
            graph.check_sample(sample)?;
            Ok(graph)
        };
        let graph = read().with_context(|| name.clone())?;
        Ok(Self { name, graph })
    }

    /// The linear layer that takes the measured tensor, if that layer is the classifier.
    ///
    /// # Errors
    /// Weights that are no head.
    pub(crate) fn head(&self) -> Result<Option<Head>> {
        head(&self.graph)
    }
}

fn head(graph: &Graph) -> Result<Option<Head>> {
    let Some(head) = graph.head()? else { return Ok(None) };
    Ok(Some(Head::new(&head.weight, head.bias.as_ref())?))
}

/// Several layers of a graph of an ONNX file.
pub(crate) struct OnnxLayers {
    /// The file.
    pub(crate) name: String,
    /// The names of the layers, in the order in which they were given; without any, in the order of the file.
    pub(crate) names: Vec<String>,
    graphs: LayerGraphs,
}

impl OnnxLayers {
    /// Reads these layers of a graph; without any, those of its convolutions and linear layers.
    ///
    /// # Errors
    /// Those of [`Model::open`] and [`Model::layer_graphs`], samples of another shape than the graph states, and a graph
    /// without convolutions and linear layers.
    pub(crate) fn read(
        path: &Path,
        names: Option<&[String]>,
        sample: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let name = path.display().to_string();
        let read = || -> Result<(Vec<String>, LayerGraphs)> {
            let model = Model::open(path)?;
            let names = names.map_or_else(|| linear_nodes(&model), |names| Ok(names.to_vec()))?;
            let layers: Vec<Layer> = names.iter().map(|name| Layer::of(name)).collect();
            let graphs = model.layer_graphs(&layers, dtype, device)?;
            graphs.check_sample(sample)?;
            Ok((names, graphs))
        };
        let (names, graphs) = read().with_context(|| name.clone())?;
        Ok(Self { name, names, graphs })
    }

    /// The tensors in the order of the layers, in words.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = String> {
        self.graphs.tensors().map(ToString::to_string)
    }

    fn position(&self, name: &str) -> Result<usize, BoxError> {
        let found = self.names.iter().position(|known| known == name);
        found.ok_or_else(|| format!("the layer `{name}` was not read").into())
    }

    fn graph(&self, name: &str) -> Result<Graph, BoxError> {
        Ok(self.graphs.graph(self.position(name)?).ok_or("there is no graph of this layer")?)
    }
}

impl Layers for OnnxLayers {
    fn layer(&self, name: &str) -> Result<Box<dyn FeatureMap + '_>, BoxError> {
        Ok(Box::new(self.graph(name)?))
    }

    /// One forward pass for all layers.
    fn outputs(&self, images: &Tensor, names: &[String]) -> Result<Vec<Tensor>, BoxError> {
        let positions: Vec<usize> = names.iter().map(|name| self.position(name)).collect::<Result<_, _>>()?;
        Ok(self.graphs.outputs(images, &positions)?)
    }

    fn head(&self, name: &str) -> Result<Option<Head>, BoxError> {
        Ok(head(&self.graph(name)?)?)
    }
}

/// The names of the convolutions and linear layers.
fn linear_nodes(model: &Model) -> Result<Vec<String>> {
    let nodes = model.nodes()?.into_iter().filter(|node| LINEAR.contains(&node.operator.as_str()));
    let names: Vec<String> = nodes.map(|node| node.name).collect();
    if names.is_empty() {
        bail!("--layers all: there is no node of {}; name nodes instead", LINEAR.join(", "));
    }
    Ok(names)
}
