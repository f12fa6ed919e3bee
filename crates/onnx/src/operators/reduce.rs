//! Reductions over dimensions.

use candle_core::Tensor;

use super::activation::Function;
use super::differentiable::with_rule;
use super::indexing::{extreme_positions, take};
use super::shape::permuted;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::value::{Value, Whole, axis};

/// The dimensions of a reduction, an attribute in old operator sets and an input in new ones. `None`: nothing is reduced.
fn reduced(call: &Call, rank: usize) -> Result<Option<Vec<usize>>> {
    let axes = call.list_or_attribute("axes", 1)?.unwrap_or_default();
    if axes.is_empty() {
        return Ok((!call.node.flag("noop_with_empty_axes", false)?).then(|| (0..rank).collect()));
    }
    let mut axes: Vec<usize> = axes.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(Some(axes))
}

/// Reductions by operator.
pub(super) fn reduction(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let op = call.node.op.trim_start_matches("Reduce");
    let rank = x.dims().len();
    let keeps = call.node.flag("keepdims", true)?;
    let axes = reduced(call, rank)?;
    let none = axes.is_none();
    let axes = axes.unwrap_or_default();
    let kept: Vec<usize> =
        x.dims().iter().enumerate().map(|(at, size)| if axes.contains(&at) { 1 } else { *size }).collect();
    let dims =
        if keeps { kept.clone() } else { (0..rank).filter(|at| !axes.contains(at)).map(|at| x.dims()[at]).collect() };
    let result = match x {
        Value::Float(tensor) if none => elementwise(op, tensor)?.into(),
        Value::Float(tensor) => float(op, tensor, &axes)?,
        Value::Whole(whole) => integers(op, whole, &axes)?,
    };
    one(result.reshaped(dims)?)
}

/// The reduction over no dimension: of each element alone.
fn elementwise(op: &str, x: &Tensor) -> Result<Tensor> {
    Ok(match op {
        "SumSquare" => x.sqr()?,
        "L1" | "L2" => Function::Abs.apply(x)?,
        "LogSum" => Function::Log.apply(x)?,
        _ => x.clone(),
    })
}

fn float(op: &str, x: &Tensor, axes: &[usize]) -> Result<Value> {
    if x.elem_count() == 0 {
        return of_nothing(op, x, axes);
    }
    Ok(match op {
        "Sum" => sum(x, axes)?.into(),
        "Mean" => {
            let count: usize = axes.iter().map(|at| x.dims()[*at]).product();
            sum(x, axes)?.affine(1.0 / count as f64, 0.0)?.into()
        }
        "SumSquare" => sum(&x.sqr()?, axes)?.into(),
        "L1" => sum(&Function::Abs.apply(x)?, axes)?.into(),
        "L2" => norm(x, axes)?.into(),
        "LogSum" => Function::Log.apply(&sum(x, axes)?)?.into(),
        "LogSumExp" => log_sum_exp(x, axes)?.into(),
        "Max" | "Min" => {
            let rows = rows(&x.clone().into(), axes)?;
            extreme(&rows, op == "Max")?
        }
        "Prod" => {
            let rows = rows(&x.clone().into(), axes)?;
            let rows = rows.float()?;
            let mut product = Tensor::ones(rows.dim(0)?, x.dtype(), x.device())?;
            for at in 0..rows.dim(1)? {
                product = product.mul(&rows.narrow(1, at, 1)?.squeeze(1)?)?;
            }
            product.into()
        }
        other => return Err(operand(format!("there is no reduction `{other}`"))),
    })
}

/// The reduction of no elements.
fn of_nothing(op: &str, x: &Tensor, axes: &[usize]) -> Result<Value> {
    let number = match op {
        "Prod" => 1.0,
        "Max" | "LogSum" | "LogSumExp" => f64::NEG_INFINITY,
        "Min" => f64::INFINITY,
        "Mean" => f64::NAN,
        _ => 0.0,
    };
    let size = |(at, size): (usize, &usize)| if axes.contains(&at) { 1 } else { *size };
    let dims: Vec<usize> = x.dims().iter().enumerate().map(size).collect();
    Ok(Tensor::full(number, dims, x.device())?.to_dtype(x.dtype())?.into())
}

