//! The linearization of a convolutional graph: one forward pass in the layout `[n, h, w, c]`, then VJPs of any number of
//! cotangents per sample.
//!
//! candle's graph takes one cotangent per row, so that exact GC repeats the forward pass for every output, and it works in the
//! layout `[n, c, h, w]`. Here each node of [`batched`](crate::operators::batched) gives its VJP for k·n cotangents of n samples. A
//! graph with any other node is differentiated by candle's graph.

use std::collections::{HashMap, HashSet};

use candle_core::Tensor;
use gc_core::{Linearization, ResidualBytes};

use crate::Result;
use crate::evaluate::Context;
use crate::model::taken;
use crate::node::{Id, Node};
use crate::operators::batched;
use crate::value::Value;

/// The VJP of one step: from the cotangent of its output to those of its inputs.
pub(crate) type Vjp = Box<dyn Fn(&Tensor) -> Result<Vec<Tensor>>>;

/// A tensor of the pass. Images are `[n, h, w, c]`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) tensor: Tensor,
    pub(crate) is_image: bool,
    /// Whether it is the output of a ReLU, or a maximum of such outputs, whose VJP masks the cotangents.
    pub(crate) is_relu: bool,
}

impl Entry {
    /// A tensor that is no output of a ReLU.
    pub(crate) fn new(tensor: Tensor, is_image: bool) -> Self {
        Self { tensor, is_image, is_relu: false }
    }

    /// The sizes in the layout of the standard.
    pub(crate) fn dims(&self) -> Vec<usize> {
        match (self.tensor.dims(), self.is_image) {
            (&[n, h, w, c], true) => vec![n, c, h, w],
            (dims, _) => dims.to_vec(),
        }
    }

    /// The tensor in the layout of the standard.
    fn standard(&self) -> Result<Tensor> {
        if self.is_image { Ok(self.tensor.permute((0, 3, 1, 2))?.contiguous()?) } else { Ok(self.tensor.clone()) }
    }
}

struct Step {
    inputs: Vec<Id>,
    output: Id,
    vjp: Vjp,
}

/// What a pass knows while it goes through the nodes.
pub(crate) struct Pass<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) constants: &'a HashMap<Id, Value>,
    pub(crate) context: Context<'a>,
    /// The batch size that the file fixes.
    pub(crate) stated: Option<usize>,
    pub(crate) samples: usize,
    entries: HashMap<Id, Entry>,
    /// Integer values, computed on the way.
    wholes: HashMap<Id, Value>,
    /// For each value, the nodes that take it.
    consumers: HashMap<Id, Vec<usize>>,
    /// Nodes whose work an earlier node has done.
    done: HashSet<usize>,
    steps: Vec<Step>,
}

impl Pass<'_> {
    pub(crate) fn entry(&self, id: Option<&Option<Id>>) -> Option<&Entry> {
        self.entries.get(id?.as_ref()?)
    }

    /// A constant or an integer value.
    pub(crate) fn known(&self, id: Option<&Option<Id>>) -> Option<&Value> {
        let id = id?.as_ref()?;
        self.constants.get(id).or_else(|| self.wholes.get(id))
    }

    /// The only node that takes a value, if it has this operator and has not been done.
    pub(crate) fn only_consumer(&self, id: Id, op: &str) -> Option<(usize, &Node)> {
        match self.consumers.get(&id)?[..] {
            [at] => Some((at, self.nodes.get(at)?)).filter(|(_, node)| node.op == op && node.domain.is_empty()),
            _ => None,
        }
    }

    /// Marks a node as done by another.
    pub(crate) fn skip(&mut self, at: usize) {
        self.done.insert(at);
    }

    pub(crate) fn set_known(&mut self, id: Id, value: Value) {
        self.wholes.insert(id, value);
    }

    /// Adds the output of a node with its VJP.
    pub(crate) fn push(&mut self, inputs: Vec<Id>, output: Id, entry: Entry, vjp: Vjp) {
        self.entries.insert(output, entry);
        self.steps.push(Step { inputs, output, vjp });
    }
}

/// A graph up to the measured tensor.
pub(crate) struct Network<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) constants: &'a HashMap<Id, Value>,
    pub(crate) context: Context<'a>,
    pub(crate) stated: Option<usize>,
    pub(crate) input: Id,
    pub(crate) output: Id,
}

