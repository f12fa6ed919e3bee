//! Norms of each sample.

use candle_core::Tensor;
use ops::{SampleNormLinearization, SampleNormSettings};

use super::push_linearized;
use crate::Result;
use crate::layout::Layout;
use crate::linearization::Pass;
use crate::node::{Id, Node};
use crate::value::{Value, axis};

/// A constant with one number for each of `channels`.
fn by_channel(node: &Node, at: usize, channels: usize, pass: &Pass) -> Result<Option<Tensor>> {
    match pass.known(node.inputs.get(at)) {
        Some(Value::Float(tensor)) if tensor.elem_count() == channels => Ok(Some(tensor.flatten_all()?)),
        _ => Ok(None),
    }
}

/// Whether an input of this number is given.
fn is_given(node: &Node, at: usize) -> bool {
    node.inputs.get(at).is_some_and(Option::is_some)
}

/// Layer norm and RMS norm over the last dimension.
pub(super) fn last_dimension(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.rows(node, 0)? else { return Ok(None) };
    let (dims, rank) = (operand.dims(), operand.dims().len());
    let Layout::Rows(rows) = operand.layout else { return Ok(None) };
    let is_last = rank > 1 && axis(node.integer("axis", -1)?, rank)? == rank - 1 && rows.at != rank - 1;
    if !is_last || node.outputs.iter().flatten().count() > 1 {
        return Ok(None);
    }
    let gamma = by_channel(node, 1, dims[rank - 1], pass)?;
    let beta = by_channel(node, 2, dims[rank - 1], pass)?;
    if gamma.is_some() != is_given(node, 1) || beta.is_some() != is_given(node, 2) {
        return Ok(None);
    }
    let epsilon = node.float("epsilon", 1e-5)?;
    let settings = if node.op == "RMSNormalization" {
        SampleNormSettings::rms_norm(epsilon)
    } else {
        SampleNormSettings::layer_norm(epsilon)
    };
    let norm = SampleNormLinearization::at(&operand.tensor, gamma.as_ref(), beta.as_ref(), settings)?;
    push_linearized(norm, &operand, output, pass)
}

/// Group norm and instance norm, with one scale and shift for each channel.
pub(super) fn of_images(node: &Node, output: Id, pass: &mut Pass) -> Result<Option<()>> {
    let Some(operand) = pass.image(node, 0)? else { return Ok(None) };
    let channels = operand.tensor.dim(3)?;
    let (Some(gamma), Some(beta)) = (by_channel(node, 1, channels, pass)?, by_channel(node, 2, channels, pass)?) else {
        return Ok(None);
    };
    let epsilon = node.float("epsilon", 1e-5)?;
    let settings = if node.op == "GroupNormalization" {
        let groups = usize::try_from(node.integer("num_groups", 1)?).unwrap_or(0);
        SampleNormSettings::group_norm(groups, epsilon)
    } else {
        SampleNormSettings::instance_norm(epsilon)
    };
    let norm = SampleNormLinearization::at(&operand.tensor, Some(&gamma), Some(&beta), settings)?;
    push_linearized(norm, &operand, output, pass)
}
