//! Shapes, types and constants.

use candle_core::Tensor;
use half::{bf16, f16};

use super::arithmetic::wrapped;
use super::{Call, one, sizes};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::message::Kind;
use crate::node::{Attribute, Node};
use crate::value::{Value, Whole, axis, checked_count};

/// `Shape`, or a part of it.
pub(super) fn shape(call: &Call) -> Result<Vec<Value>> {
    let dims = call.at(0)?.dims();
    let rank = dims.len() as i64;
    let clamped = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let start = clamped(call.node.integer("start", 0)?);
    let end = clamped(call.node.integer("end", rank)?).max(start);
    one(Whole::list(dims[start..end].iter().map(|size| *size as i64).collect()))
}

pub(super) fn size(call: &Call) -> Result<Vec<Value>> {
    one(Whole::new(Kind::I64, vec![], vec![call.at(0)?.count() as i64]))
}

/// `Reshape`: 0 keeps a dimension, −1 is inferred.
pub(super) fn reshape(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let target = match call.list_or_attribute("shape", 1)? {
        Some(target) => target,
        None => return Err(operand("the target shape is missing")),
    };
    let keeps_zero = !call.node.flag("allowzero", false)?;
    let wrong = || operand(format!("{:?} cannot have the shape {target:?}", x.dims()));
    let mut dims = Vec::with_capacity(target.len());
    for (at, size) in target.iter().enumerate() {
        dims.push(match *size {
            0 if keeps_zero => *x.dims().get(at).ok_or_else(wrong)?,
            -1 => 1,
            size => usize::try_from(size).map_err(|_| wrong())?,
        });
    }
    let free: Vec<usize> = (0..target.len()).filter(|at| target[*at] == -1).collect();
    if let [free] = free[..] {
        let known = dims.iter().try_fold(1usize, |product, size| product.checked_mul(*size)).ok_or_else(wrong)?;
        dims[free] = x.count().checked_div(known).unwrap_or(0);
    }
    if free.len() > 1 || dims.iter().try_fold(1usize, |product, size| product.checked_mul(*size)) != Some(x.count()) {
        return Err(wrong());
    }
    one(x.reshaped(dims)?)
}

pub(super) fn flatten(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let (stated, rank) = (call.node.integer("axis", 1)?, x.dims().len());
    // A negative axis counts from the rank, but the rank itself is allowed.
    let axis = axis(if stated < 0 { stated.saturating_add(rank as i64) } else { stated }, rank + 1)?;
    let rows: usize = x.dims()[..axis].iter().product();
    let columns: usize = x.dims()[axis..].iter().product();
    one(x.reshaped(vec![rows, columns])?)
}

/// `Squeeze`, whose axes are an attribute up to operator set 12, then an input.
pub(super) fn squeeze(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let rank = x.dims().len();
    let removed: Vec<usize> = match call.list_or_attribute("axes", 1)? {
        Some(axes) => axes.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?,
        None => (0..rank).filter(|at| x.dims()[*at] == 1).collect(),
    };
    if let Some(at) = removed.iter().find(|at| x.dims()[**at] != 1) {
        return Err(operand(format!("dimension {at} has size {}, expected 1", x.dims()[*at])));
    }
    let dims = (0..rank).filter(|at| !removed.contains(at)).map(|at| x.dims()[at]).collect();
    one(x.reshaped(dims)?)
}

/// `Unsqueeze`, likewise.
pub(super) fn unsqueeze(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let axes = call.list_or_attribute("axes", 1)?.ok_or_else(|| operand("the axes are missing"))?;
    let rank = x.dims().len() + axes.len();
    let added: Vec<usize> = axes.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?;
    let mut own = x.dims().iter();
    let dims: Vec<usize> =
        (0..rank).map(|at| if added.contains(&at) { 1 } else { own.next().copied().unwrap_or(1) }).collect();
    if own.next().is_some() {
        return Err(operand(format!("the axes {axes:?} are not distinct")));
    }
    one(x.reshaped(dims)?)
}

pub(super) fn transpose(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let rank = x.dims().len();
    let order: Vec<usize> = match call.node.integers("perm")? {
        Some(order) => order.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    one(permuted(x, &order)?)
}

/// The value with its dimensions in this order.
pub(super) fn permuted(x: &Value, order: &[usize]) -> Result<Value> {
    let rank = x.dims().len();
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(operand(format!("{order:?} is no order of {rank} dimensions")));
    }
    match x {
        Value::Float(tensor) => Ok(tensor.permute(order)?.contiguous()?.into()),
        Value::Whole(whole) => {
            let mut strides = vec![1usize; rank];
            for at in (1..rank).rev() {
                strides[at - 1] = strides[at] * whole.dims[at];
            }
            let dims: Vec<usize> = order.iter().map(|at| whole.dims[*at]).collect();
            let mut positions = vec![0usize];
            for at in order {
                let (stride, size) = (strides[*at], whole.dims[*at]);
                positions = positions.iter().flat_map(|start| (0..size).map(move |i| start + i * stride)).collect();
            }
            let data = positions.into_iter().map(|at| whole.data[at]).collect();
            Ok(Whole::new(whole.kind, dims, data).into())
        }
    }
}

pub(super) fn identity(call: &Call) -> Result<Vec<Value>> {
    one(call.at(0)?.clone())
}

/// `Dropout` outside training.
pub(super) fn dropout(call: &Call) -> Result<Vec<Value>> {
    if call.optional(2).map(Value::number).transpose()?.is_some_and(|training| training != 0.0) {
        return Err(unsupported("dropout in training mode (export the network in evaluation mode)"));
    }
    let x = call.at(0)?;
    let all =
        Whole::new(Kind::Bool, x.dims().to_vec(), vec![1; if call.node.outputs.len() > 1 { x.count() } else { 0 }]);
    Ok(if call.node.outputs.len() > 1 { vec![x.clone(), all.into()] } else { vec![x.clone()] })
}

