//! Values put together or repeated.

use candle_core::Tensor;

use super::arithmetic::{broadcast_dims, broadcast_whole};
use super::indexing::select;
use super::shape::permuted;
use super::{Call, one, sizes};
use crate::Result;
use crate::error::operand;
use crate::message::Kind;
use crate::node::Node;
use crate::value::{Value, Whole, axis, checked_count};

/// Values along one dimension.
pub(super) fn concatenated(values: &[&Value], axis: usize) -> Result<Value> {
    let first = values.first().ok_or_else(|| operand("there is nothing to concatenate"))?;
    match first {
        Value::Float(_) => {
            // Empty tensors change nothing, and candle refuses some of them.
            let all: Vec<&Tensor> = values.iter().map(|value| value.float()).collect::<Result<_>>()?;
            let filled: Vec<&Tensor> = all.iter().copied().filter(|tensor| tensor.elem_count() > 0).collect();
            match filled[..] {
                [] => Ok((*first).clone()),
                [one] => Ok(one.clone().into()),
                _ => Ok(Tensor::cat(&filled, axis)?.into()),
            }
        }
        Value::Whole(whole) => {
            let all: Vec<&Whole> = values.iter().map(|value| value.whole()).collect::<Result<_>>()?;
            let mut dims = whole.dims.clone();
            dims[axis] = 0;
            for other in &all {
                let fits = other.dims.len() == dims.len()
                    && (0..dims.len()).all(|at| at == axis || other.dims[at] == dims[at]);
                if !fits {
                    return Err(operand("the shapes differ in another dimension"));
                }
                dims[axis] += other.dims[axis];
            }
            let outer: usize = dims[..axis].iter().product();
            let mut data = Vec::with_capacity(checked_count(&dims)?);
            for row in 0..outer {
                for other in &all {
                    let length: usize = other.dims[axis..].iter().product();
                    data.extend_from_slice(&other.data[row * length..(row + 1) * length]);
                }
            }
            Ok(Whole::new(whole.kind, dims, data).into())
        }
    }
}

pub(super) fn concat(call: &Call) -> Result<Vec<Value>> {
    let values: Vec<&Value> = call.inputs.iter().flatten().collect();
    let rank = values.first().map_or(0, |value| value.dims().len());
    let axis = call.axis(0, rank)?;
    one(concatenated(&values, axis)?)
}

/// `Expand`: broadcasting to a shape.
pub(super) fn expand(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let dims = broadcast_dims(&[x.dims(), &sizes(&call.list(1)?)?])?;
    call.check_count(&dims)?;
    match x {
        Value::Float(tensor) => one(tensor.broadcast_as(dims)?.contiguous()?),
        Value::Whole(whole) => one(broadcast_whole(whole, &dims)?),
    }
}

pub(super) fn tile(call: &Call) -> Result<Vec<Value>> {
    let mut x = call.at(0)?.clone();
    let repeats = sizes(&call.list(1)?)?;
    if repeats.len() != x.dims().len() {
        return Err(operand(format!("repeats {repeats:?} for the shape {:?}", x.dims())));
    }
    let dims: Vec<usize> = x.dims().iter().zip(&repeats).map(|(size, times)| size.saturating_mul(*times)).collect();
    call.check_count(&dims)?;
    for (axis, times) in repeats.iter().enumerate().filter(|(_, times)| **times != 1) {
        let size = x.dims()[axis];
        let indices: Vec<usize> = (0..*times).flat_map(|_| 0..size).collect();
        x = select(&x, axis, &indices)?;
    }
    one(x)
}

/// `DepthToSpace`: channels become pixels.
pub(super) fn depth_to_space(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let (&[n, c, h, w], block) = (x.dims(), block_size(call)?) else { return Err(operand("expected [n, c, h, w]")) };
    let out = c / (block * block);
    if out * block * block != c {
        return Err(operand(format!("{c} channels are no multiple of {block}²")));
    }
    let pixels = if call.node.text("mode", "DCR")? == "CRD" {
        permuted(&x.reshaped(vec![n, out, block, block, h, w])?, &[0, 1, 4, 2, 5, 3])?
    } else {
        permuted(&x.reshaped(vec![n, block, block, out, h, w])?, &[0, 3, 4, 1, 5, 2])?
    };
    one(pixels.reshaped(vec![n, out, h * block, w * block])?)
}

/// `SpaceToDepth`: pixels become channels.
pub(super) fn space_to_depth(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let (&[n, c, h, w], block) = (x.dims(), block_size(call)?) else { return Err(operand("expected [n, c, h, w]")) };
    if h % block != 0 || w % block != 0 {
        return Err(operand(format!("the image is no multiple of {block}")));
    }
    let (rows, columns) = (h / block, w / block);
    let channels = permuted(&x.reshaped(vec![n, c, rows, block, columns, block])?, &[0, 3, 5, 1, 2, 4])?;
    one(channels.reshaped(vec![n, c * block * block, rows, columns])?)
}

fn block_size(call: &Call) -> Result<usize> {
    let size = call.node.integer("blocksize", 0)?;
    usize::try_from(size)
        .ok()
        .filter(|size| *size > 0 && *size < 1 << 16)
        .ok_or_else(|| operand(format!("blocksize = {size}")))
}

