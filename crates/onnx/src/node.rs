//! Nodes with their attributes, as they are evaluated.

use std::sync::Arc;

use crate::Result;
use crate::error::operand;
use crate::value::Value;

/// The number of a value in its graph.
pub(crate) type Id = usize;

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name, with the names of the functions that contain it; may be empty.
    pub(crate) name: String,
    pub(crate) op: String,
    /// Empty for the standard's own operators.
    pub(crate) domain: String,
    /// The version of its operator set.
    pub(crate) version: i64,
    pub(crate) attributes: Vec<(String, Attribute)>,
    /// `None` for an optional input that is left out.
    pub(crate) inputs: Vec<Option<Id>>,
    /// `None` for an output that is not used.
    pub(crate) outputs: Vec<Option<Id>>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(crate) enum Attribute {
    Integer(i64),
    Float(f32),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    Tensor(Value),
    /// A branch of `If`, or a body of `Loop` or `Scan`, which sees the values around it.
    Branch(Arc<Branch>),
    /// Types and lists that no supported operator has.
    Other,
}

/// A graph within a node.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Id>,
    /// The values that a body of `Loop` or `Scan` is given; a branch of `If` has none.
    pub(crate) inputs: Vec<Id>,
}

impl Node {
    /// The name for messages: its own, or that of its operator.
    pub(crate) fn display<'a>(&'a self, names: &'a [String]) -> &'a str {
        let output = || self.outputs.iter().flatten().next().and_then(|id| names.get(*id));
        if self.name.is_empty() { output().map_or("", String::as_str) } else { &self.name }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// An integer, or its default.
    pub(crate) fn integer(&self, name: &str, default: i64) -> Result<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Integer(value)) => Ok(*value),
            Some(other) => Err(wrong(name, "an integer", other)),
        }
    }

    /// Whether an integer is not 0.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.integer(name, i64::from(default))? != 0)
    }

    /// A float, or its default.
    pub(crate) fn float(&self, name: &str, default: f32) -> Result<f64> {
        match self.attribute(name) {
            None => Ok(f64::from(default)),
            Some(Attribute::Float(value)) => Ok(f64::from(*value)),
            Some(other) => Err(wrong(name, "a float", other)),
        }
    }

    /// A text, or its default.
    pub(crate) fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Text(value)) => Ok(value),
            Some(other) => Err(wrong(name, "a text", other)),
        }
    }

    /// A list of integers, if it is there.
    pub(crate) fn integers(&self, name: &str) -> Result<Option<&[i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Integers(values)) => Ok(Some(values)),
            Some(other) => Err(wrong(name, "a list of integers", other)),
        }
    }

    /// A list of texts, if it is there.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<&[String]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Texts(values)) => Ok(Some(values)),
            Some(other) => Err(wrong(name, "a list of texts", other)),
        }
    }

    /// A list of floats, if it is there.
    pub(crate) fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(other) => Err(wrong(name, "a list of floats", other)),
        }
    }
}

fn wrong(name: &str, expected: &str, got: &Attribute) -> crate::Error {
    let kind = match got {
        Attribute::Integer(_) => "an integer",
        Attribute::Float(_) => "a float",
        Attribute::Text(_) => "a text",
        Attribute::Integers(_) => "a list of integers",
        Attribute::Floats(_) => "a list of floats",
        Attribute::Texts(_) => "a list of texts",
        Attribute::Tensor(_) => "a tensor",
        Attribute::Branch(_) => "a graph",
        Attribute::Other => "another type",
    };
    operand(format!("the attribute `{name}` is {kind}, expected {expected}"))
}