/// The linearization at `x`, or `None` if a node has no rule for several cotangents per sample.
pub(crate) fn linearized(network: &Network, x: &Tensor) -> Result<Option<Box<dyn Linearization>>> {
    if !network.nodes.iter().all(batched::has_rule) || !matches!(x.rank(), 2 | 4) {
        return Ok(None);
    }
    let mut consumers: HashMap<Id, Vec<usize>> = HashMap::new();
    for (at, node) in network.nodes.iter().enumerate() {
        taken(node).for_each(|id| consumers.entry(id).or_default().push(at));
    }
    // The measured tensor is stored, whatever follows it.
    consumers.entry(network.output).or_default().push(usize::MAX);
    let is_image = x.rank() == 4;
    let x = x.detach();
    let own = if is_image { x.permute((0, 2, 3, 1))?.contiguous()? } else { x.contiguous()? };
    let mut pass = Pass {
        nodes: network.nodes,
        constants: network.constants,
        context: network.context,
        stated: network.stated,
        samples: x.dim(0)?,
        entries: HashMap::from([(network.input, Entry::new(own, is_image))]),
        wholes: HashMap::new(),
        consumers,
        done: HashSet::new(),
        steps: Vec::new(),
    };
    for (at, node) in network.nodes.iter().enumerate() {
        if !pass.done.contains(&at) && !batched::step(node, &mut pass)? {
            return Ok(None);
        }
    }
    let Some(output) = pass.entries.get(&network.output) else { return Ok(None) };
    if output.tensor.dim(0)? != pass.samples {
        return Ok(None);
    }
    let features = output.standard()?.flatten_from(1)?;
    let sizes = pass.entries.values().map(|entry| entry.tensor.elem_count() * entry.tensor.dtype().size_in_bytes());
    let bytes = sizes.fold(ResidualBytes::default(), |sum, size| ResidualBytes {
        total: sum.total + size,
        largest: sum.largest.max(size),
    });
    let output = (output.dims()[1..].to_vec(), output.is_image);
    Ok(Some(Box::new(Batched {
        features,
        steps: pass.steps,
        bytes,
        input: (network.input, is_image),
        output: (network.output, output.0, output.1),
    })))
}

/// A pass with the VJPs of its steps.
struct Batched {
    features: Tensor,
    steps: Vec<Step>,
    bytes: ResidualBytes,
    /// The input, and whether it is an image.
    input: (Id, bool),
    /// The measured tensor, its sizes for one sample, and whether it is an image.
    output: (Id, Vec<usize>, bool),
}

impl Batched {
    fn pulled_back(&self, cotangents: &Tensor) -> Result<Tensor> {
        let rows = cotangents.dim(0)?;
        let (output, sizes, is_image) = &self.output;
        let shape: Vec<usize> = std::iter::once(rows).chain(sizes.iter().copied()).collect();
        let mut g = cotangents.detach().reshape(shape)?;
        if *is_image {
            g = g.permute((0, 2, 3, 1))?.contiguous()?;
        }
        let mut pending: HashMap<Id, Tensor> = HashMap::from([(*output, g)]);
        for step in self.steps.iter().rev() {
            let Some(g) = pending.remove(&step.output) else { continue };
            for (id, gradient) in step.inputs.iter().zip((step.vjp)(&g)?) {
                let sum = match pending.remove(id) {
                    None => gradient,
                    Some(known) => ops::add_detached(&known, &gradient, false)?,
                };
                pending.insert(*id, sum);
            }
        }
        let (input, is_image) = self.input;
        let gradient = pending.remove(&input).ok_or_else(|| crate::error::operand("the input is not reached"))?;
        if is_image { Ok(gradient.permute((0, 3, 1, 2))?.contiguous()?) } else { Ok(gradient) }
    }
}

impl Linearization for Batched {
    fn features(&self) -> &Tensor {
        &self.features
    }

    fn vjp(&self, cotangents: &Tensor) -> gc_core::Result<Tensor> {
        Ok(self.pulled_back(cotangents).map_err(crate::Error::into_candle)?)
    }

    fn bytes(&self) -> ResidualBytes {
        self.bytes
    }
}
