//! Arithmetic of two or more operands that broadcast.

use candle_core::Tensor;

use super::activation::Function;
use super::differentiable::{with_rule, with_slope};
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::message::Kind;
use crate::value::{Value, Whole};

/// The shape to which shapes broadcast.
pub(super) fn broadcast_dims(shapes: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = shapes.iter().map(|dims| dims.len()).max().unwrap_or(0);
    let mut common = vec![1usize; rank];
    for dims in shapes {
        let offset = rank - dims.len();
        for (own, size) in common[offset..].iter_mut().zip(dims.iter()) {
            *own = match (*own, *size) {
                (own, size) if own == size || size == 1 => own,
                (1, size) => size,
                _ => return Err(operand(format!("the shapes {shapes:?} do not broadcast"))),
            };
        }
    }
    Ok(common)
}

/// For each element of `dims` in row-major order, the position of the element of `own` that broadcasts to it.
pub(super) fn broadcast_positions(own: &[usize], dims: &[usize]) -> Vec<usize> {
    let mut positions = vec![0usize];
    let mut stride: usize = own.iter().product();
    for (at, size) in dims.iter().enumerate() {
        let own_size = (at + own.len()).checked_sub(dims.len()).map_or(1, |at| own[at]);
        stride /= own_size.max(1);
        let step = if own_size == 1 { 0 } else { stride };
        positions = positions.iter().flat_map(|start| (0..*size).map(move |index| start + index * step)).collect();
    }
    positions
}

/// An array in the shape to which it broadcasts.
pub(super) fn broadcast_whole(whole: &Whole, dims: &[usize]) -> Result<Whole> {
    if whole.dims == dims {
        return Ok(whole.clone());
    }
    crate::value::checked_count(dims)?;
    let data = broadcast_positions(&whole.dims, dims).into_iter().map(|at| whole.data[at]).collect();
    Ok(Whole::new(whole.kind, dims.to_vec(), data))
}

/// The number with the bits that this kind has.
pub(super) fn wrapped(kind: Kind, value: i64) -> i64 {
    match kind {
        Kind::U8 => i64::from(value as u8),
        Kind::I8 => i64::from(value as i8),
        Kind::U16 => i64::from(value as u16),
        Kind::I16 => i64::from(value as i16),
        Kind::U32 => i64::from(value as u32),
        Kind::I32 => i64::from(value as i32),
        Kind::Bool => i64::from(value != 0),
        _ => value,
    }
}

/// An operation on two arrays that broadcast.
pub(super) fn zip(a: &Whole, b: &Whole, kind: Kind, of: impl Fn(i64, i64) -> Result<i64>) -> Result<Whole> {
    let dims = broadcast_dims(&[&a.dims, &b.dims])?;
    let (a, b) = (broadcast_whole(a, &dims)?, broadcast_whole(b, &dims)?);
    let data = a.data.iter().zip(b.data.iter()).map(|(a, b)| of(*a, *b));
    Ok(Whole::new(kind, dims, data.collect::<Result<_>>()?))
}

/// `x` times a constant.
pub(super) fn scaled(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    let constant = constant.detach();
    let value = x.detach().broadcast_mul(&constant)?;
    if value.dims() != x.dims() {
        return Ok(x.broadcast_mul(&constant)?);
    }
    with_rule(x, value, move |g| g.broadcast_mul(&constant))
}

/// `x` plus a constant.
pub(super) fn shifted(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    let value = x.detach().broadcast_add(&constant.detach())?;
    if value.dims() != x.dims() {
        return Ok(x.broadcast_add(constant)?);
    }
    with_rule(x, value, |g| Ok(g.clone()))
}

pub(super) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match (a.track_op(), b.track_op()) {
        (true, false) => shifted(a, b),
        (false, true) => shifted(b, a),
        _ => Ok(a.broadcast_add(b)?),
    }
}

pub(super) fn subtract(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match (a.track_op(), b.track_op()) {
        (true, false) => shifted(a, &b.neg()?),
        (false, true) => shifted(&b.neg()?, a),
        _ => Ok(a.broadcast_sub(b)?),
    }
}

pub(super) fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match (a.track_op(), b.track_op()) {
        (true, false) => scaled(a, b),
        (false, true) => scaled(b, a),
        _ => Ok(a.broadcast_mul(b)?),
    }
}

pub(super) fn divide(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match (a.track_op(), b.track_op()) {
        (true, false) => {
            let (value, b) = (a.detach().broadcast_div(b)?, b.detach());
            if value.dims() != a.dims() {
                return Ok(a.broadcast_div(&b)?);
            }
            with_rule(a, value, move |g| g.broadcast_div(&b))
        }
        _ => Ok(a.broadcast_div(b)?),
    }
}

/// Add, Sub, Mul, Div.
pub(super) fn binary(call: &Call) -> Result<Vec<Value>> {
    let op = call.node.op.as_str();
    match (call.at(0)?, call.at(1)?) {
        (Value::Float(a), Value::Float(b)) => one(match op {
            "Add" => add(a, b)?,
            "Sub" => subtract(a, b)?,
            "Mul" => multiply(a, b)?,
            _ => divide(a, b)?,
        }),
        (Value::Whole(a), Value::Whole(b)) => {
            let kind = a.kind;
            let of = |a: i64, b: i64| -> Result<i64> {
                Ok(wrapped(
                    kind,
                    match op {
                        "Add" => a.wrapping_add(b),
                        "Sub" => a.wrapping_sub(b),
                        "Mul" => a.wrapping_mul(b),
                        _ if b == 0 => return Err(operand("an integer is divided by 0")),
                        _ if kind == Kind::U64 => (a.cast_unsigned() / b.cast_unsigned()).cast_signed(),
                        _ => a.wrapping_div(b),
                    },
                ))
            };
            one(zip(a, b, kind, of)?)
        }
        _ => Err(operand("one operand has floats and the other integers")),
    }
}

