//! Operators with VJPs of several cotangents per sample, by the rules of the crate `ops`.
//!
//! Row r of a cotangent belongs to sample r mod n. How tensors are stored says [`Layout`](crate::layout::Layout).

mod arithmetic;
mod attention;
mod images;
mod linear;
mod norms;
mod shapes;

use candle_core::Tensor;
use ops::Linearized;

pub(crate) use attention::AttentionNodes;

use super::activation::with_slope_rule;
use super::{Call, apply};
use crate::Result;
use crate::linearization::{Entry, Operand, Pass};
use crate::message::Kind;
use crate::node::{Id, Node};
use crate::value::Value;

/// Operators with a rule here, beside elementwise functions.
const OPERATORS: [&str; 32] = [
    "Add",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GroupNormalization",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "Mul",
    "RMSNormalization",
    "ReduceMean",
    "Reshape",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// Whether a node may have a rule; [`step`] decides by its sizes.
pub(crate) fn has_rule(node: &Node) -> bool {
    let op = node.op.as_str();
    // Integers that depend on the numbers of the input have no derivative.
    let is_float =
        op != "Cast" || node.integer("to", 0).ok().and_then(|to| Kind::of(to).ok()).is_some_and(Kind::is_float);
    is_float && node.domain.is_empty() && (OPERATORS.contains(&op) || op == "Relu" || with_slope_rule(op))
}

/// Evaluates a node and records its VJP. False if this form of the node has no rule.
pub(crate) fn step(node: &Node, pass: &mut Pass) -> Result<bool> {
    let outputs = || node.outputs.iter().flatten();
    if outputs().all(|id| pass.known(Some(&Some(*id))).is_some()) {
        return Ok(true);
    }
    if node.inputs.iter().all(|id| id.is_none() || pass.known(Some(id)).is_some()) {
        return independent(node, pass);
    }
    let Some(&Some(output)) = node.outputs.first() else { return Ok(false) };
    let done = match node.op.as_str() {
        "Conv" => images::convolution(node, output, pass)?,
        "Relu" => images::relu(node, output, pass)?,
        "MaxPool" => images::max_pool(node, output, pass)?,
        "AveragePool" => images::average_pool(node, output, pass)?,
        "GlobalAveragePool" => images::global_mean(node, output, true, pass)?,
        "ReduceMean" => images::reduce_mean(node, output, pass)?,
        "BatchNormalization" => images::batch_norm(node, output, pass)?,
        "LayerNormalization" | "RMSNormalization" => norms::last_dimension(node, output, pass)?,
        "GroupNormalization" | "InstanceNormalization" => norms::of_images(node, output, pass)?,
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => shapes::reshape(node, output, pass)?,
        "Transpose" => shapes::transpose(node, output, pass)?,
        "Gather" => shapes::gather(node, output, pass)?,
        "Slice" => shapes::slice(node, output, pass)?,
        "Split" => shapes::split(node, pass)?,
        "Expand" => shapes::expand(node, output, pass)?,
        "Concat" => shapes::concat(node, output, pass)?,
        "Gemm" => linear::by_constant(node, output, pass)?,
        "MatMul" => matrix_product(node, output, pass)?,
        "Softmax" => attention::softmax(node, output, pass)?,
        "Attention" => attention::attention(node, output, pass)?,
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::binary(node, output, pass)?,
        "Identity" | "Dropout" | "Cast" => arithmetic::pass_through(node, output, pass)?,
        op if op == "Clip" || with_slope_rule(op) => arithmetic::elementwise(node, output, pass)?,
        _ => None,
    };
    Ok(done.is_some())
}

/// A node on values that do not depend on the numbers of the input.
fn independent(node: &Node, pass: &mut Pass) -> Result<bool> {
    let inputs: Vec<Option<Value>> = node.inputs.iter().map(|id| pass.known(Some(id))).collect();
    let values = apply(&Call { node, inputs: &inputs, context: pass.context })?;
    for (id, value) in node.outputs.iter().zip(values) {
        if let Some(id) = id {
            pass.set_known(*id, value);
        }
    }
    Ok(true)
}

/// The product with a constant matrix, the first or the last product of an attention, or one of two other tensors.
fn matrix_product(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    if pass.known(node.inputs.get(1)).is_some() {
        return linear::by_constant(node, output, pass);
    }
    if let Some(nodes) = pass.attention_at(output).cloned() {
        return attention::fused(&nodes, pass);
    }
    if attention::begins(node, output, pass)? {
        return Ok(Some(()));
    }
    linear::of_two(node, output, pass)
}

/// Adds an operation of the crate `ops` on one operand, which gives its VJP.
fn push_linearized(
    operation: impl Linearized + 'static,
    operand: &Operand,
    output: Id,
    pass: &mut Pass,
) -> Result<Option<()>> {
    let entry = Entry::new(operation.value()?, operand.layout);
    let back = operand.back;
    let vjp = move |g: &Tensor| Ok(vec![back.apply(operation.gradients(g, false)?.input)?]);
    pass.push(vec![operand.id], output, entry, Box::new(vjp));
    Ok(Some(()))
}

/// The dimensions that an attribute or the second input names.
fn axes(node: &Node, pass: &Pass, rank: usize) -> Result<Option<Vec<usize>>> {
    let given = match (node.integers("axes")?, pass.known(node.inputs.get(1))) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(value)) => value.whole()?.data.to_vec(),
        (None, None) => return Ok(None),
    };
    given.iter().map(|at| crate::value::axis(*at, rank)).collect::<Result<Vec<_>>>().map(Some)
}
