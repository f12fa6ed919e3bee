//! ONNX files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};

use crate::build::{Constant, Program, build};
use crate::error::malformed;
use crate::evaluate::{Context, Values, evaluate};
use crate::graph::{Graph, Parts};
use crate::input::Inputs;
use crate::layer_graphs::LayerGraphs;
use crate::mapped::Mapped;
use crate::measured::{self, Chosen};
use crate::message;
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
        message::Model::read(self.bytes())
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
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
        weights.own_bytes = self.bytes().len();
        let mut program = build(&message, &mut weights)?;
        let inputs = Inputs::of(&message, &program);
        let dependent = dependent(&program, &inputs.ids);
        let choose =
            |layer| measured::choose(&program, &dependent, layer).map_err(|error| inputs.instead_of(error, &program));
        let all: Vec<Chosen> = layers.iter().map(choose).collect::<Result<_>>()?;
        let chosen = all.last().cloned().ok_or(Error::NoLayers)?;
        let wanted: Vec<Id> = all.iter().flat_map(Chosen::wanted).collect();
        let nodes = needed(std::mem::take(&mut program.nodes), &wanted);
        let missing = operators::missing(&nodes);
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        let numeric = control::numeric(&nodes, &inputs.ids);
        control::require_fixed_counts(&nodes, &numeric, &program.names)?;
        require_smooth(&nodes, &numeric)?;
        let input = |chosen| inputs.one(&nodes, chosen, &dependent, &program);
        all.iter().try_for_each(|chosen| input(chosen).map(|_| ()))?;
        let input = input(&chosen)?;
        let (constants, nodes) = fold(nodes, &program, &mut weights, &dependent, &wanted)?;
        let kept = all.iter().map(|chosen| chosen.id).collect();
        let device = device.clone();
        Ok((Parts { input, nodes, constants, names: program.names, chosen, kept, dtype, device }, all))
    }
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

/// Reads the weights that nodes need, and computes the nodes that depend on constants alone.
fn fold(
    nodes: Vec<Node>,
    program: &Program,
    weights: &mut Weights,
    dependent: &HashSet<Id>,
    wanted: &[Id],
) -> Result<(HashMap<Id, Value>, Vec<Node>)> {
    let stored = stored(&nodes, program, weights, wanted)?;
    let device = weights.device;
    let context = Context {
        dtype: weights.dtype,
        device,
        names: &program.names,
        freed: None,
        most: MOST_FOLDED,
        rounds: false,
        unrounded_lengths: false,
    };
    let mut values = Values::limited(&stored, weights.most_numbers());
    let mut left = Vec::new();
    for node in nodes {
        if taken(&node).any(|id| dependent.contains(&id)) {
            left.push(node);
        } else {
            evaluate(&node, &mut values, context)?;
        }
    }
    // Constants that only folded nodes needed are not kept.
    let used: HashSet<Id> = left.iter().flat_map(taken).chain(wanted.iter().copied()).collect();
    let computed = values.into_computed();
    let constants = stored.into_iter().chain(computed).filter(|(id, _)| used.contains(id)).collect();
    Ok((constants, left))
}

/// The constants that nodes take, and those that are wanted.
fn stored(nodes: &[Node], program: &Program, weights: &mut Weights, wanted: &[Id]) -> Result<HashMap<Id, Value>> {
    let mut constants: HashMap<Id, Value> = HashMap::new();
    let mut numbers = 0usize;
    for id in nodes.iter().flat_map(taken).chain(wanted.iter().copied()) {
        let Some(constant) = program.constants.get(&id).filter(|_| !constants.contains_key(&id)) else { continue };
        let value = match constant {
            Constant::Stored(tensor) => weights.read(tensor)?,
            Constant::Value(value) => value.clone(),
        };
        // A function that is called often can hold a constant, which is then read for each call.
        numbers = numbers.saturating_add(value.count());
        if numbers > weights.most_numbers() {
            return Err(malformed(
                "GraphProto",
                format!("its constants have more than {} numbers", weights.most_numbers()),
            ));
        }
        constants.insert(id, value);
    }
    Ok(constants)
}
