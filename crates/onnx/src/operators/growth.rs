//! How many numbers an operator computes at once, for operators whose results or temporary arrays can be larger than their inputs.
//!
//! A graph that is read is evaluated where it depends on constants alone. A small file can state large results there, such as a chain
//! of concatenations that doubles a tensor forty times. Each node is checked before it is evaluated.

use super::windows::Windows;
use super::{Call, ELEMENTWISE};
use crate::Result;
use crate::error::operand;

/// Further operators whose operands broadcast.
const BROADCASTING: [&str; 6] =
    ["BitShift", "QuantizeLinear", "DequantizeLinear", "BatchNormalization", "LayerNormalization", "RMSNormalization"];

/// Refuses a node that computes more numbers than the context allows and more than its inputs have, or more than `left`.
pub(crate) fn check(call: &Call, left: usize) -> Result<()> {
    let shapes: Vec<&[usize]> = call.inputs.iter().flatten().map(|value| value.dims()).collect();
    let allowed =
        shapes.iter().map(|dims| product(dims)).sum::<u128>().max(call.context.most as u128).min(left as u128);
    match numbers(call, &shapes)? {
        Some(count) if count > allowed => {
            Err(operand(format!("{count} numbers would be computed from constants alone; at most {allowed} are")))
        }
        _ => Ok(()),
    }
}

/// The most numbers of the result and of its temporary arrays; `None` where the inputs or the operator's own check bound them.
fn numbers(call: &Call, shapes: &[&[usize]]) -> Result<Option<u128>> {
    let Some(first) = shapes.first() else { return Ok(None) };
    Ok(match call.node.op.as_str() {
        op if ELEMENTWISE.contains(&op) || BROADCASTING.contains(&op) => Some(broadcast(shapes)),
        "Concat" => Some(shapes.iter().map(|dims| product(dims)).sum()),
        "Conv" | "AveragePool" | "MaxPool" | "LpPool" => windows(call, first, shapes.get(1).copied())?,
        "ConvTranspose" => transposed(call, first, shapes.get(1).copied())?,
        "Einsum" => Some(all_letters(call.node.text("equation", "")?, shapes)),
        "Gemm" | "MatMul" => Some(products(&shapes[..shapes.len().min(2)])),
        "Attention" | "LSTM" | "GRU" | "RNN" => {
            let largest = shapes.iter().map(|dims| product(dims)).max().unwrap_or(0);
            Some(times(largest, largest))
        }
        _ => None,
    })
}

fn times(a: u128, b: u128) -> u128 {
    a.saturating_mul(b)
}

fn product(dims: &[usize]) -> u128 {
    dims.iter().map(|size| *size as u128).map(|size| size.max(1)).fold(1, times)
}

/// The elements of the shape to which shapes broadcast.
fn broadcast(shapes: &[&[usize]]) -> u128 {
    let rank = shapes.iter().map(|dims| dims.len()).max().unwrap_or(0);
    let largest =
        |at: usize| shapes.iter().filter_map(|dims| dims.iter().rev().nth(at)).max().map_or(1, |size| *size as u128);
    (0..rank).map(largest).fold(1, times)
}

/// The larger of a matrix product and its operands, which are stored in the shape to which their first dimensions broadcast.
fn products(shapes: &[&[usize]]) -> u128 {
    let outer: Vec<&[usize]> = shapes.iter().map(|dims| &dims[..dims.len().saturating_sub(2)]).collect();
    let last: Vec<u128> = shapes.iter().flat_map(|dims| dims.iter().rev().take(2)).map(|size| *size as u128).collect();
    let pairs = (0..last.len()).flat_map(|a| (a + 1..last.len()).map(move |b| (a, b)));
    let largest =
        pairs.map(|(a, b)| times(last[a], last[b])).max().unwrap_or_else(|| last.iter().copied().max().unwrap_or(1));
    times(broadcast(&outer), largest)
}

/// The product of the sizes of all letters of an equation, because operands are multiplied in that shape.
fn all_letters(equation: &str, shapes: &[&[usize]]) -> u128 {
    let terms = equation.split("->").next().unwrap_or_default().split(',').map(str::trim);
    let mut sizes = std::collections::BTreeMap::new();
    let mut rest = 1;
    for (term, dims) in terms.zip(shapes) {
        let letters: Vec<char> = term.chars().filter(|letter| letter.is_alphabetic()).collect();
        if letters.len() < dims.len() {
            // The dimensions of an ellipsis.
            rest = times(rest, product(dims));
            continue;
        }
        for (letter, size) in letters.into_iter().zip(*dims) {
            let known = sizes.entry(letter).or_insert(*size);
            *known = (*known).max(*size);
        }
    }
    times(rest, sizes.values().map(|size| *size as u128).fold(1, times))
}

/// The padded input or the windows with all of their elements.
fn windows(call: &Call, x: &[usize], weight: Option<&[usize]>) -> Result<Option<u128>> {
    let (Some(sizes), Some(outer)) = (x.get(2..), x.get(..2)) else { return Ok(None) };
    let windows = Windows::of(call, sizes, weight.and_then(|dims| dims.get(2..)))?;
    let padded = sizes.iter().zip(&windows.pads).map(|(size, pads)| *size as u128 + pads[0] as u128 + pads[1] as u128);
    let all = times(product(&windows.counts), product(&windows.kernel));
    let outputs = weight.and_then(|dims| dims.first()).map_or(0, |out| *out as u128);
    let (batch, channels) = (outer[0] as u128, (outer[1] as u128).max(outputs));
    Ok(Some(times(times(batch, channels), padded.fold(1, times).max(all))))
}

/// The full result of a transposed convolution, with what is added to it.
fn transposed(call: &Call, x: &[usize], weight: Option<&[usize]>) -> Result<Option<u128>> {
    let (Some(sizes), Some(kernel)) = (x.get(2..), weight.and_then(|dims| dims.get(2..))) else { return Ok(None) };
    let at = |name: &str, at: usize, default: i64| -> Result<u128> {
        let stated = call.node.integers(name)?.and_then(|values| values.get(at).copied());
        Ok(u128::from(stated.unwrap_or(default).unsigned_abs()))
    };
    let mut full = 1;
    for (axis, (size, taps)) in sizes.iter().zip(kernel).enumerate() {
        let reach = times(*size as u128, at("strides", axis, 1)?) + times(*taps as u128, at("dilations", axis, 1)?);
        let added = at("output_padding", axis, 0)? + at("output_shape", axis, 0)?;
        let negative_pads = at("pads", axis, 0)? + at("pads", axis + sizes.len(), 0)?;
        full = times(full, reach.saturating_add(added).saturating_add(negative_pads));
    }
    let channels = weight.and_then(|dims| dims.get(1)).map_or(1, |out| *out as u128);
    let groups = u128::from(call.node.integer("group", 1)?.unsigned_abs());
    Ok(Some(times(times(x.first().map_or(1, |n| *n as u128), times(channels, groups)), full)))
}
