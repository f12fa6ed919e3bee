//! Small files that state large computations: each is refused while the graph is read, with bounded memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod writer;

use candle_core::{DType, Device};
use damaged_inputs::{is_limited, run_in_limited_memory};
use onnx_graph::{Error, Layer, Model};
use writer::{Parts, body, field, floats, integer, longs, node, perceptron, value};

/// The limit of the address space in KiB.
const KILOBYTES: u64 = 4 << 20;

/// A graph x + Σ c of these constants, which `nodes` compute.
fn of_constant(mut nodes: Vec<Vec<u8>>, weights: Vec<Vec<u8>>, last: &str) -> Parts {
    nodes.push(node("ReduceSum", "sum", &[last], &["s"], &[integer("keepdims", 0)]));
    nodes.push(node("Add", "add", &["x", "s"], &["y"], &[]));
    Parts { nodes, weights, inputs: vec![value("x", 1, &[0, 2])], output: "y", opset: 17, functions: vec![] }
}

/// Forty nodes, each of which takes the result of the one before it twice.
fn doubled(op: &str, attributes: &[Vec<u8>], weights: Vec<Vec<u8>>) -> Parts {
    let name = |at: usize| if at == 0 { "c".to_owned() } else { format!("c{at}") };
    let step = |at: usize| node(op, "", &[&name(at), &name(at)], &[&name(at + 1)], attributes);
    of_constant((0..40).map(step).collect(), weights, &name(40))
}

fn large() -> Vec<(&'static str, Parts)> {
    let line = |length: u64, dims: &[u64]| floats("c", dims, &vec![0.5; length as usize]);
    let outer = |name: &str, dims: &[u64]| floats(name, dims, &vec![0.5; 1 << 14]);
    let pair = || vec![outer("a", &[1 << 14, 1]), outer("b", &[1, 1 << 14])];
    let text =
        |name: &str, text: &str| [field(1, name.as_bytes()), field(4, text.as_bytes()), vec![0xa0, 1, 3]].concat();
    let list = |name: &str, values: &[u64]| {
        let numbers: Vec<u8> = values.iter().flat_map(|value| writer::number(8, *value)).collect();
        [field(1, name.as_bytes()), numbers, vec![0xa0, 1, 7]].concat()
    };
    let one = |op: &str, inputs: &[&str], attributes: &[Vec<u8>], weights| {
        of_constant(vec![node(op, "large", inputs, &["z"], attributes)], weights, "z")
    };
    let image = || vec![floats("c", &[1, 1, 2, 2], &[1.0; 4])];
    let kernel = || [image(), vec![floats("k", &[1, 1, 2, 2], &[1.0; 4])]].concat();
    let by_two = [integer("axis", 0)];
    // Two that take each other double as well, and no node takes a value twice.
    let mut alternating =
        vec![node("Concat", "", &["c", "d"], &["e0"], &by_two), node("Concat", "", &["d", "c"], &["f0"], &by_two)];
    for at in 0..40 {
        let [e, f, e1, f1] = [format!("e{at}"), format!("f{at}"), format!("e{}", at + 1), format!("f{}", at + 1)];
        alternating.push(node("Concat", "", &[&e, &f], &[&e1], &by_two));
        alternating.push(node("Concat", "", &[&f, &e], &[&f1], &by_two));
    }
    vec![
        ("concatenated", doubled("Concat", &by_two, vec![line(64, &[64])])),
        ("concatenated integers", {
            let mut parts = doubled("Concat", &by_two, vec![longs("c", &[64], &[3; 64])]);
            parts.nodes.insert(40, node("Cast", "", &["c40"], &["f"], &[integer("to", 1)]));
            parts.nodes[41] = node("ReduceSum", "sum", &["f"], &["s"], &[integer("keepdims", 0)]);
            parts
        }),
        ("alternating", of_constant(alternating, vec![line(64, &[64]), floats("d", &[64], &[0.25; 64])], "e40")),
        ("outer sum", one("Add", &["a", "b"], &[], pair())),
        ("outer product", one("MatMul", &["a", "b"], &[], pair())),
        ("outer product of Gemm", one("Gemm", &["a", "b"], &[], pair())),
        (
            "outer product of Einsum",
            one("Einsum", &["c", "c"], &[text("equation", "i,j->ij")], vec![line(1 << 14, &[1 << 14])]),
        ),
        (
            "cumulative sum",
            one("CumSum", &["c", "zero"], &[], vec![line(1 << 14, &[1 << 14]), longs("zero", &[], &[0])]),
        ),
        (
            "resized",
            one(
                "Resize",
                &["c", "", "", "to"],
                &[text("mode", "linear")],
                vec![line(1 << 14, &[1 << 14]), longs("to", &[1], &[1 << 13])],
            ),
        ),
        ("padded", one("MaxPool", &["c"], &[list("kernel_shape", &[1, 1]), list("pads", &[9000; 4])], image())),
        (
            "dilated",
            one(
                "MaxPool",
                &["c"],
                &[list("kernel_shape", &[3000; 2]), list("pads", &[3000; 4]), list("dilations", &[2; 2])],
                image(),
            ),
        ),
        ("convolution", one("Conv", &["c", "k"], &[list("pads", &[9000; 4])], kernel())),
        ("transposed", one("ConvTranspose", &["c", "k"], &[list("strides", &[1 << 20; 2])], kernel())),
        ("output padding", one("ConvTranspose", &["c", "k"], &[list("output_padding", &[1 << 16; 2])], kernel())),
    ]
}

