//! Pooling.

use candle_core::Tensor;
use ops::nchw;

use super::activation::Function;
use super::arithmetic::scaled;
use super::indexing::select;
use super::padding::pad_constant;
use super::reduce::{extreme, sum};
use super::windows::Windows;
use super::{Call, one};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::node::Node;
use crate::value::Value;

/// The input with the padding that its windows need.
fn padded(x: &Tensor, windows: &Windows, number: f64) -> Result<Tensor> {
    let mut value = Value::from(x.clone());
    for at in 0..windows.kernel.len() {
        let pads = [windows.pads[at][0] as i64, windows.needed_after(at, x.dims()[at + 2])];
        if pads != [0, 0] {
            value = pad_constant(&value, at + 2, pads, number)?;
        }
    }
    Ok(value.float()?.contiguous()?)
}

/// The windows along one dimension as a new last dimension.
fn unfolded(x: &Tensor, windows: &Windows, at: usize) -> Result<Tensor> {
    let axis = at + 2;
    let (count, taps) = (windows.counts[at], windows.kernel[at]);
    let index = |window: usize| move |tap: usize| window * windows.strides[at] + tap * windows.dilations[at];
    let indices: Vec<usize> = (0..count).flat_map(|window| (0..taps).map(index(window))).collect();
    let selected = select(&x.clone().into(), axis, &indices)?;
    let mut dims = x.dims().to_vec();
    dims[axis] = count;
    dims.insert(axis + 1, taps);
    let split = selected.float()?.contiguous()?.reshape(dims)?;
    let last = split.rank() - 1;
    let mut order: Vec<usize> = (0..=last).filter(|dim| *dim != axis + 1).collect();
    order.push(axis + 1);
    Ok(split.permute(order)?.contiguous()?)
}

/// Along one dimension, the maximum or the sum of each window.
fn along(x: &Tensor, windows: &Windows, at: usize, maximum: bool) -> Result<Tensor> {
    let unfolded = unfolded(x, windows, at)?;
    let last = unfolded.rank() - 1;
    if !maximum {
        return Ok(unfolded.sum(last)?);
    }
    let dims = unfolded.dims()[..last].to_vec();
    let rows = Value::from(unfolded.flatten_to(last - 1)?);
    Ok(extreme(&rows, true)?.float()?.reshape(dims)?)
}

/// Pools of padded images, with kernels of the crate `ops` in the last two dimensions. The sum is a mean there.
fn pooled(x: &Tensor, windows: &Windows, maximum: bool) -> Result<Tensor> {
    let rank = windows.kernel.len();
    let planar = windows.dilations[rank.saturating_sub(2)..].iter().all(|dilation| *dilation == 1);
    if !planar {
        let mut x = x.clone();
        for at in (0..rank).rev() {
            x = along(&x, windows, at, maximum)?;
        }
        let taps: usize = windows.kernel.iter().product();
        return if maximum { Ok(x) } else { Ok(x.affine(1.0 / taps as f64, 0.0)?) };
    }
    let last = |values: &[usize]| match values {
        [.., a, b] => (*a, *b),
        [b] => (1, *b),
        [] => (1, 1),
    };
    let (kernel, strides) = (last(&windows.kernel), last(&windows.strides));
    let plane = |x: &Tensor| {
        if maximum {
            nchw::max_pool2d_with_stride(x, kernel, strides)
        } else {
            nchw::avg_pool2d_with_stride(x, kernel, strides)
        }
    };
    match rank {
        1 => Ok(plane(&x.unsqueeze(2)?)?.squeeze(2)?),
        2 => Ok(plane(x)?),
        _ => {
            let &[n, c, d, h, w] = x.dims() else { return Err(operand("expected one to three spatial dimensions")) };
            let planes = plane(&x.reshape((n, c * d, h, w))?)?;
            let (_, _, h, w) = planes.dims4()?;
            let y = along(&planes.reshape((n, c, d, h, w))?, windows, 0, maximum)?;
            if maximum { Ok(y) } else { Ok(y.affine(1.0 / windows.kernel[0] as f64, 0.0)?) }
        }
    }
}

