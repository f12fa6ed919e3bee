//! The linearization of a graph: one forward pass, then VJPs of any number of cotangents per sample.
//!
//! candle's graph takes one cotangent per row, so that exact GC repeats the forward pass for every output, and it works in the
//! layout `[n, c, h, w]`. Here each node of [`batched`](crate::operators::batched) gives its VJP for k·n cotangents of n samples, by the
//! rules of the crate `ops`. A graph with any other node is differentiated by candle's graph.

use std::collections::{HashMap, HashSet};

use candle_core::Tensor;
use gc_core::{Linearization, ResidualBytes};

use crate::Result;
use crate::evaluate::Context;
use crate::layout::{Back, Layout, from_image, to_image};
use crate::model::taken;
use crate::node::{Id, Node};
use crate::operators::batched::{self, AttentionNodes};
use crate::operators::control;
use crate::value::{Value, Whole};

/// The VJP of one step: from the cotangent of its output to those of its inputs.
pub(crate) type Vjp = Box<dyn Fn(&Tensor) -> Result<Vec<Tensor>>>;

/// The VJP of a step with one input and several outputs, of which some may have no cotangent.
pub(crate) type JoinedVjp = Box<dyn Fn(Vec<Option<Tensor>>) -> Result<Tensor>>;

/// A tensor of the pass.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The samples come first, as the layout says.
    pub(crate) tensor: Tensor,
    pub(crate) layout: Layout,
    /// Whether it is the output of a ReLU, or a maximum of such outputs, whose VJP masks the cotangents.
    pub(crate) is_relu: bool,
}

impl Entry {
    /// A tensor that is no output of a ReLU.
    pub(crate) fn new(tensor: Tensor, layout: Layout) -> Self {
        Self { tensor, layout, is_relu: false }
    }
}

/// An input of a node in the layout that its rule wants.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) id: Id,
    pub(crate) tensor: Tensor,
    pub(crate) layout: Layout,
    pub(crate) is_relu: bool,
    /// From a cotangent in this layout to one in the layout of the stored tensor.
    pub(crate) back: Back,
}

impl Operand {
    /// The sizes in the standard's order.
    pub(crate) fn dims(&self) -> Vec<usize> {
        self.layout.standard(self.tensor.dims())
    }
}

struct Step {
    inputs: Vec<Id>,
    outputs: Vec<Id>,
    vjp: StepVjp,
}

enum StepVjp {
    OneOutput(Vjp),
    SeveralOutputs(JoinedVjp),
}

/// What is known of all values of a graph at one shape of the input.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The sizes of each value.
    pub(crate) shapes: HashMap<Id, Vec<usize>>,
    /// The small integer values.
    pub(crate) wholes: HashMap<Id, Whole>,
}

/// What a pass knows while it goes through the nodes.
pub(crate) struct Pass<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) context: Context<'a>,
    pub(crate) samples: usize,
    constants: &'a HashMap<Id, Value>,
    recorded: &'a Recorded,
    entries: HashMap<Id, Entry>,
    /// Values that do not depend on the numbers of the input, computed on the way.
    values: HashMap<Id, Value>,
    /// For each value, the nodes that take it.
    consumers: HashMap<Id, Vec<usize>>,
    /// Nodes whose work another node does.
    done: HashSet<usize>,
    /// By the last node of an attention, its other nodes.
    attentions: HashMap<usize, AttentionNodes>,
    steps: Vec<Step>,
}

