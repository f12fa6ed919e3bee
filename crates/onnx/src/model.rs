//! ONNX files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use crate::build::{Program, build};
use crate::error::malformed;
use crate::evaluate::{Context, Values, evaluate};
use crate::graph::{Graph, Parts};
use crate::layer_graphs::LayerGraphs;
use crate::mapped::Mapped;
use crate::measured::{self, Chosen};
use crate::message::{self, Kind};
use crate::node::{Attribute, Id, Node};
use crate::operators::{self, control, quantised};
use crate::value::Value;
use crate::weights::Weights;
use crate::{Error, Layer, Result};

/// The versions of the standard's operator set that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// The most elements of a tensor that is computed from constants when a graph is read.
const MOST_FOLDED: usize = 1 << 25;

/// An ONNX file: a graph whose weights have not been read yet.
///
/// The file is mapped into memory. Weights are read by [`Model::graph`], which reads those that the measured tensor needs.
#[derive(Debug)]
pub struct Model {
    bytes: Bytes,
    folder: Option<PathBuf>,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mapped),
    Owned(Vec<u8>),
}

/// One node of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name in the file, or that of its first output.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// The name of its first output.
    pub output: String,
}

impl Model {
    /// Opens a file. External data are read from its folder.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::Malformed`] for bytes that are no ONNX graph.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = Mapped::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let model = Self { bytes: Bytes::Mapped(bytes), folder: Some(folder) };
        model.message()?;
        Ok(model)
    }

    /// A graph in memory, whose weights are not in another file.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no ONNX graph.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let model = Self { bytes: Bytes::Owned(bytes), folder: None };
        model.message()?;
        Ok(model)
    }

    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    pub(crate) fn message(&self) -> Result<message::Model<'_>> {
        message::Model::read(match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        })
    }

    /// The nodes in the order of evaluation, those of functions within their calls.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a graph whose names do not fit together.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        let message = self.message()?;
        let mut weights = Weights::new(self.folder.as_deref(), DType::F32, &Device::Cpu);
        let program = build(&message, &mut weights)?;
        let info = |node: &Node| NodeInfo {
            name: node.display(&program.names).to_owned(),
            operator: node.op.clone(),
            output: node.outputs.iter().flatten().next().map_or(String::new(), |id| program.names[*id].clone()),
        };
        Ok(program.nodes.iter().map(info).collect())
    }

    /// The graph up to the tensor that `layer` names, with its weights in this dtype on this device.
    ///
    /// Nodes that depend on constants alone are computed here, once.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with every operator and attribute that the tensor depends on and that is missing here;
    /// [`Error::NoClassifier`], [`Error::NoLinearLayer`] and [`Error::UnknownLayer`] for the choice of the tensor;
    /// [`Error::Inputs`], [`Error::IntegerInput`] and [`Error::InputRank`] for the graph's input; the errors of reading weights.
    pub fn graph(&self, layer: &Layer, dtype: DType, device: &Device) -> Result<Graph> {
        let (parts, _) = self.parts(std::slice::from_ref(layer), dtype, device)?;
        Ok(Graph::new(parts))
    }

    /// The graphs up to the tensors that `layers` name, which share their weights: the file is read once.
    ///
    /// # Errors
    /// Those of [`Model::graph`] for every layer, and [`Error::NoLayers`] without any.
    pub fn layer_graphs(&self, layers: &[Layer], dtype: DType, device: &Device) -> Result<LayerGraphs> {
        let (parts, chosen) = self.parts(layers, dtype, device)?;
        Ok(LayerGraphs::new(Graph::new(parts), chosen))
    }

    /// The nodes and constants that the tensors of these layers need, and the tensors in the order of the layers. The parts are
    /// those of the last tensor.
    fn parts(&self, layers: &[Layer], dtype: DType, device: &Device) -> Result<(Parts, Vec<Chosen>)> {
        let message = self.message()?;
        check_opsets(&message)?;
        let mut weights = Weights::new(self.folder.as_deref(), dtype, device);
        let mut program = build(&message, &mut weights)?;
        let inputs = inputs(&message, &program);
        let dependent = dependent(&program, &inputs);
        let choose = |layer| measured::choose(&program, &dependent, layer);
        let all: Vec<Chosen> = layers.iter().map(choose).collect::<Result<_>>()?;
        let chosen = all.last().cloned().ok_or(Error::NoLayers)?;
        let wanted: Vec<Id> = all.iter().flat_map(Chosen::wanted).collect();
        let nodes = needed(std::mem::take(&mut program.nodes), &wanted);
        let missing = operators::missing(&nodes);
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        let numeric = control::numeric(&nodes, &inputs);
        control::require_fixed_counts(&nodes, &numeric, &program.names)?;
        require_smooth(&nodes, &numeric)?;
        let input = |chosen| one_input(&message, &inputs, &nodes, chosen, &dependent, &program);
        all.iter().try_for_each(|chosen| input(chosen).map(|_| ()))?;
        let input = input(&chosen)?;
        let (constants, nodes) = fold(nodes, &program, &mut weights, &dependent, &wanted)?;
        let kept = all.iter().map(|chosen| chosen.id).collect();
        let device = device.clone();
        Ok((Parts { input, nodes, constants, names: program.names, chosen, kept, dtype, device }, all))
    }
}

/// The input of a graph: its value, its name and the stated sizes.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) sizes: Option<Vec<Option<usize>>>,
}