/// A loop within a loop, of 4000 iterations each.
fn nested() -> Parts {
    let passed = |name: &str| node("Identity", "", &[name], &[&format!("{name}_out")], &[]);
    let inner = body(
        "body",
        &[passed("go"), node("Tanh", "", &["h"], &["h_out"], &[])],
        &["i", "go", "h"],
        &["go_out", "h_out"],
    );
    let repeated = node("Loop", "inner", &["n", "", "v"], &["v_out"], &[inner]);
    let outer = body("body", &[passed("on"), repeated], &["j", "on", "v"], &["on_out", "v_out"]);
    let nodes = vec![node("Loop", "outer", &["n", "", "c"], &["z"], &[outer])];
    of_constant(nodes, vec![longs("n", &[], &[4000]), floats("c", &[2], &[0.5; 2])], "z")
}

/// A function with a constant of 16,384 numbers that is called 5,000 times, each call with a value of its own.
fn called() -> Parts {
    let constant =
        [field(1, b"value"), field(5, &floats("", &[1 << 14], &vec![0.5; 1 << 14])), vec![0xa0, 1, 4]].concat();
    let nodes = [node("Constant", "", &[], &["c"], &[constant]), node("Add", "", &["v", "c"], &["w"], &[])];
    let nodes: Vec<u8> = nodes.iter().flat_map(|node| field(7, node)).collect();
    let function = [field(1, b"Many"), field(4, b"v"), field(5, b"w"), nodes, field(10, b"own")].concat();
    let call = |at: usize| {
        [node("Many", "", &[&format!("c{at}")], &[&format!("c{}", at + 1)], &[]), field(7, b"own")].concat()
    };
    let nodes = (0..5000).map(call).collect();
    Parts { functions: vec![function], ..of_constant(nodes, vec![floats("c0", &[1], &[0.5])], "c5000") }
}

#[test]
#[ignore = "the test below starts it in a process of limited memory"]
fn large_computations_are_refused() {
    if !is_limited() {
        return;
    }
    let mut wrong = Vec::new();
    for (name, parts) in large() {
        match parts.model().graph(&Layer::Output, DType::F32, &Device::Cpu) {
            Err(Error::Node { reason, .. })
                if reason.contains("from constants alone") || reason.contains("too large") => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let message = nested().refused(&Layer::Output).to_string();
    assert!(message.contains("iterations of loops"), "{message}");
    let message = called().refused(&Layer::Output).to_string();
    assert!(message.contains("its constants have more than"), "{message}");
}

#[test]
fn large_computations_take_little_memory() {
    run_in_limited_memory("large_computations_are_refused", KILOBYTES);
}

#[test]
fn names_that_functions_multiply_are_refused() {
    // Functions within functions, each of which calls the next one eight times: 8^5 calls with a name of 5 × 2,000 bytes.
    let name = |level: usize| format!("{level}{}", "n".repeat(2000));
    let function = |level: usize| {
        let call = |at: usize| {
            let (from, to) = (format!("v{at}"), format!("v{}", at + 1));
            match level {
                5 => node("Tanh", "", &[&from], &[&to], &[]),
                _ => [node(&name(level + 1), "", &[&from], &[&to], &[]), field(7, b"own")].concat(),
            }
        };
        let nodes: Vec<u8> = (0..8).flat_map(|at| field(7, &call(at))).collect();
        [field(1, name(level).as_bytes()), field(4, b"v0"), field(5, b"v8"), nodes, field(10, b"own")].concat()
    };
    let mut parts = perceptron();
    parts.nodes[1] = [node(&name(0), "act", &["a"], &["h"], &[]), field(7, b"own")].concat();
    parts.functions = (0..6).map(function).collect();
    let message = parts.refused(&Layer::Features).to_string();
    assert!(message.contains("names and attributes have more than"), "{message}");
}

#[test]
fn weights_larger_than_any_limit_of_constants_are_folded() {
    // A transposed weight of more numbers than a node may compute from nothing: it has as many as its file.
    let (rows, columns) = (1u64 << 13, (1u64 << 12) + 8);
    let weight = vec![0.25f32; (rows * columns) as usize];
    let parts = Parts {
        nodes: vec![
            node("Transpose", "turn", &["w"], &["t"], &[]),
            node("Mul", "scale", &["t", "g"], &["n"], &[]),
            node("MatMul", "fc", &["x", "n"], &["y"], &[]),
        ],
        weights: vec![floats("w", &[rows, columns], &weight), floats("g", &[1, rows], &vec![2.0; rows as usize])],
        inputs: vec![value("x", 1, &[0, columns])],
        ..perceptron()
    };
    let graph = Model::from_bytes(parts.bytes()).unwrap().graph(&Layer::Output, DType::F32, &Device::Cpu).unwrap();
    let x = candle_core::Tensor::ones((1, columns as usize), DType::F32, &Device::Cpu).unwrap();
    let y: Vec<Vec<f32>> = graph.evaluate(&x).unwrap().to_vec2().unwrap();
    assert_eq!(y[0][7], columns as f32 * 0.5);
}