impl Pass<'_> {
    /// The input of this number as it is stored.
    pub(crate) fn operand(&self, node: &Node, at: usize) -> Option<Operand> {
        self.operand_of(node.inputs.get(at).copied().flatten()?)
    }

    /// A tensor as it is stored.
    pub(crate) fn operand_of(&self, id: Id) -> Option<Operand> {
        let Entry { tensor, layout, is_relu } = self.entries.get(&id)?.clone();
        Some(Operand { id, tensor, layout, is_relu, back: Back::Same })
    }

    /// The input of this number as an image `[n, h, w, c]`; none unless it has the shape of one.
    pub(crate) fn image(&self, node: &Node, at: usize) -> Result<Option<Operand>> {
        let Some(operand) = self.operand(node, at) else { return Ok(None) };
        Ok(match (operand.layout, operand.tensor.rank()) {
            (Layout::Image, _) => Some(operand),
            (Layout::FIRST, 4) => {
                let tensor = to_image(&operand.tensor)?;
                Some(Operand { tensor, layout: Layout::Image, back: Back::FromImage, ..operand })
            }
            _ => None,
        })
    }

    /// The input of this number in the standard's order of dimensions, but for the samples.
    pub(crate) fn rows(&self, node: &Node, at: usize) -> Result<Option<Operand>> {
        let Some(operand) = self.operand(node, at) else { return Ok(None) };
        Ok(Some(match operand.layout {
            Layout::Rows(_) => operand,
            Layout::Image => {
                let tensor = from_image(&operand.tensor)?;
                Operand { tensor, layout: Layout::FIRST, back: Back::ToImage, ..operand }
            }
        }))
    }

    /// A constant, or a value that does not depend on the numbers of the input.
    pub(crate) fn known(&self, id: Option<&Option<Id>>) -> Option<Value> {
        let id = id?.as_ref()?;
        let computed = || self.constants.get(id).or_else(|| self.values.get(id)).cloned();
        computed().or_else(|| Some(Value::Whole(self.recorded.wholes.get(id)?.clone())))
    }

    /// The sizes of a value in the standard's order.
    pub(crate) fn shape(&self, id: Id) -> Option<&[usize]> {
        Some(self.recorded.shapes.get(&id)?)
    }

    /// The only node that takes a value, if it has this operator and has not been done.
    pub(crate) fn only_consumer(&self, id: Id, op: &str) -> Option<(usize, &Node)> {
        match self.consumers.get(&id)?[..] {
            [at] => Some((at, self.nodes.get(at)?))
                .filter(|(at, node)| node.op == op && node.domain.is_empty() && !self.done.contains(at)),
            _ => None,
        }
    }

    /// Marks a node as done by another.
    pub(crate) fn skip(&mut self, at: usize) {
        self.done.insert(at);
    }

    /// Remembers the nodes of an attention until its last node.
    pub(crate) fn expect_attention(&mut self, last: usize, nodes: AttentionNodes) {
        self.attentions.insert(last, nodes);
    }

    /// The nodes of the attention of which this is the last node.
    pub(crate) fn attention_at(&self, output: Id) -> Option<&AttentionNodes> {
        self.attentions.values().find(|nodes| nodes.output == output)
    }

    pub(crate) fn set_known(&mut self, id: Id, value: Value) {
        self.values.insert(id, value);
    }

    /// Adds the output of a node with its VJP.
    pub(crate) fn push(&mut self, inputs: Vec<Id>, output: Id, entry: Entry, vjp: Vjp) {
        self.entries.insert(output, entry);
        self.steps.push(Step { inputs, outputs: vec![output], vjp: StepVjp::OneOutput(vjp) });
    }

    /// Adds several outputs of a node with one input.
    pub(crate) fn push_several(&mut self, input: Id, outputs: Vec<(Id, Entry)>, vjp: JoinedVjp) {
        let ids = outputs.iter().map(|(id, _)| *id).collect();
        self.entries.extend(outputs);
        self.steps.push(Step { inputs: vec![input], outputs: ids, vjp: StepVjp::SeveralOutputs(vjp) });
    }
}

/// A graph up to the measured tensor.
pub(crate) struct Network<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) constants: &'a HashMap<Id, Value>,
    pub(crate) context: Context<'a>,
    pub(crate) input: Id,
    pub(crate) output: Id,
}

