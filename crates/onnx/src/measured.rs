//! Which tensor of a graph is measured, and which linear layer is its head.

use std::collections::{HashMap, HashSet};

use crate::build::Program;
use crate::node::{Id, Node};
use crate::{Error, Result};

/// Which tensor of a graph to measure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// The input of the linear layer that computes the output, which is taken as the classifier.
    #[default]
    Features,
    /// The first output of the graph.
    Output,
    /// The input of the last linear layer, whatever follows it.
    Head,
    /// The first output of a node, or a tensor, by its name.
    Named(String),
}

impl Layer {
    /// The layer of a name: `output` and `head` are words, everything else is the name of a node or tensor.
    ///
    /// ```
    /// use onnx_graph::Layer;
    /// assert_eq!(Layer::of("output"), Layer::Output);
    /// assert_eq!(Layer::of("/conv1/Conv"), Layer::Named("/conv1/Conv".to_owned()));
    /// ```
    pub fn of(name: &str) -> Self {
        match name {
            "output" => Self::Output,
            "head" => Self::Head,
            name => Self::Named(name.to_owned()),
        }
    }
}

/// The tensor that is measured, and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeasuredTensor {
    /// Its name.
    pub name: String,
    /// What it is: `input of the linear layer "fc"`.
    pub role: String,
    /// Whether the choice is a guess: nothing in a graph says which linear layer is the classifier.
    pub is_guess: bool,
}

impl std::fmt::Display for MeasuredTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, {}", self.name, self.role)?;
        if self.is_guess { f.write_str(" (a guess: name it with --layer)") } else { Ok(()) }
    }
}

/// A chosen tensor.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) id: Id,
    pub(crate) tensor: MeasuredTensor,
    /// The linear layer that takes it, if that is the head.
    pub(crate) head: Option<LinearNode>,
}

impl Chosen {
    /// The tensor, and the constants of its head.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Id> {
        std::iter::once(self.id).chain(self.head.iter().flat_map(LinearNode::constants))
    }
}

/// A linear layer y = a·x·Wᵀ + b·bias of constant weights.
#[derive(Debug, Clone)]
pub(crate) struct LinearNode {
    /// The name of its node.
    name: String,
    input: Id,
    output: Id,
    pub(crate) weight: Id,
    pub(crate) bias: Option<Id>,
    /// Whether the weight is stored as `[out, in]`.
    pub(crate) is_transposed: bool,
    /// The factors of the product and of the bias.
    pub(crate) factors: [f64; 2],
}

impl LinearNode {
    /// The constants that it needs.
    pub(crate) fn constants(&self) -> impl Iterator<Item = Id> {
        [Some(self.weight), self.bias].into_iter().flatten()
    }
}

/// Operators after a classifier that keep its classes.
const AFTER: [&str; 6] = ["Identity", "Softmax", "LogSoftmax", "Sigmoid", "Dropout", "Cast"];

/// Chooses the tensor that `layer` names.
pub(crate) fn choose(program: &Program, dependent: &HashSet<Id>, layer: &Layer) -> Result<Chosen> {
    let output = program.outputs.first().copied().ok_or(Error::NoLinearLayer)?;
    let linear = linear_layers(program, dependent, output);
    let of = |id: Id, role: String, is_guess: bool, head: Option<&LinearNode>| Chosen {
        id,
        tensor: MeasuredTensor { name: program.names[id].clone(), role, is_guess },
        head: head.cloned(),
    };
    let input_of = |layer: &LinearNode| format!("input of the linear layer `{}`", layer.name);
    match layer {
        Layer::Output => Ok(of(output, "the output of the graph".to_owned(), false, None)),
        Layer::Head => {
            let last = linear.last().ok_or(Error::NoLinearLayer)?;
            Ok(of(last.input, input_of(last), false, Some(last)))
        }
        Layer::Features => {
            let classifier = before(program, output);
            let Some(head) = linear.iter().find(|layer| layer.output == classifier) else {
                let Some(last) = linear.last() else { return Err(Error::NoLinearLayer) };
                let last = format!(
                    " (the last linear layer is `{}`; `--layer head` measures its input `{}`)",
                    last.name, program.names[last.input]
                );
                return Err(Error::NoClassifier { output: program.names[output].clone(), last });
            };
            Ok(of(head.input, format!("{}, taken as the classifier", input_of(head)), true, Some(head)))
        }
        Layer::Named(name) => {
            let id = named(program, name)?;
            // The head of a tensor is known where the classifier takes it.
            let classifier = before(program, output);
            let head = linear.iter().find(|layer| layer.input == id && layer.output == classifier);
            Ok(of(id, role(program, id), false, head))
        }
    }
}

