//! From the messages of a file to nodes with numbered values: functions are inlined, names are resolved, constants are found.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::malformed;
use crate::message::{self, AttributeValue, Function, Kind, Opsets};
use crate::node::{Attribute, Branch, Id, Node};
use crate::value::{Value, Whole};
use crate::weights::Weights;
use crate::{Error, Result};

/// The most nodes after inlining. Functions within functions can multiply a small file.
const MOST_NODES: usize = 1 << 18;
/// The most bytes of names and attributes after inlining.
const MOST_BYTES: usize = 1 << 27;
/// The deepest nesting of functions and branches.
const DEEPEST: usize = 64;

/// A constant of the graph. Weights are read only where a node needs them.
#[derive(Debug)]
pub(crate) enum Constant<'a> {
    Stored(message::Tensor<'a>),
    Value(Value),
}

/// The nodes of a graph in topological order, with numbered values.
#[derive(Debug, Default)]
pub(crate) struct Program<'a> {
    pub(crate) nodes: Vec<Node>,
    /// The name of each value.
    pub(crate) names: Vec<String>,
    pub(crate) constants: HashMap<Id, Constant<'a>>,
    /// The values of the graph itself, without those within functions and branches.
    pub(crate) scope: HashMap<&'a str, Id>,
    pub(crate) outputs: Vec<Id>,
}

/// The names that are visible at one place. A branch sees the names around it, a function does not.
struct Scope<'a, 's> {
    around: Option<&'s Scope<'a, 's>>,
    names: HashMap<&'a str, Option<Id>>,
}

impl<'a> Scope<'a, '_> {
    fn find(&self, name: &str) -> Option<Option<Id>> {
        self.names.get(name).copied().or_else(|| self.around?.find(name))
    }
}

/// Where a list of nodes is: in the graph, or in functions that were called.
struct Place<'a, 'p> {
    opsets: &'p Opsets<'a>,
    /// The names of the calls, each followed by `/`.
    prefix: String,
    /// The attributes to which the nodes of a function may refer.
    arguments: HashMap<&'a str, AttributeValue<'a>>,
    depth: usize,
}

/// Builds programs; holds what is shared by all places.
struct Builder<'a, 'b, 'w> {
    functions: HashMap<(&'a str, &'a str), &'b Function<'a>>,
    weights: &'b mut Weights<'w>,
    names: Vec<String>,
    constants: HashMap<Id, Constant<'a>>,
    count: usize,
    /// Bytes of names and attributes so far.
    bytes: usize,
}

/// The program of a model.
pub(crate) fn build<'a>(model: &message::Model<'a>, weights: &mut Weights) -> Result<Program<'a>> {
    let functions = model.functions.iter().map(|function| ((function.domain, function.name), function)).collect();
    let mut builder = Builder { functions, weights, names: Vec::new(), constants: HashMap::new(), count: 0, bytes: 0 };
    let mut scope = Scope { around: None, names: HashMap::new() };
    let place = Place { opsets: &model.opsets, prefix: String::new(), arguments: HashMap::new(), depth: 0 };
    let (nodes, outputs) = builder.graph(&model.graph, &mut scope, &place)?;
    let scope = scope.names.into_iter().filter_map(|(name, id)| Some((name, id?))).collect();
    Ok(Program { nodes, names: builder.names, constants: builder.constants, scope, outputs })
}

impl<'a> Builder<'a, '_, '_> {
    /// A new value.
    fn value(&mut self, name: String) -> Result<Id> {
        self.take(name.len())?;
        self.names.push(name);
        Ok(self.names.len() - 1)
    }

    /// Counts the bytes of a name or an attribute. Functions that are called often can multiply those of a small file.
    fn take(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MOST_BYTES {
            return Err(malformed("GraphProto", format!("its names and attributes have more than {MOST_BYTES} bytes")));
        }
        Ok(())
    }

    /// The nodes and outputs of a graph, whose names are added to `scope`.
    fn graph(
        &mut self,
        graph: &message::Graph<'a>,
        scope: &mut Scope<'a, '_>,
        place: &Place<'a, '_>,
    ) -> Result<(Vec<Node>, Vec<Id>)> {
        if graph.sparse > 0 {
            return Err(malformed(
                "GraphProto",
                "sparse initializers are not supported; store the weights as dense tensors",
            ));
        }
        for tensor in &graph.initializers {
            let id = self.value(format!("{}{}", place.prefix, tensor.name))?;
            scope.names.insert(tensor.name, Some(id));
            self.constants.insert(id, Constant::Stored(tensor.clone()));
        }
        for input in &graph.inputs {
            if !scope.names.contains_key(input.name) {
                let id = self.value(format!("{}{}", place.prefix, input.name))?;
                scope.names.insert(input.name, Some(id));
            }
        }
        let nodes = self.nodes(&graph.nodes, scope, place)?;
        let mut outputs = Vec::new();
        for output in &graph.outputs {
            let id = scope.find(output.name).flatten();
            outputs.push(
                id.ok_or_else(|| malformed("GraphProto", format!("no node computes the output `{}`", output.name)))?,
            );
        }
        Ok((nodes, outputs))
    }

