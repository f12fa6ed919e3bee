//! Graphs, nodes, their attributes, and functions.

use super::{Opsets, Tensor, opset, push};
use crate::Result;
use crate::wire::{Field, Fields};

/// `GraphProto`.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) initializers: Vec<Tensor<'a>>,
    pub(crate) inputs: Vec<ValueInfo<'a>>,
    pub(crate) outputs: Vec<ValueInfo<'a>>,
    /// The number of sparse initializers, which are not read.
    pub(crate) sparse: usize,
}

impl<'a> Graph<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "GraphProto";
        let mut graph = Self::default();
        for field in Fields::new(NAME, bytes) {
            match field? {
                (1, value) => push(NAME, &mut graph.nodes, Node::read(value.bytes(NAME)?)?)?,
                (5, value) => push(NAME, &mut graph.initializers, Tensor::read(value.bytes(NAME)?)?)?,
                (11, value) => push(NAME, &mut graph.inputs, ValueInfo::read(value.bytes(NAME)?)?)?,
                (12, value) => push(NAME, &mut graph.outputs, ValueInfo::read(value.bytes(NAME)?)?)?,
                (15, _) => graph.sparse += 1,
                _ => {}
            }
        }
        Ok(graph)
    }
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) op: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "NodeProto";
        let mut node = Self::default();
        for field in Fields::new(NAME, bytes) {
            match field? {
                (1, value) => push(NAME, &mut node.inputs, value.text(NAME)?)?,
                (2, value) => push(NAME, &mut node.outputs, value.text(NAME)?)?,
                (3, value) => node.name = value.text(NAME)?,
                (4, value) => node.op = value.text(NAME)?,
                (5, value) => push(NAME, &mut node.attributes, Attribute::read(value.bytes(NAME)?)?)?,
                (7, value) => node.domain = value.text(NAME)?,
                _ => {}
            }
        }
        Ok(node)
    }
}

/// `AttributeProto`.
#[derive(Debug, Clone)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: AttributeValue<'a>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(crate) enum AttributeValue<'a> {
    Integer(i64),
    Float(f32),
    Text(&'a [u8]),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<&'a [u8]>),
    Tensor(Tensor<'a>),
    /// The bytes of a graph, which is read where it is used.
    Graph(&'a [u8]),
    /// The name of an attribute of the function whose body this is.
    Reference(&'a str),
    /// Sparse tensors, types, and lists of tensors or graphs.
    Other,
}

/// The kinds of `AttributeProto.AttributeType`.
mod kind {
    pub(super) const FLOAT: i64 = 1;
    pub(super) const INT: i64 = 2;
    pub(super) const STRING: i64 = 3;
    pub(super) const TENSOR: i64 = 4;
    pub(super) const GRAPH: i64 = 5;
    pub(super) const FLOATS: i64 = 6;
    pub(super) const INTS: i64 = 7;
    pub(super) const STRINGS: i64 = 8;
}

impl<'a> Attribute<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "AttributeProto";
        let (mut name, mut kind, mut reference) = ("", 0, "");
        let (mut float, mut integer, mut text, mut tensor, mut graph) = (None, None, None, None, None);
        let (mut floats, mut integers, mut texts, mut other) = (Vec::new(), Vec::new(), Vec::new(), false);
        for field in Fields::new(NAME, bytes) {
            match field? {
                (1, value) => name = value.text(NAME)?,
                (2, value) => float = Some(value.float(NAME)?),
                (3, value) => integer = Some(value.integer(NAME)?),
                (4, value) => text = Some(value.bytes(NAME)?),
                (5, value) => tensor = Some(Tensor::read(value.bytes(NAME)?)?),
                (6, value) => graph = Some(value.bytes(NAME)?),
                (7, value) => value.floats(NAME, &mut floats)?,
                (8, value) => value.integers(NAME, &mut integers)?,
                (9, value) => push(NAME, &mut texts, value.bytes(NAME)?)?,
                (10 | 11 | 14 | 15 | 22 | 23, _) => other = true,
                (20, value) => kind = value.integer(NAME)?,
                (21, value) => reference = value.text(NAME)?,
                _ => {}
            }
        }
        let value = if reference.is_empty() {
            // Old files state no kind. Then the field that is there decides.
            let guessed = match (&float, &integer, &text, &tensor, &graph) {
                (Some(_), ..) => kind::FLOAT,
                (_, Some(_), ..) => kind::INT,
                (_, _, Some(_), ..) => kind::STRING,
                (_, _, _, Some(_), _) => kind::TENSOR,
                (.., Some(_)) => kind::GRAPH,
                _ if !floats.is_empty() => kind::FLOATS,
                _ if !integers.is_empty() => kind::INTS,
                _ if !texts.is_empty() => kind::STRINGS,
                _ => 0,
            };
            match if kind == 0 { guessed } else { kind } {
                kind::FLOAT => AttributeValue::Float(float.unwrap_or(0.0)),
                kind::INT => AttributeValue::Integer(integer.unwrap_or(0)),
                kind::STRING => AttributeValue::Text(text.unwrap_or_default()),
                kind::TENSOR => tensor.map_or(AttributeValue::Other, AttributeValue::Tensor),
                kind::GRAPH => graph.map_or(AttributeValue::Other, AttributeValue::Graph),
                kind::FLOATS => AttributeValue::Floats(floats),
                kind::INTS => AttributeValue::Integers(integers),
                kind::STRINGS => AttributeValue::Texts(texts),
                _ if !other => AttributeValue::Integers(integers),
                _ => AttributeValue::Other,
            }
        } else {
            AttributeValue::Reference(reference)
        };
        Ok(Self { name, value })
    }
}

