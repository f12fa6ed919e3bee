//! One forward pass whose graph is kept, and as many reverse passes over it as are asked for.

use candle_core::{DType, Device, Tensor, Var};

use crate::{Error, FeatureMap, Linearization, Quantity, Result};

/// A map linearised at a batch of n inputs: its features, and v ↦ Jᵀv.
pub(crate) enum ReverseMode<'a> {
    /// The map's own.
    Own(Box<dyn Linearization + 'a>),
    /// candle's graph over the inputs, repeated in `lanes` blocks of n rows: a graph takes one cotangent a row.
    Graph { graph: Graph, lanes: usize },
}

impl<'a> ReverseMode<'a> {
    /// Runs the map forward on `inputs` `[n, …]`; `lanes` is how often to repeat them for a map that needs it.
    ///
    /// Refuses features of a wrong shape, features that do not depend on the inputs, and weights that are variables.
    pub(crate) fn new(map: &'a dyn FeatureMap, inputs: &Tensor, lanes: usize) -> Result<Self> {
        let inputs = inputs.detach();
        if let Some(own) = map.linearize(&inputs)? {
            check_shape(own.features(), inputs.dim(0)?)?;
            return Ok(Self::Own(own));
        }
        let repeated = if lanes == 1 { inputs } else { Tensor::cat(&vec![&inputs; lanes], 0)? };
        Ok(Self::Graph { graph: Graph::new(map, &repeated)?, lanes })
    }

    /// The features, one row a sample (and lane of a graph).
    pub(crate) fn features(&self) -> &Tensor {
        match self {
            Self::Own(own) => own.features(),
            Self::Graph { graph, .. } => &graph.features,
        }
    }

    /// How many cotangents of each sample a pullback takes at most, if there is such a number.
    pub(crate) fn lanes(&self) -> Option<usize> {
        match self {
            Self::Own(_) => None,
            Self::Graph { lanes, .. } => Some(*lanes),
        }
    }

    /// Rows that a pass for so many cotangents takes: a graph is walked with all of its lanes.
    pub(crate) fn rows(&self, cotangents: usize) -> Result<usize> {
        match self {
            Self::Own(_) => Ok(cotangents),
            Self::Graph { graph, .. } => Ok(graph.features.dim(0)?),
        }
    }

    /// Jᵀv for cotangents `[k·n, p]`, k no more than [`ReverseMode::lanes`]; shaped `[k·n, …]` as the inputs.
    pub(crate) fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        let graph = match self {
            Self::Own(own) => return own.vjp(cotangents),
            Self::Graph { graph, .. } => graph,
        };
        let (rows, all) = (cotangents.dim(0)?, graph.features.dim(0)?);
        if rows == all {
            return graph.vjp(cotangents);
        }
        let filled = cotangents.pad_with_zeros(0, 0, all - rows)?;
        Ok(graph.vjp(&filled)?.narrow(0, 0, rows)?)
    }

    /// Bytes that are kept, and the largest of the tensors among them.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        match self {
            Self::Own(own) => own.bytes(),
            Self::Graph { graph, .. } => graph.bytes(),
        }
    }
}

/// The linearisation that every map has: candle's graph from the inputs to the features.
pub(crate) struct Graph {
    input: Var,
    features: Tensor,
}

impl Graph {
    fn new(map: &dyn FeatureMap, inputs: &Tensor) -> Result<Self> {
        let input = Var::from_tensor(inputs)?;
        let features = map.features(input.as_tensor())?;
        check_shape(&features, input.dims().first().copied().unwrap_or(0))?;
        let mut connected = false;
        let mut weights = 0;
        for node in features.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
            if node.id() == input.id() { connected = true } else { weights += 1 }
        }
        if weights > 0 {
            return Err(Error::TrackedWeights { count: weights });
        }
        if !connected {
            return Err(Error::NotDifferentiable);
        }
        Ok(Self { input, features })
    }

    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        let gradients = self.features.mul(cotangents)?.sum_all()?.backward()?;
        gradients.get(self.input.as_tensor()).cloned().ok_or(Error::NotDifferentiable)
    }

    // A view counts as a tensor of its own.
    fn bytes(&self) -> (usize, usize) {
        let sizes =
            self.features.sorted_nodes().into_iter().map(|node| node.elem_count() * node.dtype().size_in_bytes());
        sizes.fold((0, 0), |(total, largest), size| (total + size, largest.max(size)))
    }
}

/// Refuses features that are not `[samples, p]` with p ≥ 1.
pub(crate) fn check_shape(features: &Tensor, samples: usize) -> Result<()> {
    match features.dims() {
        [rows, outputs] if *rows == samples && *outputs > 0 => Ok(()),
        got => Err(Error::FeatureShape { samples, got: got.to_vec() }),
    }
}

/// The squared norm of each row of `[n, …]`, accumulated in f64.
pub(crate) fn row_squared_norms(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(in_f64(tensor)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?)
}

/// The tensor in f64, on a device that has f64.
pub(crate) fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    let tensor = if tensor.device().is_metal() { tensor.to_device(&Device::Cpu)? } else { tensor.clone() };
    Ok(tensor.detach().to_dtype(DType::F64)?)
}

/// The position of the first value that is not finite.
pub(crate) fn first_non_finite(values: &[f64]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

/// Refuses inputs or features `[n, …]` that are not finite, naming the sample (`indices` are those of the rows).
pub(crate) fn check_finite(
    tensor: &Tensor,
    indices: &[usize],
    quantity: Quantity,
    layer: impl FnOnce() -> Option<String>,
) -> Result<()> {
    // A sum of squares in f64 is finite exactly if every f32 is; f64 beyond 1e154 overflows, and is refused as well.
    match first_non_finite(&row_squared_norms(tensor)?) {
        None => Ok(()),
        Some(row) => Err(Error::NonFinite { quantity, sample: indices[row % indices.len()], layer: layer() }),
    }
}
