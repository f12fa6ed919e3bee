//! Elementwise operators.

use candle_core::Tensor;
use ops::nhwc::channel_scale;

use super::super::Call;
use super::super::activation::value_and_slope;
use super::shapes::in_layout;
use crate::Result;
use crate::layout::Layout;
use crate::linearization::{Entry, Operand, Pass, Vjp};
use crate::message::Kind;
use crate::node::{Id, Node};
use crate::value::Value;

/// A constant operand as stored, for an operand of this layout and these sizes; it has one element for all samples.
fn constant(value: &Value, operand: &Operand) -> Result<Option<Tensor>> {
    let Value::Float(tensor) = value else { return Ok(None) };
    if tensor.elem_count() == 1 {
        return Ok(Some(tensor.reshape(1)?));
    }
    let rank = operand.dims().len();
    if tensor.rank() > rank {
        return Ok(None);
    }
    let dims: Vec<usize> = std::iter::repeat_n(1, rank - tensor.rank()).chain(tensor.dims().iter().copied()).collect();
    match operand.layout {
        Layout::Image if dims[0] == 1 => Ok(Some(tensor.reshape(dims)?.permute((0, 2, 3, 1))?.contiguous()?)),
        Layout::Rows(rows) if dims[rows.at] == 1 => {
            // Sizes of 1 in front, and where `outer` and `inner` are.
            let extra = operand.tensor.rank() - rank;
            let before = dims.iter().take(rows.at).copied();
            let after = dims.iter().skip(rows.at + 1).copied();
            let stored = [1].into_iter().chain(before).chain(std::iter::repeat_n(1, extra)).chain(after);
            Ok(Some(tensor.reshape(stored.collect::<Vec<usize>>())?))
        }
        _ => Ok(None),
    }
}

pub(super) fn binary(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let op = node.op.as_str();
    match (pass.operand(node, 0), pass.operand(node, 1)) {
        (Some(a), Some(b)) => two(op, [a, b], output, pass),
        (Some(operand), None) => match pass.known(node.inputs.get(1)) {
            Some(value) => with_constant(op, &operand, &value, false, output, pass),
            None => Ok(None),
        },
        (None, Some(operand)) => match pass.known(node.inputs.first()) {
            Some(value) => with_constant(op, &operand, &value, true, output, pass),
            None => Ok(None),
        },
        (None, None) => Ok(None),
    }
}

/// The product with a constant that broadcasts to `x`.
fn times(x: &Tensor, factor: &Tensor) -> Result<Tensor> {
    let by_channel = factor.dims().last() == x.dims().last() && factor.dims().last() == Some(&factor.elem_count());
    if by_channel {
        return Ok(channel_scale(&x.detach(), &factor.flatten_all()?)?);
    }
    Ok(x.broadcast_mul(factor)?)
}

/// x ∘ c, or c ∘ x if `reversed`.
fn with_constant(
    op: &str,
    operand: &Operand,
    value: &Value,
    reversed: bool,
    output: Id,
    pass: &mut Pass,
) -> Result<Option<()>> {
    let Some(constant) = constant(value, operand)? else { return Ok(None) };
    let x = &operand.tensor;
    let (y, factor) = match (op, reversed) {
        ("Add", _) => (x.broadcast_add(&constant)?, None),
        ("Sub", false) => (x.broadcast_sub(&constant)?, None),
        ("Sub", true) => (constant.broadcast_sub(x)?, Some(Tensor::new(&[-1f64], x.device())?.to_dtype(x.dtype())?)),
        ("Mul", _) => (times(x, &constant)?, Some(constant.clone())),
        ("Div", false) => (x.broadcast_div(&constant)?, Some(constant.recip()?)),
        _ => return Ok(None),
    };
    // A constant with more elements than x is left to candle's graph.
    if y.dims() != x.dims() {
        return Ok(None);
    }
    let vjp: Vjp = Box::new(move |g| match &factor {
        None => Ok(vec![g.clone()]),
        Some(factor) => Ok(vec![times(g, factor)?]),
    });
    pass.push(vec![operand.id], output, Entry::new(y, operand.layout), vjp);
    Ok(Some(()))
}

