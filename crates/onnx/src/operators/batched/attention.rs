//! Softmax, and attention as one operation: the operator of the standard, and the products and the softmax that exporters write.

use candle_core::Tensor;
use ops::{AttentionLinearization, AttentionSettings, Linearized, SoftmaxLinearization};

use super::push_linearized;
use crate::Result;
use crate::layout::{Back, Layout};
use crate::linearization::{Entry, Operand, Pass, Vjp};
use crate::node::{Id, Node};
use crate::value::{Value, axis};

pub(super) fn softmax(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let (rank, Layout::Rows(rows)) = (operand.dims().len(), operand.layout) else { return Ok(None) };
    let axis = axis(node.integer("axis", if node.version < 13 { 1 } else { -1 })?, rank)?;
    if rank < 2 || axis != rank - 1 || rows.at == rank - 1 {
        return Ok(None);
    }
    push_linearized(SoftmaxLinearization::at(&operand.tensor)?, &operand, output, pass)
}

/// The nodes of an attention softmax(factor·q·kᵀ + bias)·v.
#[derive(Debug, Clone)]
pub(crate) struct AttentionNodes {
    q: Id,
    k_transposed: Id,
    v: Id,
    factor: f64,
    bias: Option<Tensor>,
    /// The output of the last product.
    pub(crate) output: Id,
}

/// What follows a product of queries and keys, up to the product with the values.
struct Chain {
    factor: f64,
    bias: Option<Tensor>,
    /// The nodes that the fused operation does.
    nodes: Vec<usize>,
    /// The product with the values.
    last: usize,
}

/// Whether the product of two tensors begins an attention. Its nodes are then left to the last of them.
pub(super) fn begins(node: &Node, output: Id, pass: &mut Pass) -> Result<bool> {
    let (Some(q), Some(k)) = (pass.operand(node, 0), pass.operand(node, 1)) else { return Ok(false) };
    let &[_, heads, tokens, width] = q.tensor.dims() else { return Ok(false) };
    let is_square = k.tensor.dims() == [pass.samples, heads, width, tokens];
    if q.layout != Layout::FIRST || k.layout != Layout::FIRST || !is_square {
        return Ok(false);
    }
    let Some(Chain { factor, bias, nodes, last }) = chain(output, [heads, tokens], pass)? else { return Ok(false) };
    let end = &pass.nodes[last];
    let (Some(&Some(v)), Some(&Some(output))) = (end.inputs.get(1), end.outputs.first()) else { return Ok(false) };
    if pass.shape(v) != Some(q.tensor.dims()) {
        return Ok(false);
    }
    nodes.into_iter().for_each(|at| pass.skip(at));
    pass.expect_attention(last, AttentionNodes { q: q.id, k_transposed: k.id, v, factor, bias, output });
    Ok(true)
}

/// Follows a factor, a summand, the softmax and the product with the values.
fn chain(product: Id, [heads, tokens]: [usize; 2], pass: &Pass) -> Result<Option<Chain>> {
    let mut chain = Chain { factor: 1.0, bias: None, nodes: Vec::new(), last: 0 };
    let mut id = product;
    let mut constant_next = |op: &str, id: &mut Id| -> Result<Option<Value>> {
        let Some((at, node)) = pass.only_consumer(*id, op) else { return Ok(None) };
        let other = node.inputs.iter().find(|input| **input != Some(*id));
        let (Some(value), Some(&Some(result))) = (pass.known(other), node.outputs.first()) else { return Ok(None) };
        // The quotient of a constant and the product is no factor.
        if op == "Div" && node.inputs.first() != Some(&Some(*id)) {
            return Ok(None);
        }
        if op != "Add" && value.count() != 1 {
            return Ok(None);
        }
        chain.nodes.push(at);
        *id = result;
        Ok(Some(value))
    };
    if let Some(value) = constant_next("Mul", &mut id)? {
        chain.factor = value.number()?;
    } else if let Some(value) = constant_next("Div", &mut id)? {
        chain.factor = 1.0 / value.number()?;
    }
    if let Some(value) = constant_next("Add", &mut id)? {
        let Value::Float(summand) = value else { return Ok(None) };
        let dims = summand.dims();
        let fits = dims.len() <= 4 && (dims.len() < 4 || dims[0] == 1);
        if !fits || summand.elem_count() == 0 {
            return Ok(None);
        }
        let last: Vec<usize> = dims.iter().skip(dims.len().saturating_sub(3)).copied().collect();
        let Ok(bias) = summand.reshape(last)?.broadcast_as((heads, tokens, tokens)) else { return Ok(None) };
        chain.bias = Some(bias.contiguous()?);
    }
    let Some((softmax, node)) = pass.only_consumer(id, "Softmax") else { return Ok(None) };
    if axis(node.integer("axis", if node.version < 13 { 1 } else { -1 })?, 4)? != 3 {
        return Ok(None);
    }
    let Some(&Some(weights)) = node.outputs.first() else { return Ok(None) };
    chain.nodes.push(softmax);
    let Some((last, end)) = pass.only_consumer(weights, "MatMul") else { return Ok(None) };
    if end.inputs.first() != Some(&Some(weights)) {
        return Ok(None);
    }
    chain.last = last;
    Ok(Some(chain))
}