pub(super) fn refuses_depth_mode(node: &Node) -> Option<String> {
    match node.text("mode", "DCR").ok()? {
        "DCR" | "CRD" | "" => None,
        other => Some(format!("mode = {other}")),
    }
}

/// `OneHot`: a number at an index, another elsewhere.
pub(super) fn one_hot(call: &Call) -> Result<Vec<Value>> {
    let (at, values) = (call.at(0)?, call.at(2)?);
    let depth = usize::try_from(call.at(1)?.number()? as i64).map_err(|_| operand("the depth is negative"))?;
    let axis = axis(call.node.integer("axis", -1)?, at.dims().len() + 1)?;
    let mut dims = at.dims().to_vec();
    dims.insert(axis, depth);
    call.check_count(&dims)?;
    let inner: usize = at.dims()[axis..].iter().product();
    let numbers = at.numbers()?;
    let mut hot = vec![0i64; checked_count(&dims)?];
    for (position, number) in numbers.into_iter().enumerate() {
        let index = if number < 0.0 { number + depth as f64 } else { number };
        if index >= 0.0 && index < depth as f64 {
            let (row, column) = (position / inner.max(1), position % inner.max(1));
            hot[(row * depth + index as usize) * inner + column] = 1;
        }
    }
    let pair = values.numbers()?;
    let [off, on] = pair[..] else { return Err(operand("expected two values")) };
    match values {
        Value::Whole(values) => {
            let data = hot.into_iter().map(|hot| if hot == 1 { on as i64 } else { off as i64 }).collect();
            one(Whole::new(values.kind, dims, data))
        }
        Value::Float(_) => {
            let mask = call.as_float(&Whole::new(Kind::I64, dims, hot))?;
            one(mask.affine(on - off, off)?)
        }
    }
}

/// `Trilu`: one triangle, 0 elsewhere.
pub(super) fn triangle(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let k = call.optional(1).map(Value::number).transpose()?.unwrap_or(0.0) as i64;
    let upper = call.node.flag("upper", true)?;
    let &[.., rows, columns] = x.dims() else { return Err(operand("expected at least two dimensions")) };
    let kept = move |at: usize| {
        let (row, column) = ((at / columns) as i64, (at % columns) as i64);
        if upper { column - row >= k } else { column - row <= k }
    };
    let size = (rows * columns).max(1);
    match x {
        Value::Whole(whole) => {
            let of = |(at, value): (usize, &i64)| if kept(at % size) { *value } else { 0 };
            one(Whole::new(whole.kind, whole.dims.clone(), whole.data.iter().enumerate().map(of).collect()))
        }
        Value::Float(tensor) => {
            let mask: Vec<i64> = (0..rows * columns).map(|at| i64::from(kept(at))).collect();
            let mask = Whole::new(Kind::Bool, vec![rows, columns], mask).to_mask(tensor.device())?;
            let zero = tensor.detach().zeros_like()?;
            one(mask.broadcast_as(tensor.dims())?.contiguous()?.where_cond(&tensor.contiguous()?, &zero)?)
        }
    }
}

/// `CumSum` along one dimension.
pub(super) fn cumulative_sum(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?;
    let axis = axis(call.at(1)?.number()? as i64, x.dims().len())?;
    let (exclusive, reverse) = (call.node.flag("exclusive", false)?, call.node.flag("reverse", false)?);
    let size = x.dims()[axis];
    // Column j sums the elements i that come before it.
    let summed = |i: usize, j: usize| {
        let (i, j) = if reverse { (j, i) } else { (i, j) };
        if exclusive { i < j } else { i <= j }
    };
    match x {
        Value::Whole(whole) => {
            let inner: usize = whole.dims[axis + 1..].iter().product();
            let data = (0..whole.data.len()).map(|at| {
                let (column, index) = (at % inner, at / inner % size);
                let start = at / (inner * size) * inner * size + column;
                (0..size)
                    .filter(|i| summed(*i, index))
                    .fold(0i64, |sum, i| sum.wrapping_add(whole.data[start + i * inner]))
            });
            one(Whole::new(whole.kind, whole.dims.clone(), data.collect()))
        }
        Value::Float(tensor) => {
            call.check_count(&[size, size])?;
            let matrix: Vec<f64> = (0..size).flat_map(|i| (0..size).map(move |j| f64::from(summed(i, j)))).collect();
            one(along(tensor, axis, &matrix, [size, size])?)
        }
    }
}

/// The product of one dimension with a constant matrix `[size, out]`.
pub(super) fn along(x: &Tensor, axis: usize, matrix: &[f64], [size, out]: [usize; 2]) -> Result<Tensor> {
    let matrix = Tensor::from_slice(matrix, (size, out), &candle_core::Device::Cpu)?
        .to_dtype(x.dtype())?
        .to_device(x.device())?;
    let last = x.rank() - 1;
    let moved = x.transpose(axis, last)?.contiguous()?;
    Ok(super::linear::by_constant(&moved, &matrix)?.transpose(axis, last)?.contiguous()?)
}