/// The value as another type. Floats of every width are those of the network.
fn cast(call: &Call, x: &Value, kind: Kind) -> Result<Value> {
    Ok(match (x, kind.is_float()) {
        (Value::Float(tensor), true) if call.context.rounds && matches!(kind, Kind::F16 | Kind::Bf16) => {
            let rounded = |x: f64| if kind == Kind::F16 { f16::from_f64(x).to_f64() } else { bf16::from_f64(x).to_f64() };
            let numbers: Vec<f64> = x.numbers()?.into_iter().map(rounded).collect();
            let rounded = Tensor::from_vec(numbers, tensor.dims(), &candle_core::Device::Cpu)?;
            rounded.to_dtype(tensor.dtype())?.to_device(tensor.device())?.into()
        }
        (Value::Float(tensor), true) => tensor.clone().into(),
        (Value::Whole(whole), true) => call.as_float(whole)?.into(),
        (Value::Whole(whole), false) => {
            let data = whole.data.iter().map(|value| wrapped(kind, *value)).collect();
            Whole::new(kind, whole.dims.clone(), data).into()
        }
        (Value::Float(tensor), false) => {
            let of = |x: f64| match kind {
                Kind::Bool => i64::from(x != 0.0),
                Kind::U64 => (x as u64).cast_signed(),
                kind => wrapped(kind, x as i64),
            };
            let data = x.numbers()?.into_iter().map(of).collect();
            Whole::new(kind, tensor.dims().to_vec(), data).into()
        }
    })
}

pub(super) fn cast_to(call: &Call) -> Result<Vec<Value>> {
    let kind = Kind::of(call.node.integer("to", 0)?).map_err(|kind| operand(format!("a cast to {kind}")))?;
    one(cast(call, call.at(0)?, kind)?)
}

pub(super) fn cast_like(call: &Call) -> Result<Vec<Value>> {
    let kind = match call.at(1)? {
        Value::Float(_) => Kind::F32,
        Value::Whole(whole) => whole.kind,
    };
    one(cast(call, call.at(0)?, kind)?)
}

pub(super) fn refuses_cast(node: &Node) -> Option<String> {
    Kind::of(node.integer("to", 0).ok()?).err().map(|kind| format!("to = {kind}"))
}

pub(super) fn constant(call: &Call) -> Result<Vec<Value>> {
    Err(operand(format!("`{}` has no value of a supported type", call.node.name)))
}

pub(super) fn refuses_constant(_: &Node) -> Option<String> {
    Some("a value that is no tensor of numbers".to_owned())
}

/// `ConstantOfShape`: one number everywhere.
pub(super) fn constant_of_shape(call: &Call) -> Result<Vec<Value>> {
    let dims = sizes(&call.list(0)?)?;
    call.check_count(&dims)?;
    match call.node.attribute("value") {
        Some(Attribute::Tensor(Value::Whole(value))) => {
            let number = value.data.first().copied().unwrap_or(0);
            let count = checked_count(&dims)?;
            one(Whole::new(value.kind, dims, vec![number; count]))
        }
        Some(Attribute::Tensor(value)) => one(full(call, value.number()?, &dims)?),
        _ => one(full(call, 0.0, &dims)?),
    }
}

/// A tensor of one number.
pub(super) fn full(call: &Call, number: f64, dims: &[usize]) -> Result<Tensor> {
    let one = Tensor::new(&[number], call.context.device)?.to_dtype(call.context.dtype)?;
    Ok(one.broadcast_as(checked_count(dims)?)?.contiguous()?.reshape(dims)?)
}

pub(super) fn range(call: &Call) -> Result<Vec<Value>> {
    let count = |start: f64, limit: f64, delta: f64| ((limit - start) / delta).ceil().max(0.0);
    let numbers = [call.at(0)?.number()?, call.at(1)?.number()?, call.at(2)?.number()?];
    let [start, limit, delta] = numbers;
    let count = count(start, limit, delta);
    if !count.is_finite() {
        return Err(operand(format!("a range from {start} to {limit} in steps of {delta}")));
    }
    let count = count as usize;
    call.check_count(&[count])?;
    match call.at(0)? {
        Value::Whole(first) => {
            let (start, delta) = (first.data.first().copied().unwrap_or(0), delta as i64);
            let data = (0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(delta))).collect();
            one(Whole::new(first.kind, vec![count], data))
        }
        Value::Float(_) => {
            let data: Vec<f64> = (0..count).map(|at| start + at as f64 * delta).collect();
            one(Tensor::from_vec(data, count, &candle_core::Device::Cpu)?
                .to_dtype(call.context.dtype)?
                .to_device(call.context.device)?)
        }
    }
}

/// `EyeLike`: ones on a diagonal.
pub(super) fn eye_like(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let &[rows, columns] = x.dims() else { return Err(operand("expected two dimensions")) };
    let k = call.node.integer("k", 0)?;
    let kind = match (call.node.attribute("dtype"), x) {
        (Some(_), _) => Kind::of(call.node.integer("dtype", 1)?).map_err(operand)?,
        (None, Value::Whole(whole)) => whole.kind,
        (None, Value::Float(_)) => Kind::F32,
    };
    let at = |row: usize, column: usize| i64::from(row as i64 + k == column as i64);
    let data = (0..rows).flat_map(|row| (0..columns).map(move |column| at(row, column))).collect();
    let whole = Whole::new(if kind.is_float() { Kind::I64 } else { kind }, vec![rows, columns], data);
    if kind.is_float() { one(call.as_float(&whole)?) } else { one(whole) }
}
