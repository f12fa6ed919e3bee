//! Softmax and its relatives.

use candle_core::Tensor;

use super::activation::Function;
use super::differentiable::with_rule;
use super::indexing::extreme_positions;
use super::{Call, one};
use crate::Result;
use crate::message::Kind;
use crate::value::{Value, Whole};

/// Softmax along a dimension, by the kernel of the crate `ops`. A row of −∞ alone gives zeros.
pub(super) fn softmax_along(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank().saturating_sub(1);
    if axis == last {
        return Ok(ops::softmax(&x.contiguous()?)?);
    }
    let y = ops::softmax(&x.transpose(axis, last)?.contiguous()?)?;
    Ok(y.transpose(axis, last)?.contiguous()?)
}

/// ln softmax along a dimension. The VJP is g − softmax·Σ g.
fn log_softmax_along(x: &Tensor, axis: usize) -> Result<Tensor> {
    let detached = x.detach().contiguous()?;
    let shifted = detached.broadcast_sub(&detached.max_keepdim(axis)?)?;
    let exponentials = shifted.exp()?;
    let total = exponentials.sum_keepdim(axis)?;
    let y = shifted.broadcast_sub(&total.log()?)?;
    let softmax = exponentials.broadcast_div(&total)?;
    with_rule(x, y, move |g| g.sub(&softmax.broadcast_mul(&g.sum_keepdim(axis)?)?))
}

/// Softmax, LogSoftmax and Hardmax. Up to operator set 12 all dimensions from `axis` on are one.
pub(super) fn softmax(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let is_old = call.node.version < 13;
    let axis = call.axis(if is_old { 1 } else { -1 }, x.rank())?;
    let dims = x.dims().to_vec();
    let (x, axis) = if is_old {
        let rows: usize = dims[..axis].iter().product();
        (x.reshape((rows, x.elem_count() / rows.max(1)))?, 1)
    } else {
        (x.clone(), axis)
    };
    let y = match call.node.op.as_str() {
        "Softmax" => softmax_along(&x, axis)?,
        "LogSoftmax" => log_softmax_along(&x, axis)?,
        _ => hardmax(call, &x, axis)?,
    };
    one(y.reshape(dims)?)
}

/// 1 at the first maximum, else 0. It has no derivative.
fn hardmax(call: &Call, x: &Tensor, axis: usize) -> Result<Tensor> {
    let value = Value::from(x.detach());
    let mut hot = vec![0i64; value.count()];
    for (position, _) in extreme_positions(&value, axis, true, false)? {
        hot[position] = 1;
    }
    let hot = call.as_float(&Whole::new(Kind::I64, x.dims().to_vec(), hot))?;
    // Connected to x with derivative 0.
    Ok(Function::Sign.apply(&x.detach())?.zeros_like()?.add(&hot)?)
}
