//! Updates at positions.

use super::indexing::{blocks, element_positions, take};
use super::joining::concatenated;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::{Value, Whole};

/// `ScatterElements`, and `Scatter` of old operator sets.
pub(super) fn scatter_elements(call: &Call) -> Result<Vec<Value>> {
    let (x, at, updates) = (call.at(0)?, call.at(1)?.whole()?, call.at(2)?);
    let axis = call.axis(0, x.dims().len())?;
    if at.dims != updates.dims() {
        return Err(operand("indices and updates have different shapes"));
    }
    scattered(call, x, updates, &element_positions(at, x.dims(), axis)?)
}

pub(super) fn scatter_nd(call: &Call) -> Result<Vec<Value>> {
    let (x, at, updates) = (call.at(0)?, call.at(1)?.whole()?, call.at(2)?);
    let (starts, block) = blocks(at, x.dims(), 0)?;
    let size: usize = block.iter().product();
    if updates.count() != starts.len().saturating_mul(size) {
        return Err(operand(format!("updates of shape {:?} for {} blocks of {block:?}", updates.dims(), starts.len())));
    }
    let positions: Vec<usize> = starts.into_iter().flat_map(|start| start..start + size).collect();
    scattered(call, x, updates, &positions)
}

/// `x` with the updates at these positions; of several updates of one position the last counts, or their sum is added.
fn scattered(call: &Call, x: &Value, updates: &Value, positions: &[usize]) -> Result<Vec<Value>> {
    let reduction = call.node.text("reduction", "none")?;
    let count = x.count();
    if let (Value::Whole(x), Value::Whole(updates)) = (x, updates) {
        let mut data = x.data.to_vec();
        for (at, update) in positions.iter().zip(updates.data.iter()) {
            data[*at] = match reduction {
                "add" => data[*at].wrapping_add(*update),
                _ => *update,
            };
        }
        return one(Whole::new(x.kind, x.dims.clone(), data));
    }
    let (flat, updates) = (x.reshaped(vec![count])?, updates.reshaped(vec![positions.len()])?);
    if reduction == "add" {
        let at = Whole::list(positions.iter().map(|at| *at as i64).collect()).to_indices(x.float()?.device())?;
        let sum = flat.float()?.contiguous()?.index_add(&at, &updates.float()?.contiguous()?, 0)?;
        return one(sum.reshape(x.dims())?);
    }
    let mut source: Vec<usize> = (0..count).collect();
    for (update, at) in positions.iter().enumerate() {
        source[*at] = count + update;
    }
    one(take(&concatenated(&[&flat, &updates], 0)?, &source, x.dims().to_vec())?)
}

pub(super) fn refuses_reduction(node: &Node) -> Option<String> {
    match node.text("reduction", "none").ok()? {
        "none" | "add" | "" => None,
        other => Some(format!("reduction = {other}")),
    }
}