fn spatial(x: &Tensor) -> Result<&[usize]> {
    match x.dims() {
        [_, _, sizes @ ..] if (1..=3).contains(&sizes.len()) => Ok(sizes),
        other => Err(operand(format!("expected one to three spatial dimensions, got {other:?}"))),
    }
}

pub(super) fn max_pool(call: &Call) -> Result<Vec<Value>> {
    let x = match call.at(0)? {
        Value::Float(x) => x,
        Value::Whole(_) => return Err(unsupported("pooling of integers")),
    };
    let windows = Windows::of(call, spatial(x)?, None)?;
    one(pooled(&padded(x, &windows, f64::NEG_INFINITY)?, &windows, true)?)
}

pub(super) fn average_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let windows = Windows::of(call, spatial(x)?, None)?;
    let with_padding = call.node.flag("count_include_pad", false)?;
    let mean = pooled(&padded(x, &windows, 0.0)?, &windows, false)?;
    one(scaled(&mean, &factors(x, &windows, with_padding)?)?)
}

/// The number of elements of a full window, divided by those that count.
fn factors(x: &Tensor, windows: &Windows, with_padding: bool) -> Result<Tensor> {
    let mut factors = vec![1.0f64];
    for at in 0..windows.kernel.len() {
        let (size, [before, after]) = (x.dims()[at + 2], windows.pads[at]);
        // In padded coordinates.
        let (first, end) = if with_padding { (0, before + size + after) } else { (before, before + size) };
        let counted = |window: usize| {
            let taps = (0..windows.kernel[at]).map(|tap| window * windows.strides[at] + tap * windows.dilations[at]);
            taps.filter(|position| (first..end).contains(position)).count()
        };
        let own: Vec<f64> =
            (0..windows.counts[at]).map(|window| windows.kernel[at] as f64 / counted(window).max(1) as f64).collect();
        factors = factors.iter().flat_map(|factor| own.iter().map(move |own| factor * own)).collect();
    }
    let tensor = Tensor::from_vec(factors, windows.counts.as_slice(), &candle_core::Device::Cpu)?;
    Ok(tensor.to_dtype(x.dtype())?.to_device(x.device())?)
}

/// `LpPool`: (Σ |x|ᵖ)^{1/p}.
pub(super) fn lp_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let p = call.node.integer("p", 2)? as f64;
    let windows = Windows::of(call, spatial(x)?, None)?;
    let powers = Function::Power(p).apply(&Function::Abs.apply(x)?)?;
    let taps: usize = windows.kernel.iter().product();
    let sums = pooled(&padded(&powers, &windows, 0.0)?, &windows, false)?.affine(taps as f64, 0.0)?;
    one(Function::Power(1.0 / p).apply(&sums)?)
}

/// GlobalAveragePool, GlobalMaxPool and GlobalLpPool.
pub(super) fn global_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let [n, c, sizes @ ..] = x.dims() else { return Err(operand("expected [n, c, …]")) };
    let (axes, count): (Vec<usize>, usize) = ((2..x.rank()).collect(), sizes.iter().product());
    let mut dims = vec![1; x.rank()];
    (dims[0], dims[1]) = (*n, *c);
    one(match call.node.op.as_str() {
        "GlobalAveragePool" if x.rank() == 4 => nchw::global_avg_pool2d(x)?.reshape(dims)?,
        "GlobalAveragePool" => sum(x, &axes)?.affine(1.0 / count.max(1) as f64, 0.0)?,
        "GlobalMaxPool" => {
            let rows = Value::from(x.contiguous()?.reshape((n * c, count))?);
            extreme(&rows, true)?.float()?.reshape(dims)?
        }
        _ => {
            let p = call.node.integer("p", 2)? as f64;
            let powers = Function::Power(p).apply(&Function::Abs.apply(x)?)?;
            Function::Power(1.0 / p).apply(&sum(&powers, &axes)?)?
        }
    })
}

pub(super) fn refuses(node: &Node) -> Option<String> {
    super::windows::refuses_auto_pad(node)
}