/// The sum, with the reduced dimensions of size 1.
pub(super) fn sum(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    if axes.is_empty() { Ok(x.clone()) } else { Ok(x.contiguous()?.sum_keepdim(axes)?) }
}

/// ‖x‖₂. The derivative at x = 0 is 0, as in PyTorch.
pub(super) fn norm(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let detached = x.detach();
    let norm = sum(&detached.sqr()?, axes)?.sqrt()?;
    let value = norm.clone();
    with_rule(x, value, move |g| {
        let zero = norm.zeros_like()?;
        let safe = norm.eq(&zero)?.where_cond(&norm.ones_like()?, &norm)?;
        detached.broadcast_mul(&g.div(&safe)?)
    })
}

/// ln Σ eˣ, without overflow.
fn log_sum_exp(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut largest = x.detach();
    for at in axes {
        largest = largest.contiguous()?.max_keepdim(*at)?;
    }
    // ∞ − ∞ would be NaN.
    let largest = Function::Clip(f64::MIN, f64::MAX).apply(&largest)?;
    let sum = sum(&Function::Exp.apply(&x.broadcast_sub(&largest)?)?, axes)?;
    Ok(Function::Log.apply(&sum)?.add(&largest)?)
}

/// The value as a matrix: one row for each result, with the reduced elements in row-major order.
fn rows(x: &Value, axes: &[usize]) -> Result<Value> {
    let rank = x.dims().len();
    let order: Vec<usize> = (0..rank).filter(|at| !axes.contains(at)).chain(axes.iter().copied()).collect();
    let columns: usize = axes.iter().map(|at| x.dims()[*at]).product();
    permuted(x, &order)?.reshaped(vec![x.count() / columns.max(1), columns])
}

/// The largest (or smallest) of each row. The first of equal ones has the whole derivative.
pub(super) fn extreme(rows: &Value, largest: bool) -> Result<Value> {
    let positions: Vec<usize> = extreme_positions(rows, 1, largest, false)?.into_iter().map(|(at, _)| at).collect();
    let count = positions.len();
    take(rows, &positions, vec![count])
}

fn integers(op: &str, x: &Whole, axes: &[usize]) -> Result<Value> {
    let columns: usize = axes.iter().map(|at| x.dims[*at]).product();
    let Value::Whole(rows) = rows(&x.clone().into(), axes)? else { return Err(operand("floats")) };
    let of = |row: &[i64]| -> Result<i64> {
        let fold = |start: i64, of: fn(i64, i64) -> i64| row.iter().fold(start, |sum, value| of(sum, *value));
        Ok(match op {
            "Sum" => fold(0, i64::wrapping_add),
            "Mean" => fold(0, i64::wrapping_add) / row.len().max(1) as i64,
            "Prod" => fold(1, i64::wrapping_mul),
            "Max" => row.iter().copied().max().ok_or_else(|| operand("the largest of no integers"))?,
            "Min" => row.iter().copied().min().ok_or_else(|| operand("the smallest of no integers"))?,
            "L1" => fold(0, |sum, value| sum.wrapping_add(value.wrapping_abs())),
            "SumSquare" => fold(0, |sum, value| sum.wrapping_add(value.wrapping_mul(value))),
            other => return Err(operand(format!("`{other}` of integers"))),
        })
    };
    let data: Vec<i64> = if columns == 0 {
        let results: usize =
            x.dims.iter().enumerate().map(|(at, size)| if axes.contains(&at) { 1 } else { *size }).product();
        (0..results).map(|_| of(&[])).collect::<Result<_>>()?
    } else {
        rows.data.chunks(columns).map(of).collect::<Result<_>>()?
    };
    Ok(Whole::new(x.kind, vec![data.len()], data).into())
}

/// `LpNormalization`: x / ‖x‖ₚ along a dimension.
pub(super) fn lp_normalization(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let axis = call.axis(-1, x.rank())?;
    let norm = match call.node.integer("p", 2)? {
        1 => sum(&Function::Abs.apply(x)?, &[axis])?,
        _ => norm(x, &[axis])?,
    };
    // 0 / 0 is 0.
    let zero = norm.detach().zeros_like()?;
    let norm = norm.detach().eq(&zero)?.where_cond(&norm.detach().ones_like()?, &norm)?;
    one(x.broadcast_div(&norm)?)
}
