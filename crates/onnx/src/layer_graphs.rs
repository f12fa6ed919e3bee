//! Several tensors of one graph.

use candle_core::Tensor;

use crate::graph::Graph;
use crate::measured::{Chosen, MeasuredTensor};
use crate::{Error, Result};

/// The graphs up to several tensors of one file, which share their weights: see [`Model::layer_graphs`](crate::Model::layer_graphs).
///
/// ```no_run
/// use candle_core::{DType, Device, Tensor};
/// use onnx_graph::{Layer, Model};
///
/// let layers = [Layer::of("/conv1/Conv"), Layer::Features];
/// let graphs = Model::open("net.onnx".as_ref())?.layer_graphs(&layers, DType::F32, &Device::Cpu)?;
/// let x = Tensor::zeros((8, 3, 32, 32), DType::F32, &Device::Cpu)?;
/// // Both tensors, from one pass through the graph.
/// let outputs = graphs.outputs(&x, &[0, 1])?;
/// assert_eq!((outputs.len(), outputs[0].dim(0)?), (2, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LayerGraphs {
    /// All nodes that one of the tensors needs.
    whole: Graph,
    chosen: Vec<Chosen>,
}

impl LayerGraphs {
    pub(crate) fn new(whole: Graph, chosen: Vec<Chosen>) -> Self {
        Self { whole, chosen }
    }

    /// The tensors in the order of the layers.
    pub fn tensors(&self) -> impl Iterator<Item = &MeasuredTensor> {
        self.chosen.iter().map(|chosen| &chosen.tensor)
    }

    /// The graph up to the tensor at this position; none beyond the last.
    pub fn graph(&self, position: usize) -> Option<Graph> {
        self.chosen.get(position).map(|chosen| self.whole.up_to(chosen))
    }

    /// Refuses samples of another shape than the graph states.
    ///
    /// # Errors
    /// [`Error::SampleShape`].
    pub fn check_sample(&self, sample: &[usize]) -> Result<()> {
        self.whole.check_sample(sample)
    }

    /// The tensors at these positions for a batch `[n, …]`, each flattened to `[n, p]` and with the bits of
    /// [`Graph::evaluate`], from one pass through the graph.
    ///
    /// # Errors
    /// Those of [`Graph::evaluate`], and [`Error::Operand`] for a position beyond the last.
    pub fn outputs(&self, x: &Tensor, positions: &[usize]) -> Result<Vec<Tensor>> {
        let chosen = |position: &usize| {
            let found = self.chosen.get(*position).cloned();
            found.ok_or_else(|| Error::Operand(format!("there is no layer at position {position}")))
        };
        let chosen: Vec<Chosen> = positions.iter().map(chosen).collect::<Result<_>>()?;
        self.whole.evaluate_each(x, &chosen)?.iter().map(|tensor| Ok(tensor.flatten_from(1)?)).collect()
    }
}

impl std::fmt::Debug for LayerGraphs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tensors()).finish()
    }
}
