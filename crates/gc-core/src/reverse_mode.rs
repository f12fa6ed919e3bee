//! Vector–Jacobian products of any map at one batch: one forward pass, then any number of backward passes.

use candle_core::{Tensor, Var};

use tape::Tape;

use crate::tensors::check_features;
use crate::{Error, FeatureMap, Linearization, ResidualBytes, Result, TrackedWeights};

/// The features of a map at a batch of n inputs, and v ↦ Jᵀv.
pub(crate) enum ReverseMode<'a> {
    /// The map's own linearization.
    Own(Box<dyn Linearization + 'a>),
    /// candle's graph over the inputs, repeated `lanes` times along dimension 0, because a graph takes one cotangent per
    /// row.
    Graph {
        /// The graph.
        graph: Graph,
        /// How often the inputs are repeated.
        lanes: usize,
    },
}

impl<'a> ReverseMode<'a> {
    /// Runs the map forward on `inputs` `[n, …]`. A map without its own linearization sees them `lanes` times.
    ///
    /// Returns an error for features of a wrong shape or dtype, and for features that do not depend on the inputs.
    pub(crate) fn new(map: &'a dyn FeatureMap, inputs: &Tensor, lanes: usize) -> Result<Self> {
        Self::with(map, inputs, lanes, Graph::recorded)
    }

    /// The same with candle's graph alone, so that features and VJPs stay connected to the weights.
    pub(crate) fn attached(map: &'a dyn FeatureMap, inputs: &Tensor) -> Result<Self> {
        Self::with(map, inputs, 1, Graph::attached)
    }

    fn with(
        map: &'a dyn FeatureMap,
        inputs: &Tensor,
        lanes: usize,
        graph: fn(&dyn FeatureMap, &Tensor) -> Result<Graph>,
    ) -> Result<Self> {
        let inputs = inputs.detach();
        if let Some(own) = map.linearize(&inputs)? {
            check_features(own.features(), inputs.dim(0)?)?;
            return Ok(Self::Own(own));
        }
        let repeated = if lanes == 1 { inputs } else { Tensor::cat(&vec![&inputs; lanes], 0)? };
        Ok(Self::Graph { graph: graph(map, &repeated)?, lanes })
    }

    /// As [`Linearization::expect`].
    pub(crate) fn expect(&mut self, cotangents: usize) {
        if let Self::Own(own) = self {
            own.expect(cotangents);
        }
    }

    /// The features, one row per sample (and per lane of a graph).
    pub(crate) fn features(&self) -> &Tensor {
        match self {
            Self::Own(own) => own.features(),
            Self::Graph { graph, .. } => &graph.features,
        }
    }

    /// The largest number of cotangents per sample in one backward pass; `None` if there is no limit.
    pub(crate) fn lanes(&self) -> Option<usize> {
        match self {
            Self::Own(_) => None,
            Self::Graph { lanes, .. } => Some(*lanes),
        }
    }

    /// The rows that a backward pass for this many cotangents computes: a graph always computes all of its rows.
    pub(crate) fn rows(&self, cotangents: usize) -> Result<usize> {
        match self {
            Self::Own(_) => Ok(cotangents),
            Self::Graph { graph, .. } => Ok(graph.features.dim(0)?),
        }
    }

    /// Jᵀv for cotangents `[k·n, p]` with k at most [`ReverseMode::lanes`]; shaped `[k·n, …]` as the inputs.
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

    /// Bytes of all tensors that are kept, and bytes of the largest of them.
    pub(crate) fn bytes(&self) -> ResidualBytes {
        match self {
            Self::Own(own) => own.bytes(),
            Self::Graph { graph, .. } => graph.bytes(),
        }
    }

    /// The weights whose gradients each backward pass computes in addition; `None` if there are none.
    pub(crate) fn tracked_weights(&self) -> Option<TrackedWeights> {
        match self {
            Self::Own(_) => None,
            Self::Graph { graph, .. } => graph.tracked_weights,
        }
    }
}

/// The way from the inputs to the features: candle's graph, or a tape of operations with candle's graphs between them.
pub(crate) struct Graph {
    input: Var,
    features: Tensor,
    tape: Option<Tape>,
    tracked_weights: Option<TrackedWeights>,
}

impl Graph {
    fn recorded(map: &dyn FeatureMap, inputs: &Tensor) -> Result<Self> {
        let input = Var::from_tensor(inputs)?;
        let (features, tape) = tape::record(&input, || map.features(input.as_tensor()))?;
        Self::new(input, features, Some(tape))
    }

    fn attached(map: &dyn FeatureMap, inputs: &Tensor) -> Result<Self> {
        let input = Var::from_tensor(inputs)?;
        let features = map.features(input.as_tensor())?;
        Self::new(input, features, None)
    }

    fn new(input: Var, features: Tensor, tape: Option<Tape>) -> Result<Self> {
        check_features(&features, input.dims().first().copied().unwrap_or(0))?;
        let mut graph = Self { input, features, tape, tracked_weights: None };
        let mut connected = false;
        let mut weights = TrackedWeights::default();
        for node in graph.nodes().iter().filter(|node| node.is_variable()) {
            if node.id() == graph.input.id() {
                connected = true;
            } else if !graph.tape.as_ref().is_some_and(|tape| tape.is_recorded(node)) {
                weights.include(node);
            }
        }
        if !connected {
            return Err(Error::NotDifferentiable);
        }
        graph.tracked_weights = (weights.count > 0).then_some(weights);
        Ok(graph)
    }

    /// All tensors that are kept for the backward passes.
    fn nodes(&self) -> Vec<Tensor> {
        match &self.tape {
            Some(tape) => tape.tensors(),
            None => self.features.sorted_nodes().into_iter().cloned().collect(),
        }
    }

    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        let gradient = match &self.tape {
            Some(tape) => tape.vjp(cotangents)?,
            None => {
                let gradients = self.features.mul(cotangents)?.sum_all()?.backward()?;
                gradients.get(self.input.as_tensor()).cloned()
            }
        };
        gradient.ok_or(Error::NotDifferentiable)
    }

    // A view counts as a tensor of its own. Weights and their gradients exist once, however many samples a chunk has.
    fn bytes(&self) -> ResidualBytes {
        let of_samples = |node: &Tensor| {
            !node.is_variable()
                || node.id() == self.input.id()
                || self.tape.as_ref().is_some_and(|tape| tape.is_recorded(node))
        };
        let nodes = self.nodes().into_iter().filter(of_samples);
        let sizes = nodes.map(|node| node.elem_count() * node.dtype().size_in_bytes());
        sizes.fold(ResidualBytes::default(), |sum, size| ResidualBytes {
            total: sum.total + size,
            largest: sum.largest.max(size),
        })
    }
}