/// The attention whose last product comes now.
pub(super) fn fused(nodes: &AttentionNodes, pass: &mut Pass) -> Result<Option<()>> {
    let operands = [nodes.q, nodes.k_transposed, nodes.v].map(|id| pass.operand_of(id));
    let [Some(q), Some(k), Some(v)] = operands else { return Ok(None) };
    if v.layout != Layout::FIRST {
        return Ok(None);
    }
    let parts = [by_token(&q.tensor)?, by_token(&k.tensor.transpose(2, 3)?)?, by_token(&v.tensor)?];
    let heads = q.tensor.dim(1)?;
    let settings = AttentionSettings { scale: Some(nodes.factor), ..AttentionSettings::new(heads) };
    let packed = Tensor::cat(&parts, 2)?;
    let operation = AttentionLinearization::at(&packed, nodes.bias.as_ref(), None, settings)?;
    let entry = Entry::new(by_head(&operation.value()?, heads)?, Layout::FIRST);
    let vjp: Vjp = Box::new(move |g| {
        let [q, k, v] = unpacked(&operation, &by_token(g)?)?;
        Ok(vec![by_head(&q, heads)?, by_head(&k, heads)?.transpose(2, 3)?.contiguous()?, by_head(&v, heads)?])
    });
    pass.push(vec![q.id, k.id, v.id], nodes.output, entry, vjp);
    Ok(Some(()))
}

/// `[n, heads, t, d]` as `[n, t, heads·d]`.
fn by_token(x: &Tensor) -> Result<Tensor> {
    Ok(x.transpose(1, 2)?.contiguous()?.flatten_from(2)?)
}

/// The inverse of [`by_token`].
fn by_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (n, tokens, width) = x.dims3()?;
    Ok(x.contiguous()?.reshape((n, tokens, heads, width / heads.max(1)))?.transpose(1, 2)?.contiguous()?)
}

/// The cotangents of queries, keys and values, `[k·n, t, heads·d]` each.
fn unpacked(operation: &AttentionLinearization, g: &Tensor) -> Result<[Tensor; 3]> {
    let packed = operation.gradients(g, false)?.input;
    let width = packed.dim(2)? / 3;
    let part = |at: usize| packed.narrow(2, at * width, width);
    Ok([part(0)?, part(1)?, part(2)?])
}

/// The operator `Attention` with queries, keys and values of one shape, without a mask or past keys.
pub(super) fn attention(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let mut operands: Vec<Operand> = Vec::with_capacity(3);
    for at in 0..3 {
        let Some(operand) = pass.rows(node, at)?.filter(|operand| operand.layout == Layout::FIRST) else {
            return Ok(None);
        };
        operands.push(operand);
    }
    let Some(settings) = super::super::attention::plain_settings(node, operands[0].tensor.dims())? else {
        return Ok(None);
    };
    if operands.iter().any(|operand| operand.tensor.dims() != operands[0].tensor.dims()) {
        return Ok(None);
    }
    let has_heads = operands[0].tensor.rank() == 4;
    let flat = |x: &Tensor| if has_heads { by_token(x) } else { Ok(x.clone()) };
    let parts = operands.iter().map(|operand| flat(&operand.tensor)).collect::<Result<Vec<_>>>()?;
    let operation = AttentionLinearization::at(&Tensor::cat(&parts, 2)?, None, None, settings)?;
    let heads = settings.heads;
    let shaped = move |x: &Tensor| if has_heads { by_head(x, heads) } else { Ok(x.contiguous()?) };
    let entry = Entry::new(shaped(&operation.value()?)?, Layout::FIRST);
    let backs: Vec<Back> = operands.iter().map(|operand| operand.back).collect();
    let vjp: Vjp = Box::new(move |g| {
        let g = if has_heads { by_token(g)? } else { g.clone() };
        let parts = unpacked(&operation, &g)?;
        parts.iter().zip(&backs).map(|(part, back)| back.apply(shaped(part)?)).collect()
    });
    pass.push(operands.iter().map(|operand| operand.id).collect(), output, entry, vjp);
    Ok(Some(()))
}