/// Sums and products of two tensors that depend on the input. One factor may have size 1 where the other has more.
fn two(op: &str, [a, b]: [Operand; 2], output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let layout = a.layout;
    let Some(b) = in_layout(b, layout)? else { return Ok(None) };
    if a.tensor.rank() != b.tensor.rank() {
        return Ok(None);
    }
    let (ids, back) = (vec![a.id, b.id], b.back);
    let same = a.tensor.dims() == b.tensor.dims();
    match op {
        "Add" if same => {
            let relu =
                pass.only_consumer(output, "Relu").map(|(at, relu)| (at, relu.outputs.first().copied().flatten()));
            if let Some((at, Some(after))) = relu {
                pass.skip(at);
                let y = ops::add_detached(&a.tensor, &b.tensor, true)?;
                let entry = Entry { is_relu: true, ..Entry::new(y.clone(), layout) };
                let vjp: Vjp = Box::new(move |g| {
                    let masked = ops::relu_mask_rows(g, &y)?;
                    Ok(vec![masked.clone(), back.apply(masked)?])
                });
                pass.push(ids, after, entry, vjp);
                return Ok(Some(()));
            }
            let y = ops::add_detached(&a.tensor, &b.tensor, false)?;
            let vjp: Vjp = Box::new(move |g| Ok(vec![g.clone(), back.apply(g.clone())?]));
            pass.push(ids, output, Entry::new(y, layout), vjp);
        }
        "Sub" if same => {
            let y = a.tensor.sub(&b.tensor)?;
            let vjp: Vjp = Box::new(move |g| Ok(vec![g.clone(), back.apply(g.neg()?)?]));
            pass.push(ids, output, Entry::new(y, layout), vjp);
        }
        "Mul" => {
            let y = a.tensor.broadcast_mul(&b.tensor)?;
            let vjp: Vjp = Box::new(move |g| {
                let to = |other: &Tensor, own: &Tensor| summed(&times_rows(g, other)?, own);
                Ok(vec![to(&b.tensor, &a.tensor)?, back.apply(to(&a.tensor, &b.tensor)?)?])
            });
            pass.push(ids, output, Entry::new(y, layout), vjp);
        }
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// Cotangents `[k·n, …]` times a tensor `[n, …]` that broadcasts to one sample's cotangent.
fn times_rows(g: &Tensor, stored: &Tensor) -> Result<Tensor> {
    let (rows, n) = (g.dim(0)?, stored.dim(0)?);
    if g.dims()[1..] == stored.dims()[1..] {
        return Ok(ops::hadamard_rows(g, stored)?);
    }
    if rows == n {
        return Ok(g.broadcast_mul(stored)?);
    }
    let mut dims = g.dims().to_vec();
    dims[0] = n;
    dims.insert(0, rows / n.max(1));
    Ok(g.reshape(dims)?.broadcast_mul(&stored.unsqueeze(0)?)?.flatten_to(1)?)
}

/// The sum over the dimensions in which `own` has size 1 and was broadcast; the rows stay.
fn summed(g: &Tensor, own: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (1..own.rank()).filter(|at| own.dims()[*at] == 1 && g.dims()[*at] != 1).collect();
    if axes.is_empty() { Ok(g.clone()) } else { Ok(g.sum_keepdim(axes)?) }
}

pub(super) fn elementwise(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    let bounds = node.inputs.iter().skip(1).map(|id| pass.known(Some(id)));
    let inputs: Vec<Option<Value>> = [Some(Value::from(operand.tensor.clone()))].into_iter().chain(bounds).collect();
    let call = Call { node, inputs: &inputs, context: pass.context };
    let (y, slope) = value_and_slope(&call, &operand.tensor)?;
    let entry = Entry::new(y, operand.layout);
    pass.push(vec![operand.id], output, entry, Box::new(move |g| Ok(vec![times_rows(g, &slope)?])));
    Ok(Some(()))
}

/// The output is the operand itself.
pub(super) fn unchanged(operand: Operand, output: Id, pass: &mut Pass) {
    let entry = Entry { tensor: operand.tensor, layout: operand.layout, is_relu: operand.is_relu };
    pass.push(vec![operand.id], output, entry, Box::new(|g| Ok(vec![g.clone()])));
}

pub(super) fn pass_through(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.operand(node, 0) else { return Ok(None) };
    let is_float = node.op != "Cast" || Kind::of(node.integer("to", 0)?).is_ok_and(Kind::is_float);
    // A second output of dropout is a mask.
    if !is_float || node.outputs.iter().flatten().count() > 1 {
        return Ok(None);
    }
    unchanged(operand, output, pass);
    Ok(Some(()))
}