/// The tensor or the first output of the node with this name.
fn named(program: &Program, name: &str) -> Result<Id> {
    if let Some(id) = program.scope.get(name) {
        return Ok(*id);
    }
    if let Some(id) = program.names.iter().position(|known| known == name) {
        return Ok(id);
    }
    let first = |node: &Node| node.outputs.iter().flatten().next().copied();
    if let Some(id) = program.nodes.iter().find(|node| node.name == name).and_then(first) {
        return Ok(id);
    }
    let shown: Vec<&str> = program.nodes.iter().map(|node| node.display(&program.names)).collect();
    let outputs = program.nodes.iter().filter_map(first).map(|id| program.names[id].as_str());
    let near = support::nearest_names(name, shown.iter().copied().chain(outputs));
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near)) };
    let last = quoted(&shown[shown.len().saturating_sub(5)..]);
    Err(Error::UnknownLayer { name: name.to_owned(), hint, count: shown.len(), last })
}

fn role(program: &Program, id: Id) -> String {
    let producer = program.nodes.iter().find(|node| node.outputs.contains(&Some(id)));
    match producer {
        Some(node) => format!("output of the node `{}` ({})", node.display(&program.names), node.op),
        None => "an input of the graph".to_owned(),
    }
}

/// The tensor before operators that keep the classes.
fn before(program: &Program, output: Id) -> Id {
    let mut id = output;
    for node in program.nodes.iter().rev() {
        if node.outputs.first() == Some(&Some(id))
            && AFTER.contains(&node.op.as_str())
            && let Some(Some(input)) = node.inputs.first()
        {
            id = *input;
        }
    }
    id
}

/// The linear layers with constant weights on which `output` depends, in the order of evaluation.
fn linear_layers(program: &Program, dependent: &HashSet<Id>, output: Id) -> Vec<LinearNode> {
    let mut wanted = HashSet::from([output]);
    for node in program.nodes.iter().rev() {
        if node.outputs.iter().flatten().any(|id| wanted.contains(id)) {
            wanted.extend(crate::model::taken(node));
        }
    }
    let is_constant = |id: Id| !dependent.contains(&id);
    let mut layers: Vec<LinearNode> = Vec::new();
    let mut products: HashMap<Id, usize> = HashMap::new();
    for node in program.nodes.iter().filter(|node| node.domain.is_empty()) {
        let (Some(&Some(output)), Some(&Some(a))) = (node.outputs.first(), node.inputs.first()) else { continue };
        let Some(&Some(b)) = node.inputs.get(1) else { continue };
        if !wanted.contains(&output) {
            continue;
        }
        let name = node.display(&program.names).to_owned();
        match node.op.as_str() {
            "Gemm" if dependent.contains(&a) && is_constant(b) && !node.flag("transA", false).unwrap_or(true) => {
                layers.push(LinearNode {
                    name,
                    input: a,
                    output,
                    weight: b,
                    bias: node.inputs.get(2).copied().flatten().filter(|id| is_constant(*id)),
                    is_transposed: node.flag("transB", false).unwrap_or(false),
                    factors: [node.float("alpha", 1.0).unwrap_or(1.0), node.float("beta", 1.0).unwrap_or(1.0)],
                });
            }
            "MatMul" if dependent.contains(&a) && is_constant(b) => {
                products.insert(output, layers.len());
                layers.push(LinearNode {
                    name,
                    input: a,
                    output,
                    weight: b,
                    bias: None,
                    is_transposed: false,
                    factors: [1.0; 2],
                });
            }
            // The bias of the product before it.
            "Add" => {
                let (product, bias) = if is_constant(b) { (a, b) } else { (b, a) };
                if let Some(layer) = products.get(&product).and_then(|at| layers.get_mut(*at))
                    && is_constant(bias)
                {
                    layer.bias = Some(bias);
                    layer.output = output;
                }
            }
            _ => {}
        }
    }
    layers
}
