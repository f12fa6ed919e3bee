//! Padding of every kind.

use candle_core::Tensor;

use super::indexing::select;
use super::joining::concatenated;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::{Value, Whole, axis, checked_count};

/// How elements outside are chosen.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Reflect,
    Edge,
    Wrap,
}

/// The tensor with a constant on both sides of a dimension; negative sizes cut.
pub(super) fn pad_constant(x: &Value, axis: usize, [before, after]: [i64; 2], number: f64) -> Result<Value> {
    let size = x.dims()[axis] as i64;
    let (cut_before, cut_after) = ((-before).max(0), (-after).max(0));
    let kept = size - cut_before - cut_after;
    if kept < 0 {
        return Err(operand(format!("padding by [{before}, {after}] of a dimension of size {size}")));
    }
    let mut x = x.clone();
    if kept < size {
        x = select(&x, axis, &(cut_before as usize..(cut_before + kept) as usize).collect::<Vec<_>>())?;
    }
    let filled = |size: i64| -> Result<Option<Value>> {
        if size <= 0 {
            return Ok(None);
        }
        let mut dims = x.dims().to_vec();
        dims[axis] = size as usize;
        let count = checked_count(&dims)?;
        Ok(Some(match &x {
            Value::Float(x) => {
                let one = Tensor::new(&[number], x.device())?.to_dtype(x.dtype())?;
                one.broadcast_as(count)?.contiguous()?.reshape(dims)?.into()
            }
            Value::Whole(x) => Whole::new(x.kind, dims, vec![number as i64; count]).into(),
        }))
    };
    let (before, after) = (filled(before)?, filled(after)?);
    let parts: Vec<&Value> = before.iter().chain([&x]).chain(after.iter()).collect();
    if let [x] = parts[..] { Ok(x.clone()) } else { concatenated(&parts, axis) }
}

/// The tensor with elements of its own on both sides of a dimension.
fn pad_own(x: &Value, axis: usize, [before, after]: [i64; 2], mode: Mode) -> Result<Value> {
    let size = x.dims()[axis] as i64;
    if size == 0 {
        return Err(operand("padding of an empty dimension with its own elements"));
    }
    let source = |at: i64| match mode {
        Mode::Edge => at.clamp(0, size - 1),
        Mode::Wrap => at.rem_euclid(size),
        Mode::Reflect if size == 1 => 0,
        Mode::Reflect => {
            let folded = at.rem_euclid(2 * (size - 1));
            folded.min(2 * (size - 1) - folded)
        }
    };
    if before.saturating_abs() > 1 << 28 || after.saturating_abs() > 1 << 28 {
        return Err(operand(format!("padding by [{before}, {after}]")));
    }
    let indices: Vec<usize> = (-before..size + after).map(|at| source(at) as usize).collect();
    select(x, axis, &indices)
}

/// `Pad`, with attributes up to operator set 10, then with inputs.
pub(super) fn pad(call: &Call) -> Result<Vec<Value>> {
    let mut x = call.at(0)?.clone();
    let rank = x.dims().len();
    let pads = call.list_or_attribute("pads", 1)?.ok_or_else(|| operand("the pads are missing"))?;
    let number = match (call.optional(2), call.node.attribute("value")) {
        (Some(value), _) => value.number()?,
        (None, Some(_)) => call.node.float("value", 0.0)?,
        (None, None) => 0.0,
    };
    let axes: Vec<usize> = match call.optional(3) {
        Some(axes) => axes.whole()?.data.iter().map(|at| axis(*at, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(operand(format!("pads {pads:?} for {} dimensions", axes.len())));
    }
    let mut dims = x.dims().to_vec();
    for (at, axis) in axes.iter().enumerate() {
        let size =
            dims[*axis] as i64 + pads[at].clamp(-(1 << 40), 1 << 40) + pads[at + axes.len()].clamp(-(1 << 40), 1 << 40);
        dims[*axis] = usize::try_from(size).unwrap_or(0);
    }
    call.check_count(&dims)?;
    let mode = match call.node.text("mode", "constant")? {
        "reflect" => Some(Mode::Reflect),
        "edge" => Some(Mode::Edge),
        "wrap" => Some(Mode::Wrap),
        _ => None,
    };
    for (at, axis) in axes.iter().enumerate() {
        let both = [pads[at], pads[at + axes.len()]];
        if both != [0; 2] {
            x = match mode {
                Some(mode) => pad_own(&x, *axis, both, mode)?,
                None => pad_constant(&x, *axis, both, number)?,
            };
        }
    }
    one(x)
}

pub(super) fn refuses_mode(node: &Node) -> Option<String> {
    match node.text("mode", "constant").ok()? {
        "constant" | "reflect" | "edge" | "wrap" | "" => None,
        other => Some(format!("mode = {other}")),
    }
}