/// `Pow`. The exponent may have another type than the base.
pub(super) fn power(call: &Call) -> Result<Vec<Value>> {
    let exponent = call.at(1)?;
    match call.at(0)? {
        Value::Whole(base) => {
            let kind = base.kind;
            let exponent = match exponent {
                Value::Whole(exponent) => exponent.clone(),
                Value::Float(_) => {
                    let numbers = exponent.numbers()?.into_iter().map(|value| value as i64).collect();
                    Whole::new(Kind::I64, exponent.dims().to_vec(), numbers)
                }
            };
            let of = |a: i64, b: i64| {
                let exponent = u32::try_from(b).map_err(|_| operand("an integer has a negative exponent"))?;
                Ok(wrapped(kind, a.wrapping_pow(exponent)))
            };
            one(zip(base, &exponent, kind, of)?)
        }
        Value::Float(base) => {
            let exponent = match exponent {
                Value::Float(exponent) => exponent.clone(),
                Value::Whole(exponent) => call.as_float(exponent)?,
            };
            if exponent.track_op() {
                // x^y = e^{y ln x}, for positive x.
                let log = Function::Log.apply(base)?;
                return one(Function::Exp.apply(&log.broadcast_mul(&exponent)?)?);
            }
            if exponent.elem_count() == 1 && exponent.rank() <= base.rank() {
                return one(Function::Power(Value::from(exponent).number()?).apply(base)?);
            }
            let dims = broadcast_dims(&[base.dims(), exponent.dims()])?;
            let base = base.broadcast_as(dims.as_slice())?.contiguous()?;
            let exponents = Value::from(exponent.broadcast_as(dims.as_slice())?.contiguous()?).numbers()?;
            let numbers = Value::from(base.detach()).numbers()?;
            let tensor = |of: fn(f64, f64) -> f64| -> Result<Tensor> {
                let values: Vec<f64> = numbers.iter().zip(&exponents).map(|(x, e)| of(*x, *e)).collect();
                Ok(Tensor::from_vec(values, dims.as_slice(), &candle_core::Device::Cpu)?
                    .to_dtype(base.dtype())?
                    .to_device(base.device())?)
            };
            one(with_slope(&base, tensor(f64::powf)?, || {
                tensor(|x, e| if e == 0.0 { 0.0 } else { e * x.powf(e - 1.0) })
            })?)
        }
    }
}

/// `Mod`: the sign of the divisor, or with `fmod` that of the dividend.
pub(super) fn modulo(call: &Call) -> Result<Vec<Value>> {
    let by_dividend = call.node.flag("fmod", false)?;
    match (call.at(0)?, call.at(1)?) {
        (Value::Whole(a), Value::Whole(b)) => {
            let of = |a: i64, b: i64| match (b, by_dividend) {
                (0, _) => Err(operand("an integer is divided by 0")),
                (b, true) => Ok(a.wrapping_rem(b)),
                (b, false) => {
                    let rest = a.wrapping_rem(b);
                    Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
                }
            };
            one(zip(a, b, a.kind, of)?)
        }
        (Value::Float(a), Value::Float(b)) => {
            // a − b·⌊a/b⌋, or with the quotient cut: the quotient is constant around a.
            let quotient = a.detach().broadcast_div(&b.detach())?;
            let floor = Function::Floor.apply(&quotient)?;
            let cut = if by_dividend {
                let up = Function::Ceil.apply(&quotient)?;
                quotient.lt(&quotient.zeros_like()?)?.where_cond(&up, &floor)?
            } else {
                floor
            };
            one(a.broadcast_sub(&cut.broadcast_mul(b)?)?)
        }
        _ => Err(operand("one operand has floats and the other integers")),
    }
}

/// Min, Max, Sum and Mean of any number of operands.
pub(super) fn variadic(call: &Call) -> Result<Vec<Value>> {
    let op = call.node.op.as_str();
    let count = call.inputs.len();
    let mut result = call.at(0)?.clone();
    for at in 1..count {
        result = match (&result, call.at(at)?) {
            (Value::Float(a), Value::Float(b)) => Value::Float(match op {
                "Max" => a.broadcast_maximum(b)?,
                "Min" => a.broadcast_minimum(b)?,
                _ => add(a, b)?,
            }),
            (Value::Whole(a), Value::Whole(b)) => {
                let kind = a.kind;
                let less =
                    |a: i64, b: i64| if kind == Kind::U64 { a.cast_unsigned() < b.cast_unsigned() } else { a < b };
                let of = |a: i64, b: i64| {
                    Ok(match op {
                        "Max" => {
                            if less(a, b) {
                                b
                            } else {
                                a
                            }
                        }
                        "Min" => {
                            if less(a, b) {
                                a
                            } else {
                                b
                            }
                        }
                        _ => wrapped(kind, a.wrapping_add(b)),
                    })
                };
                Value::Whole(zip(a, b, kind, of)?)
            }
            _ => return Err(operand("some operands have floats and others integers")),
        };
    }
    if op == "Mean" {
        result = Value::Float(result.float()?.affine(1.0 / count as f64, 0.0)?);
    }
    one(result)
}