fn check_opsets(message: &message::Model) -> Result<()> {
    let version = message.opsets.version("").ok_or_else(|| malformed("ModelProto", "no operator set is stated"))?;
    if OPSETS.contains(&version) {
        return Ok(());
    }
    let (first, last) = (OPSETS.start(), OPSETS.end());
    Err(malformed(
        "ModelProto",
        format!("operator set {version}: sets {first} to {last} are read; export the graph with `opset_version=20`"),
    ))
}

/// The inputs without a value in the file.
fn inputs(message: &message::Model, program: &Program) -> Vec<Id> {
    let id = |input: &message::ValueInfo| program.scope.get(input.name).copied();
    message.graph.inputs.iter().filter_map(id).filter(|id| !program.constants.contains_key(id)).collect()
}

/// The values that depend on an input.
fn dependent(program: &Program, inputs: &[Id]) -> HashSet<Id> {
    let mut dependent: HashSet<Id> = inputs.iter().copied().collect();
    for node in &program.nodes {
        if taken(node).any(|id| dependent.contains(&id)) {
            dependent.extend(node.outputs.iter().flatten());
        }
    }
    dependent
}

/// The values that a node takes, those of its branches included.
pub(crate) fn taken(node: &Node) -> impl Iterator<Item = Id> + '_ {
    let mut ids: Vec<Id> = node.inputs.iter().flatten().copied().collect();
    let mut pending: Vec<&Node> = vec![node];
    while let Some(next) = pending.pop() {
        for (_, attribute) in &next.attributes {
            if let Attribute::Branch(branch) = attribute {
                ids.extend(&branch.outputs);
                for inner in &branch.nodes {
                    ids.extend(inner.inputs.iter().flatten());
                    pending.push(inner);
                }
            }
        }
    }
    ids.into_iter()
}

/// The nodes on which these values depend, in their order.
pub(crate) fn needed(nodes: Vec<Node>, wanted: &[Id]) -> Vec<Node> {
    let mut wanted: BTreeSet<Id> = wanted.iter().copied().collect();
    let mut kept: Vec<Node> = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs.iter().flatten().any(|id| wanted.contains(id)) {
            wanted.extend(taken(&node));
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

/// Refuses operators that round numbers of the input.
fn require_smooth(nodes: &[Node], numeric: &HashSet<Id>) -> Result<()> {
    let mut missing = crate::Missing::default();
    let rounds = |node: &&Node| node.domain.is_empty() && quantised::ROUNDING.contains(&node.op.as_str());
    for node in nodes.iter().filter(rounds).filter(|node| taken(node).any(|id| numeric.contains(&id))) {
        missing.operator(format!("{}, which {}", node.op, quantised::REASON));
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::Unsupported(missing)) }
}

/// The one input on which the measured tensor depends.
fn one_input(
    message: &message::Model,
    inputs: &[Id],
    nodes: &[Node],
    chosen: &Chosen,
    dependent: &HashSet<Id>,
    program: &Program,
) -> Result<Input> {
    let info = |id: Id| message.graph.inputs.iter().find(|input| program.scope.get(input.name) == Some(&id));
    let name = |id: &Id| program.names[*id].clone();
    let used: HashSet<Id> = nodes.iter().flat_map(taken).collect();
    let used: Vec<Id> = inputs.iter().copied().filter(|id| used.contains(id) || *id == chosen.id).collect();
    if !dependent.contains(&chosen.id) || used.is_empty() {
        let input = inputs.first().map_or(String::new(), name);
        return Err(Error::Constant { tensor: name(&chosen.id), input });
    }
    let [id] = used[..] else { return Err(Error::Inputs { inputs: used.iter().map(name).collect() }) };
    let stated = info(id);
    if stated.is_some_and(|info| Kind::of(info.element).is_ok_and(|kind| !kind.is_float())) {
        return Err(Error::IntegerInput { input: name(&id) });
    }
    let sizes = stated.and_then(|info| info.sizes.clone());
    match &sizes {
        Some(sizes) if !(2..=5).contains(&sizes.len()) => Err(Error::InputRank { input: name(&id), rank: sizes.len() }),
        _ => Ok(Input { id, name: name(&id), sizes }),
    }
}

/// Reads the weights that nodes need, and computes the nodes that depend on constants alone.
fn fold(
    nodes: Vec<Node>,
    program: &Program,
    weights: &mut Weights,
    dependent: &HashSet<Id>,
    wanted: &[Id],
) -> Result<(HashMap<Id, Value>, Vec<Node>)> {
    let mut constants: HashMap<Id, Value> = HashMap::new();
    for id in nodes.iter().flat_map(taken).chain(wanted.iter().copied()) {
        if constants.contains_key(&id) {
            continue;
        }
        if let Some(constant) = program.constants.get(&id) {
            constants.insert(
                id,
                match constant {
                    crate::build::Constant::Stored(tensor) => weights.read(tensor)?,
                    crate::build::Constant::Value(value) => value.clone(),
                },
            );
        }
    }
    let device = weights.device;
    let context =
        Context { dtype: weights.dtype, device, names: &program.names, freed: None, most: MOST_FOLDED, rounds: false };
    let mut left = Vec::new();
    for node in nodes {
        if taken(&node).any(|id| dependent.contains(&id)) {
            left.push(node);
            continue;
        }
        let mut values = Values::new(&constants);
        evaluate(&node, &mut values, context)?;
        let found: Vec<(Id, Value)> =
            node.outputs.iter().flatten().filter_map(|id| Some((*id, values.get(*id)?.clone()))).collect();
        constants.extend(found);
    }
    // Constants that only folded nodes needed are not kept.
    let used: HashSet<Id> = left.iter().flat_map(taken).chain(wanted.iter().copied()).collect();
    constants.retain(|id, _| used.contains(id));
    Ok((constants, left))
}
