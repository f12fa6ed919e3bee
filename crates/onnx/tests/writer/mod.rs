//! A writer of the wire format, as far as the tests need it, and a small graph.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests, which may panic; no test needs all of them")]

use candle_core::{DType, Device};
use onnx_graph::{Error, Layer, Model};

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

pub(crate) fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

pub(crate) fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    let outputs: Vec<u8> = outputs.iter().flat_map(|name| field(2, name.as_bytes())).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| field(5, attribute)).collect();
    [inputs, outputs, field(3, name.as_bytes()), field(4, op.as_bytes()), attributes].concat()
}

pub(crate) fn integer(name: &str, value: u64) -> Vec<u8> {
    [field(1, name.as_bytes()), number(3, value), number(20, 2)].concat()
}

pub(crate) fn floats(name: &str, dims: &[u64], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [dims, number(2, 1), field(8, name.as_bytes()), field(9, &raw)].concat()
}

pub(crate) fn longs(name: &str, dims: &[u64], values: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [dims, number(2, 7), field(8, name.as_bytes()), field(9, &raw)].concat()
}

pub(crate) fn bytes_of(name: &str, dims: &[u64], values: &[i8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    let raw: Vec<u8> = values.iter().map(|value| value.cast_unsigned()).collect();
    [dims, number(2, 3), field(8, name.as_bytes()), field(9, &raw)].concat()
}

/// A graph as an attribute: a body with these nodes, inputs and outputs.
pub(crate) fn body(name: &str, nodes: &[Vec<u8>], inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|node| field(1, node)).collect();
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(11, &field(1, name.as_bytes()))).collect();
    let outputs: Vec<u8> = outputs.iter().flat_map(|name| field(12, &field(1, name.as_bytes()))).collect();
    [field(1, name.as_bytes()), field(6, &[nodes, inputs, outputs].concat()), number(20, 5)].concat()
}

/// A tensor whose bytes are in another file.
pub(crate) fn external(name: &str, dims: &[u64], entries: &[(&str, &str)]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|size| number(1, *size)).collect();
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(key, value)| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()))
        .collect();
    [dims, number(2, 1), field(8, name.as_bytes()), entries, number(14, 1)].concat()
}

/// A value with an element type and sizes; 0 is a free size.
pub(crate) fn value(name: &str, element: u64, sizes: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> =
        sizes.iter().flat_map(|size| field(1, &if *size == 0 { field(2, b"n") } else { number(1, *size) })).collect();
    let tensor = [number(1, element), field(2, &dims)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

pub(crate) struct Parts {
    pub(crate) nodes: Vec<Vec<u8>>,
    pub(crate) weights: Vec<Vec<u8>>,
    pub(crate) inputs: Vec<Vec<u8>>,
    pub(crate) output: &'static str,
    pub(crate) opset: u64,
    pub(crate) functions: Vec<Vec<u8>>,
}

impl Parts {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let graph = [
            self.nodes.iter().flat_map(|node| field(1, node)).collect::<Vec<u8>>(),
            self.weights.iter().flat_map(|tensor| field(5, tensor)).collect(),
            self.inputs.iter().flat_map(|input| field(11, input)).collect(),
            field(12, &field(1, self.output.as_bytes())),
        ]
        .concat();
        let functions: Vec<u8> = self.functions.iter().flat_map(|function| field(25, function)).collect();
        [field(7, &graph), field(8, &number(2, self.opset)), functions].concat()
    }

    pub(crate) fn model(&self) -> Model {
        Model::from_bytes(self.bytes()).unwrap()
    }

    pub(crate) fn refused(&self, layer: &Layer) -> Error {
        self.model().graph(layer, DType::F64, &Device::Cpu).unwrap_err()
    }
}

/// Linear, ReLU, Linear: y = W₂·relu(W₁·x + b₁) + b₂ with two inputs, three hidden units and two classes.
pub(crate) fn perceptron() -> Parts {
    Parts {
        nodes: vec![
            node("Gemm", "fc1", &["x", "w1", "b1"], &["a"], &[integer("transB", 1)]),
            node("Relu", "act", &["a"], &["h"], &[]),
            node("MatMul", "fc2", &["h", "w2"], &["z"], &[]),
            node("Add", "bias", &["b2", "z"], &["y"], &[]),
        ],
        weights: vec![
            floats("w1", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            floats("b1", &[3], &[0.1, 0.2, 0.3]),
            floats("w2", &[3, 2], &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]),
            floats("b2", &[2], &[0.5, -0.5]),
        ],
        inputs: vec![value("x", 1, &[0, 2])],
        output: "y",
        opset: 17,
        functions: vec![],
    }
}
