//! An ONNX graph as a network to measure.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use collapse::Head;
use onnx_graph::{Graph, Layer, Model};

/// The operators of convolutions and linear layers.
const LINEAR: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// A graph of an ONNX file, up to the measured tensor.
pub(crate) struct OnnxGraph {
    /// The file.
    pub(crate) name: String,
    /// The names of its convolutions and linear layers, in the order of the file.
    linear_nodes: Vec<String>,
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
        let read = || -> Result<(Graph, Vec<String>)> {
            let model = Model::open(path)?;
            let graph = model.graph(&layer, dtype, device)?;
            graph.check_sample(sample)?;
            let nodes = model.nodes()?.into_iter().filter(|node| LINEAR.contains(&node.operator.as_str()));
            Ok((graph, nodes.map(|node| node.name).collect()))
        };
        let (graph, linear_nodes) = read().with_context(|| name.clone())?;
        Ok(Self { name, linear_nodes, graph })
    }

    /// The names of its convolutions and linear layers.
    ///
    /// # Errors
    /// A graph without any.
    pub(crate) fn linear_nodes(&self) -> Result<Vec<String>> {
        if self.linear_nodes.is_empty() {
            bail!("--layers all: {} has no node of {}; name its nodes instead", self.name, LINEAR.join(", "));
        }
        Ok(self.linear_nodes.clone())
    }

    /// The linear layer that takes the measured tensor, if that layer is the classifier.
    ///
    /// # Errors
    /// Weights that are no head.
    pub(crate) fn head(&self) -> Result<Option<Head>> {
        let Some(head) = self.graph.head()? else { return Ok(None) };
        Ok(Some(Head::new(&head.weight, head.bias.as_ref())?))
    }
}
