//! Comparisons, logic and choice. Their results are booleans, which have no derivative.

use super::arithmetic::{broadcast_dims, broadcast_positions, broadcast_whole, wrapped, zip};
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::message::Kind;
use crate::value::{Value, Whole};

/// Equal, Greater, GreaterOrEqual, Less, LessOrEqual.
pub(super) fn comparison(call: &Call) -> Result<Vec<Value>> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let holds = |order: Option<std::cmp::Ordering>| match call.node.op.as_str() {
        "Equal" => order == Some(Equal),
        "Greater" => order == Some(Greater),
        "GreaterOrEqual" => matches!(order, Some(Greater | Equal)),
        "Less" => order == Some(Less),
        _ => matches!(order, Some(Less | Equal)),
    };
    match (call.at(0)?, call.at(1)?) {
        (Value::Whole(a), Value::Whole(b)) => {
            let unsigned = a.kind == Kind::U64;
            let of = |a: i64, b: i64| {
                let order = if unsigned { a.cast_unsigned().cmp(&b.cast_unsigned()) } else { a.cmp(&b) };
                Ok(i64::from(holds(Some(order))))
            };
            one(zip(a, b, Kind::Bool, of)?)
        }
        (a, b) => {
            let dims = broadcast_dims(&[a.dims(), b.dims()])?;
            let (left, right) = (a.numbers()?, b.numbers()?);
            let pairs = broadcast_positions(a.dims(), &dims).into_iter().zip(broadcast_positions(b.dims(), &dims));
            let data = pairs.map(|(a, b)| i64::from(holds(left[a].partial_cmp(&right[b])))).collect();
            one(Whole::new(Kind::Bool, dims, data))
        }
    }
}

/// And, Or, Xor and their bitwise forms.
pub(super) fn logic(call: &Call) -> Result<Vec<Value>> {
    let (a, b) = (call.at(0)?.whole()?, call.at(1)?.whole()?);
    let op = call.node.op.trim_start_matches("Bitwise");
    let of = |a: i64, b: i64| {
        Ok(match op {
            "And" => a & b,
            "Or" => a | b,
            _ => a ^ b,
        })
    };
    one(zip(a, b, a.kind, of)?)
}

/// Not and BitwiseNot.
pub(super) fn negation(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?.whole()?;
    let of = |value: &i64| if x.kind == Kind::Bool { i64::from(*value == 0) } else { wrapped(x.kind, !value) };
    one(Whole::new(x.kind, x.dims.clone(), x.data.iter().map(of).collect()))
}

/// `BitShift` of unsigned integers.
pub(super) fn shift(call: &Call) -> Result<Vec<Value>> {
    let (a, b) = (call.at(0)?.whole()?, call.at(1)?.whole()?);
    let left = call.node.text("direction", "")? == "LEFT";
    let kind = a.kind;
    let of = |a: i64, b: i64| {
        let by = u32::try_from(b).unwrap_or(u32::MAX);
        let shifted = if left { a.cast_unsigned().checked_shl(by) } else { a.cast_unsigned().checked_shr(by) };
        Ok(wrapped(kind, shifted.unwrap_or(0).cast_signed()))
    };
    one(zip(a, b, kind, of)?)
}

/// `Where`: elements of the second operand where the condition holds, else of the third.
pub(super) fn choice(call: &Call) -> Result<Vec<Value>> {
    let condition = call.at(0)?.whole()?;
    let (a, b) = (call.at(1)?, call.at(2)?);
    let dims = broadcast_dims(&[&condition.dims, a.dims(), b.dims()])?;
    let condition = broadcast_whole(condition, &dims)?;
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            let mask = condition.to_mask(a.device())?;
            let a = a.broadcast_as(dims.as_slice())?.contiguous()?;
            let b = b.broadcast_as(dims.as_slice())?.contiguous()?;
            one(mask.where_cond(&a, &b)?)
        }
        (Value::Whole(a), Value::Whole(b)) => {
            let kind = a.kind;
            let (a, b) = (broadcast_whole(a, &dims)?, broadcast_whole(b, &dims)?);
            let both = a.data.iter().zip(b.data.iter());
            let data = condition.data.iter().zip(both).map(|(holds, (a, b))| if *holds != 0 { *a } else { *b });
            one(Whole::new(kind, dims, data.collect()))
        }
        _ => Err(operand("one operand has floats and the other integers")),
    }
}

/// IsNaN and IsInf.
pub(super) fn is_special(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let (negative, positive) = (call.node.flag("detect_negative", true)?, call.node.flag("detect_positive", true)?);
    let infinite = |x: f64| x.is_infinite() && if x > 0.0 { positive } else { negative };
    let is_nan = call.node.op == "IsNaN";
    let of = |x: f64| i64::from(if is_nan { x.is_nan() } else { infinite(x) });
    one(Whole::new(Kind::Bool, x.dims().to_vec(), x.numbers()?.into_iter().map(of).collect()))
}