    fn nodes(
        &mut self,
        nodes: &[message::Node<'a>],
        scope: &mut Scope<'a, '_>,
        place: &Place<'a, '_>,
    ) -> Result<Vec<Node>> {
        let mut built = Vec::new();
        for node in nodes {
            self.count += 1;
            if self.count > MOST_NODES {
                return Err(malformed("GraphProto", format!("there are more than {MOST_NODES} nodes")));
            }
            self.node(node, scope, place, &mut built)?;
        }
        Ok(built)
    }

    fn node(
        &mut self,
        node: &message::Node<'a>,
        scope: &mut Scope<'a, '_>,
        place: &Place<'a, '_>,
        built: &mut Vec<Node>,
    ) -> Result<()> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match (name.is_empty(), scope.find(name)) {
                (true, _) => None,
                (false, Some(id)) => id,
                (false, None) => {
                    let reason = format!("node `{}` takes `{name}`, which nothing before it computes", node.name);
                    return Err(malformed("GraphProto", reason));
                }
            });
        }
        if let Some(function) = self.functions.get(&(node.domain, node.op)).copied() {
            return self.call(function, node, inputs, scope, place, built);
        }
        self.take(place.prefix.len() + node.name.len() + node.op.len())?;
        let attributes = self.attributes(node, scope, place)?;
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for name in &node.outputs {
            outputs.push(if name.is_empty() { None } else { Some(self.define(name, scope, place)?) });
        }
        if node.op == "Constant"
            && node.domain.is_empty()
            && self.constant(node, place, outputs.first().copied().flatten())?
        {
            return Ok(());
        }
        let domain = if node.domain == "ai.onnx" { "" } else { node.domain };
        built.push(Node {
            name: if node.name.is_empty() { String::new() } else { format!("{}{}", place.prefix, node.name) },
            op: node.op.to_owned(),
            domain: domain.to_owned(),
            version: place.opsets.version(domain).unwrap_or(0),
            attributes,
            inputs,
            outputs,
        });
        Ok(())
    }

    /// A new value with a name in this scope.
    fn define(&mut self, name: &'a str, scope: &mut Scope<'a, '_>, place: &Place<'a, '_>) -> Result<Id> {
        let id = self.value(format!("{}{name}", place.prefix))?;
        match scope.names.insert(name, Some(id)) {
            None => Ok(id),
            Some(_) => Err(malformed("GraphProto", format!("`{name}` is computed twice"))),
        }
    }

    /// The nodes of a function, for this call.
    fn call(
        &mut self,
        function: &Function<'a>,
        node: &message::Node<'a>,
        inputs: Vec<Option<Id>>,
        scope: &mut Scope<'a, '_>,
        place: &Place<'a, '_>,
        built: &mut Vec<Node>,
    ) -> Result<()> {
        if place.depth >= DEEPEST {
            return Err(malformed("FunctionProto", format!("functions are nested more than {DEEPEST} deep")));
        }
        let mut inner = Scope { around: None, names: HashMap::new() };
        for (index, name) in function.inputs.iter().enumerate() {
            inner.names.insert(name, inputs.get(index).copied().flatten());
        }
        let mut arguments: HashMap<&str, AttributeValue> =
            function.defaults.iter().map(|attribute| (attribute.name, attribute.value.clone())).collect();
        for attribute in &node.attributes {
            if let Some(value) = resolved(&attribute.value, place) {
                arguments.insert(attribute.name, value);
            }
        }
        let call = if node.name.is_empty() { function.name } else { node.name };
        let opsets = if function.opsets.0.is_empty() { place.opsets } else { &function.opsets };
        let inside = Place { opsets, prefix: format!("{}{call}/", place.prefix), arguments, depth: place.depth + 1 };
        built.extend(self.nodes(&function.nodes, &mut inner, &inside)?);
        for (index, name) in node.outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let id = function.outputs.get(index).and_then(|own| inner.find(own)).flatten();
            let id =
                id.ok_or_else(|| malformed("FunctionProto", format!("`{call}` does not compute its output {index}")))?;
            if let Some(shown) = self.names.get_mut(id) {
                *shown = format!("{}{name}", place.prefix);
            }
            if scope.names.insert(name, Some(id)).is_some() {
                return Err(malformed("GraphProto", format!("`{name}` is computed twice")));
            }
        }
        Ok(())
    }

    fn attributes(
        &mut self,
        node: &message::Node<'a>,
        scope: &Scope<'a, '_>,
        place: &Place<'a, '_>,
    ) -> Result<Vec<(String, Attribute)>> {
        let mut attributes = Vec::new();
        for attribute in &node.attributes {
            // A reference to an attribute that the call does not have is no attribute.
            let Some(value) = resolved(&attribute.value, place) else { continue };
            self.take(attribute.name.len() + bytes(&value))?;
            let value = match value {
                AttributeValue::Integer(value) => Attribute::Integer(value),
                AttributeValue::Float(value) => Attribute::Float(value),
                AttributeValue::Text(value) => Attribute::Text(String::from_utf8_lossy(value).into_owned()),
                AttributeValue::Integers(values) => Attribute::Integers(values),
                AttributeValue::Floats(values) => Attribute::Floats(values),
                AttributeValue::Texts(values) => {
                    Attribute::Texts(values.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
                }
                // No other operator has a tensor as an attribute. The value of a constant is read only if it is needed.
                AttributeValue::Tensor(_) if node.op != "ConstantOfShape" => Attribute::Other,
                AttributeValue::Tensor(tensor) => match self.weights.read(&tensor) {
                    Ok(value) => {
                        self.take(8 * value.count())?;
                        Attribute::Tensor(value)
                    }
                    Err(Error::ElementType { .. }) => Attribute::Other,
                    Err(error) => return Err(error),
                },
                AttributeValue::Graph(bytes) if matches!(node.op, "If" | "Loop" | "Scan") => {
                    self.branch(bytes, scope, place)?
                }
                AttributeValue::Graph(_) | AttributeValue::Reference(_) | AttributeValue::Other => Attribute::Other,
            };
            attributes.push((attribute.name.to_owned(), value));
        }
        Ok(attributes)
    }

    fn branch(&mut self, bytes: &'a [u8], scope: &Scope<'a, '_>, place: &Place<'a, '_>) -> Result<Attribute> {
        if place.depth >= DEEPEST {
            return Err(malformed("GraphProto", format!("graphs are nested more than {DEEPEST} deep")));
        }
        let graph = message::Graph::read(bytes)?;
        let mut inner = Scope { around: Some(scope), names: HashMap::new() };
        let inside = Place {
            opsets: place.opsets,
            prefix: place.prefix.clone(),
            arguments: place.arguments.clone(),
            depth: place.depth + 1,
        };
        let (nodes, outputs) = self.graph(&graph, &mut inner, &inside)?;
        let inputs = graph.inputs.iter().filter_map(|input| inner.names.get(input.name).copied().flatten()).collect();
        Ok(Attribute::Branch(Arc::new(Branch { nodes, outputs, inputs })))
    }

    /// Records the value of a `Constant`. Returns false for kinds that are not supported.
    fn constant(&mut self, node: &message::Node<'a>, place: &Place<'a, '_>, output: Option<Id>) -> Result<bool> {
        let Some(output) = output else { return Ok(true) };
        let found = node.attributes.iter().find_map(|attribute| resolved(&attribute.value, place));
        let constant = match found {
            Some(AttributeValue::Tensor(tensor)) => Constant::Stored(tensor),
            Some(AttributeValue::Integer(value)) => Constant::Value(Whole::new(Kind::I64, vec![], vec![value]).into()),
            Some(AttributeValue::Integers(values)) => Constant::Value(Whole::list(values).into()),
            Some(AttributeValue::Float(value)) => Constant::Value(self.floats(&[value], &[])?),
            Some(AttributeValue::Floats(values)) => {
                let count = values.len();
                Constant::Value(self.floats(&values, &[count])?)
            }
            _ => return Ok(false),
        };
        self.constants.insert(output, constant);
        Ok(true)
    }

    fn floats(&self, values: &[f32], dims: &[usize]) -> Result<Value> {
        let tensor = candle_core::Tensor::from_slice(values, dims, &candle_core::Device::Cpu)?;
        Ok(tensor.to_dtype(self.weights.dtype)?.to_device(self.weights.device)?.into())
    }
}

/// The bytes that an attribute takes in a node.
fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Text(text) => text.len(),
        AttributeValue::Integers(values) => 8 * values.len(),
        AttributeValue::Floats(values) => 4 * values.len(),
        AttributeValue::Texts(values) => values.iter().map(|text| text.len() + 24).sum(),
        _ => 8,
    }
}

/// The value of an attribute, after a look at the arguments of the function that contains it.
fn resolved<'a>(value: &AttributeValue<'a>, place: &Place<'a, '_>) -> Option<AttributeValue<'a>> {
    match value {
        AttributeValue::Reference(name) => place.arguments.get(name).cloned(),
        other => Some(other.clone()),
    }
}
