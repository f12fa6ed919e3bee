//! An ONNX graph as a network to measure.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use collapse::Head;
use onnx_graph::{Graph, Layer, Model};

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
        let Some(head) = self.graph.head()? else { return Ok(None) };
        Ok(Some(Head::new(&head.weight, head.bias.as_ref())?))
    }
}