impl Network<'_> {
    /// Whether every node that depends on the numbers of the input has a rule, as far as its operator says.
    pub(crate) fn has_rules(&self) -> bool {
        let numeric = control::numeric(self.nodes, &[self.input]);
        let mut dependent =
            self.nodes.iter().filter(|node| node.outputs.iter().flatten().any(|id| numeric.contains(id)));
        dependent.all(batched::has_rule)
    }
}

/// The linearization at `x`, or `None` if a node has no rule for several cotangents per sample. `recorded` is of the shape of `x`.
pub(crate) fn linearized(network: &Network, recorded: &Recorded, x: &Tensor) -> Result<Option<Box<dyn Linearization>>> {
    let mut consumers: HashMap<Id, Vec<usize>> = HashMap::new();
    for (at, node) in network.nodes.iter().enumerate() {
        taken(node).for_each(|id| consumers.entry(id).or_default().push(at));
    }
    // The measured tensor is stored, whatever follows it.
    consumers.entry(network.output).or_default().push(usize::MAX);
    let x = x.detach();
    let (own, layout) = if x.rank() == 4 { (to_image(&x)?, Layout::Image) } else { (x.contiguous()?, Layout::FIRST) };
    let mut pass = Pass {
        nodes: network.nodes,
        constants: network.constants,
        context: network.context,
        samples: x.dim(0)?,
        recorded,
        entries: HashMap::from([(network.input, Entry::new(own, layout))]),
        values: HashMap::new(),
        consumers,
        done: HashSet::new(),
        attentions: HashMap::new(),
        steps: Vec::new(),
    };
    for (at, node) in network.nodes.iter().enumerate() {
        if !pass.done.contains(&at) && !batched::step(node, &mut pass)? {
            return Ok(None);
        }
    }
    let Some(output) = pass.operand_of(network.output) else { return Ok(None) };
    if output.layout != Layout::Image && output.layout != Layout::FIRST {
        return Ok(None);
    }
    let is_image = output.layout == Layout::Image;
    let standard = if is_image { from_image(&output.tensor)? } else { output.tensor.clone() };
    let sizes = pass.entries.values().map(|entry| entry.tensor.elem_count() * entry.tensor.dtype().size_in_bytes());
    let bytes = sizes.fold(ResidualBytes::default(), |sum, size| ResidualBytes {
        total: sum.total + size,
        largest: sum.largest.max(size),
    });
    Ok(Some(Box::new(Batched {
        features: standard.flatten_from(1)?,
        steps: pass.steps,
        bytes,
        input: (network.input, layout),
        output: (network.output, output.dims().split_off(1), is_image),
    })))
}

/// A pass with the VJPs of its steps.
struct Batched {
    features: Tensor,
    steps: Vec<Step>,
    bytes: ResidualBytes,
    /// The input with its layout.
    input: (Id, Layout),
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
            g = to_image(&g)?;
        }
        let mut pending: HashMap<Id, Tensor> = HashMap::from([(*output, g)]);
        for step in self.steps.iter().rev() {
            let given: Vec<Option<Tensor>> = step.outputs.iter().map(|id| pending.remove(id)).collect();
            let gradients = match (&step.vjp, given.as_slice()) {
                (StepVjp::OneOutput(vjp), [Some(g)]) => vjp(g)?,
                (StepVjp::SeveralOutputs(vjp), given) if given.iter().any(Option::is_some) => {
                    vec![vjp(given.to_vec())?]
                }
                _ => continue,
            };
            for (id, gradient) in step.inputs.iter().zip(gradients) {
                let sum = match pending.remove(id) {
                    None => gradient,
                    Some(known) => ops::add_detached(&known, &gradient, false)?,
                };
                pending.insert(*id, sum);
            }
        }
        let (input, layout) = self.input;
        let gradient = pending.remove(&input).ok_or_else(|| crate::error::operand("the input is not reached"))?;
        if layout == Layout::Image { from_image(&gradient) } else { Ok(gradient) }
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
