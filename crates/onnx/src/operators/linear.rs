//! Matrix products.

use candle_core::Tensor;

use super::arithmetic::{add, broadcast_dims};
use super::differentiable::with_rule;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::value::{Value, Whole};

/// `[…, k]` times a constant matrix `[k, m]`. Only the derivative by `x` is computed.
pub(super) fn by_constant(x: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (&[k, m], Some(&last)) = (matrix.dims(), x.dims().last()) else {
        return Err(operand("expected a matrix"));
    };
    if last != k {
        return Err(operand(format!("{:?} times {:?}", x.dims(), matrix.dims())));
    }
    let rows = x.elem_count() / k.max(1);
    let matrix = matrix.detach();
    let product = x.detach().contiguous()?.reshape((rows, k))?.matmul(&matrix)?;
    let mut dims = x.dims().to_vec();
    let inner = dims.clone();
    if let Some(last) = dims.last_mut() {
        *last = m;
    }
    with_rule(x, product.reshape(dims)?, move |g| {
        g.contiguous()?.reshape((rows, m))?.matmul(&matrix.t()?)?.reshape(inner.as_slice())
    })
}

/// The product of the last two dimensions; the others broadcast, and vectors get a dimension as in NumPy.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(operand("a matrix product of a number"));
    }
    let (left, right) = (a.rank() == 1, b.rank() == 1);
    let a = if left { a.unsqueeze(0)? } else { a.clone() };
    let b = if right { b.unsqueeze(1)? } else { b.clone() };
    let mut y = if b.rank() == 2 && !b.track_op() {
        by_constant(&a, &b)?
    } else {
        let batch = broadcast_dims(&[&a.dims()[..a.rank() - 2], &b.dims()[..b.rank() - 2]])?;
        let full = |x: &Tensor| -> Result<Tensor> {
            let mut dims = batch.clone();
            dims.extend(&x.dims()[x.rank() - 2..]);
            if dims == x.dims() { Ok(x.contiguous()?) } else { Ok(x.broadcast_as(dims)?.contiguous()?) }
        };
        let (a, b) = (full(&a)?, full(&b)?);
        match (a.track_op(), b.track_op()) {
            (true, false) => {
                let constant = b.detach();
                with_rule(&a, a.detach().matmul(&constant)?, move |g| {
                    g.contiguous()?.matmul(&constant.transpose(constant.rank() - 2, constant.rank() - 1)?)
                })?
            }
            (false, true) => {
                let constant = a.detach();
                with_rule(&b, constant.matmul(&b.detach())?, move |g| {
                    constant.transpose(constant.rank() - 2, constant.rank() - 1)?.matmul(&g.contiguous()?)
                })?
            }
            _ => a.matmul(&b)?,
        }
    };
    if left {
        y = y.squeeze(y.rank() - 2)?;
    }
    if right {
        y = y.squeeze(y.rank() - 1)?;
    }
    Ok(y)
}

pub(super) fn mat_mul(call: &Call) -> Result<Vec<Value>> {
    match (call.at(0)?, call.at(1)?) {
        (Value::Float(a), Value::Float(b)) => one(product(a, b)?),
        (Value::Whole(a), Value::Whole(b)) => {
            // Integers are small: through floats of 53 bits.
            let to = |whole: &Whole| whole.to_tensor(candle_core::DType::F64, &candle_core::Device::Cpu);
            let y = product(&to(a)?, &to(b)?)?;
            let data = Value::from(y.clone()).numbers()?.into_iter().map(|value| value as i64).collect();
            one(Whole::new(a.kind, y.dims().to_vec(), data))
        }
        _ => Err(operand("one operand has floats and the other integers")),
    }
}

/// `Gemm`: α·A·B + β·C.
pub(super) fn gemm(call: &Call) -> Result<Vec<Value>> {
    let oriented = |x: &Tensor, name: &str| -> Result<Tensor> {
        if x.rank() != 2 {
            return Err(operand("expected matrices"));
        }
        if call.node.flag(name, false)? { Ok(x.t()?) } else { Ok(x.clone()) }
    };
    let (a, b) = (oriented(call.float(0)?, "transA")?, oriented(call.float(1)?, "transB")?);
    let scaled = |x: Tensor, factor: f64| if factor == 1.0 { Ok(x) } else { x.affine(factor, 0.0) };
    let y = scaled(product(&a, &b)?, call.node.float("alpha", 1.0)?)?;
    match call.optional_float(2)? {
        None => one(y),
        Some(c) => one(add(&y, &scaled(c.clone(), call.node.float("beta", 1.0)?)?)?),
    }
}
