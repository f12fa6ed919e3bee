//! The operators of the standard, with derivatives.
//!
//! A graph that needs anything that is not in [`TABLE`], or an attribute that an operator does not have here, is refused before
//! anything is computed.

mod activation;
mod affine_grid;
mod arithmetic;
mod attention;
pub(crate) mod batched;
mod columns;
mod compare;
pub(crate) mod control;
mod conv;
mod differentiable;
mod einsum;
mod grid_sample;
pub(crate) mod growth;
mod indexing;
mod joining;
mod linear;
mod norm;
mod padding;
mod pool;
pub(crate) mod quantised;
mod recurrent;
mod reduce;
mod resize;
mod scatter;
mod shape;
mod softmax;
mod table;
mod windows;

#[cfg(test)]
mod tests;

use candle_core::Tensor;

use crate::Result;
use crate::error::operand;
use crate::evaluate::Context;
use crate::missing::Missing;
use crate::node::{Attribute, Node};
use crate::value::{Value, Whole, axis};

pub(crate) use table::TABLE;

/// Operators of several operands that broadcast, element by element.
pub(crate) const ELEMENTWISE: [&str; 23] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Mod",
    "Min",
    "Max",
    "Mean",
    "Sum",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Greater",
    "Less",
    "GreaterOrEqual",
    "LessOrEqual",
    "Where",
    "PRelu",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
];

/// An operator of the standard's own domain.
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    /// The attributes that are evaluated, or whose value does not matter here.
    pub(crate) attributes: &'static [&'static str],
    /// An attribute value that is not supported, as `name = value`.
    pub(crate) refuses: fn(&Node) -> Option<String>,
    pub(crate) run: fn(&Call) -> Result<Vec<Value>>,
}

/// A node with its inputs.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) inputs: &'a [Option<Value>],
    pub(crate) context: Context<'a>,
}

/// The supported operators, in alphabetical order.
///
/// ```
/// assert!(onnx_graph::supported().any(|name| name == "Conv"));
/// ```
pub fn supported() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|operator| operator.name)
}

fn find(node: &Node) -> Option<&'static Operator> {
    if !node.domain.is_empty() {
        return None;
    }
    TABLE.iter().find(|operator| operator.name == node.op)
}

/// The outputs of a node.
pub(crate) fn apply(call: &Call) -> Result<Vec<Value>> {
    let operator = find(call.node).ok_or_else(|| operand("there is no such operator here"))?;
    (operator.run)(call)
}

/// Everything that the nodes need and that is missing here.
pub(crate) fn missing(nodes: &[Node]) -> Missing {
    let mut missing = Missing::default();
    for node in nodes {
        collect(node, &mut missing);
    }
    missing
}

fn collect(node: &Node, missing: &mut Missing) {
    if control::is_control(node) {
        for (_, attribute) in &node.attributes {
            if let Attribute::Branch(branch) = attribute {
                branch.nodes.iter().for_each(|node| collect(node, missing));
            }
        }
        if let Some(refused) = control::refuses(node) {
            missing.attribute(format!("{}: {refused}", node.op));
        }
        return;
    }
    let is_rounding = node.domain.is_empty() && quantised::ROUNDING.contains(&node.op.as_str());
    let Some(operator) = find(node) else {
        let domain = if node.domain.is_empty() { String::new() } else { format!("{}.", node.domain) };
        let reason = if is_rounding { format!(", which {}", quantised::REASON) } else { String::new() };
        return missing.operator(format!("{domain}{}{reason}", node.op));
    };
    for (name, value) in &node.attributes {
        if !operator.attributes.contains(&name.as_str()) {
            missing.attribute(format!("{}: {name} = {}", node.op, shown(value)));
        }
    }
    if let Some(refused) = (operator.refuses)(node) {
        missing.attribute(format!("{}: {refused}", node.op));
    }
}

fn shown(value: &Attribute) -> String {
    match value {
        Attribute::Integer(value) => value.to_string(),
        Attribute::Float(value) => value.to_string(),
        Attribute::Text(value) => value.clone(),
        Attribute::Integers(values) => format!("{values:?}"),
        Attribute::Floats(values) => format!("{values:?}"),
        Attribute::Texts(values) => format!("{values:?}"),
        Attribute::Tensor(value) => format!("a tensor of shape {:?}", value.dims()),
        Attribute::Branch(_) => "a graph".to_owned(),
        Attribute::Other => "a value of another kind".to_owned(),
    }
}

impl Call<'_> {
    /// An input that must be there.
    fn at(&self, index: usize) -> Result<&Value> {
        self.optional(index).ok_or_else(|| operand(format!("input {index} is missing")))
    }

    /// An input that may be left out.
    fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index)?.as_ref()
    }

    /// A tensor of floats.
    fn float(&self, index: usize) -> Result<&Tensor> {
        self.at(index)?.float()
    }

    /// A tensor of floats that may be left out.
    fn optional_float(&self, index: usize) -> Result<Option<&Tensor>> {
        self.optional(index).map(Value::float).transpose()
    }

    /// A list of integers.
    fn list(&self, index: usize) -> Result<Vec<i64>> {
        Ok(self.at(index)?.whole()?.data.to_vec())
    }

    /// A list of integers that is an attribute in old operator sets and an input in new ones.
    fn list_or_attribute(&self, name: &str, index: usize) -> Result<Option<Vec<i64>>> {
        match (self.node.integers(name)?, self.optional(index)) {
            (Some(list), _) => Ok(Some(list.to_vec())),
            (None, Some(value)) => Ok(Some(value.whole()?.data.to_vec())),
            (None, None) => Ok(None),
        }
    }

    /// The attribute `axis` as a dimension of `rank`.
    fn axis(&self, default: i64, rank: usize) -> Result<usize> {
        axis(self.node.integer("axis", default)?, rank)
    }

    /// An array as a float tensor of the network.
    fn as_float(&self, whole: &Whole) -> Result<Tensor> {
        whole.to_tensor(self.context.dtype, self.context.device)
    }

    /// Refuses to produce more elements from nothing than the context allows.
    fn check_count(&self, dims: &[usize]) -> Result<()> {
        let count = crate::value::checked_count(dims)?;
        if count <= self.context.most {
            return Ok(());
        }
        Err(operand(format!("a constant of shape {dims:?} is too large")))
    }
}

/// One output.
fn one(value: impl Into<Value>) -> Result<Vec<Value>> {
    Ok(vec![value.into()])
}

/// Non-negative sizes.
fn sizes(values: &[i64]) -> Result<Vec<usize>> {
    let size = |size: &i64| usize::try_from(*size).map_err(|_| operand(format!("{values:?} has a negative size")));
    values.iter().map(size).collect()
}