/// `ValueInfoProto`: the name of an input or output, and what is known of its type.
#[derive(Debug, Default)]
pub(crate) struct ValueInfo<'a> {
    pub(crate) name: &'a str,
    /// The number of the element type; 0 where it is not a tensor, or nothing is stated.
    pub(crate) element: i64,
    /// The sizes, `None` where one is free; without a stated shape there are no sizes.
    pub(crate) sizes: Option<Vec<Option<usize>>>,
}

impl<'a> ValueInfo<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "ValueInfoProto";
        let mut info = Self::default();
        for field in Fields::new(NAME, bytes) {
            match field? {
                (1, value) => info.name = value.text(NAME)?,
                (2, value) => info.read_type(value.bytes(NAME)?)?,
                _ => {}
            }
        }
        Ok(info)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<()> {
        const NAME: &str = "TypeProto";
        for field in Fields::new(NAME, bytes) {
            let (1, tensor) = field? else { continue };
            for field in Fields::new(NAME, tensor.bytes(NAME)?) {
                match field? {
                    (1, value) => self.element = value.integer(NAME)?,
                    (2, value) => self.sizes = Some(sizes(value.bytes(NAME)?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// `TensorShapeProto`.
fn sizes(bytes: &[u8]) -> Result<Vec<Option<usize>>> {
    const NAME: &str = "TensorShapeProto";
    let mut sizes = Vec::new();
    for field in Fields::new(NAME, bytes) {
        let (1, dim) = field? else { continue };
        let mut size = None;
        for field in Fields::new(NAME, dim.bytes(NAME)?) {
            if let (1, value) = field? {
                size = usize::try_from(value.integer(NAME)?).ok();
            }
        }
        push(NAME, &mut sizes, size)?;
    }
    Ok(sizes)
}

/// `FunctionProto`: an operator that the model defines by other operators.
#[derive(Debug, Default)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) opsets: Opsets<'a>,
    /// Attributes that have a default value.
    pub(crate) defaults: Vec<Attribute<'a>>,
}

impl<'a> Function<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "FunctionProto";
        let mut function = Self::default();
        for field in Fields::new(NAME, bytes) {
            let (number, value): (u64, Field<'a>) = field?;
            match number {
                1 => function.name = value.text(NAME)?,
                4 => push(NAME, &mut function.inputs, value.text(NAME)?)?,
                5 => push(NAME, &mut function.outputs, value.text(NAME)?)?,
                7 => push(NAME, &mut function.nodes, Node::read(value.bytes(NAME)?)?)?,
                9 => push(NAME, &mut function.opsets.0, opset(value.bytes(NAME)?)?)?,
                10 => function.domain = value.text(NAME)?,
                11 => push(NAME, &mut function.defaults, Attribute::read(value.bytes(NAME)?)?)?,
                _ => {}
            }
        }
        Ok(function)
    }
}
