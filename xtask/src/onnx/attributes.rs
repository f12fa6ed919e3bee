//! Attributes of ONNX nodes, with the defaults of the standard.

use anyhow::{Result, bail};
use candle_core::Tensor;
use candle_onnx::onnx::{AttributeProto, NodeProto};

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    find(node, name).map_or(default, |attribute| attribute.i)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f64 {
    f64::from(find(node, name).map_or(default, |attribute| attribute.f))
}

pub(super) fn integers(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    find(node, name).map(|attribute| attribute.ints.clone())
}

pub(super) fn text(node: &NodeProto, name: &str) -> Option<String> {
    find(node, name).map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned())
}

pub(super) fn tensor(node: &NodeProto, name: &str) -> Result<Tensor> {
    match find(node, name).and_then(|attribute| attribute.t.as_ref()) {
        Some(value) => Ok(candle_onnx::eval::get_tensor(value, name)?),
        None => bail!("the attribute `{name}` is missing; only tensors are read"),
    }
}

/// A vertical and a horizontal number that may not be negative.
pub(super) fn pair(node: &NodeProto, name: &str, default: usize) -> Result<[usize; 2]> {
    match integers(node, name).as_deref() {
        None => Ok([default; 2]),
        Some(&[vertical, horizontal]) if vertical >= 0 && horizontal >= 0 => {
            Ok([vertical as usize, horizontal as usize])
        }
        Some(other) => bail!("`{name}` is {other:?}, expected two whole numbers from 0"),
    }
}

/// Zero padding, which must be the same on both sides.
pub(super) fn padding(node: &NodeProto) -> Result<[usize; 2]> {
    match text(node, "auto_pad").as_deref() {
        None | Some("NOTSET" | "VALID" | "") => {}
        Some(other) => bail!("auto_pad = {other}: only explicit padding is supported"),
    }
    match integers(node, "pads").as_deref() {
        None => Ok([0; 2]),
        Some(&[top, left, bottom, right]) if top == bottom && left == right && top >= 0 && left >= 0 => {
            Ok([top as usize, left as usize])
        }
        Some(other) => bail!("pads = {other:?}: expected the same on both sides of each of two dimensions"),
    }
}
