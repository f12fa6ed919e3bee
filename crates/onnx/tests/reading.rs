//! Files: weights beside the graph, the choice of the measured tensor, heads, and everything that is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests, which may panic")]

mod writer;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use gc_core::{FeatureMap, GeometricComplexity};
use onnx_graph::{Error, Layer, Model};
use writer::{Parts, body, bytes_of, external, field, floats, integer, longs, node, number, perceptron, value};

fn x() -> Tensor {
    Tensor::new(&[[1f64, 1.0], [2.0, 0.5]], &Device::Cpu).unwrap()
}

#[test]
fn features_are_the_input_of_the_classifier_and_marked_as_a_guess() {
    let graph = perceptron().model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    assert_eq!(graph.tensor().name, "h");
    assert!(graph.tensor().is_guess);
    assert_eq!(
        graph.tensor().to_string(),
        "`h`, input of the linear layer `fc2`, taken as the classifier (a guess: name it with --layer)"
    );
    // All hidden units are positive, so GC is ‖W₁‖² = 91.
    let gc = GeometricComplexity::exact().measure_inputs(&graph, &x()).unwrap();
    assert!((gc.value - 91.0).abs() < 1e-9, "{}", gc.value);
    let head = graph.head().unwrap().unwrap();
    assert_eq!(head.weight.to_vec2::<f64>().unwrap(), [[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]);
    assert_eq!(head.bias.unwrap().to_vec1::<f64>().unwrap(), [0.5, -0.5]);
}

#[test]
fn a_named_layer_is_no_guess() {
    let of = |layer: &str| perceptron().model().graph(&Layer::of(layer), DType::F64, &Device::Cpu).unwrap();
    for (layer, tensor, head) in
        [("head", "h", true), ("output", "y", false), ("act", "h", true), ("h", "h", true), ("fc1", "a", false)]
    {
        let graph = of(layer);
        assert_eq!((graph.tensor().name.as_str(), graph.tensor().is_guess), (tensor, false), "{layer}");
        assert_eq!(graph.head().unwrap().is_some(), head, "{layer}");
    }
    let message = perceptron().refused(&Layer::of("fc11")).to_string();
    assert!(message.contains("did you mean `fc1`"), "{message}");
    assert!(matches!(perceptron().refused(&Layer::of("w1")), Error::Constant { .. }));
}

#[test]
fn a_softmax_behind_the_classifier_changes_nothing() {
    let mut parts = perceptron();
    parts.nodes.push(node("Softmax", "p", &["y"], &["q"], &[]));
    parts.output = "q";
    assert_eq!(parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap().tensor().name, "h");
}

#[test]
fn a_graph_without_a_classifier_is_refused_with_the_way_out() {
    let mut parts = perceptron();
    parts.nodes.push(node("Relu", "last", &["y"], &["q"], &[]));
    parts.output = "q";
    let message = parts.refused(&Layer::Features).to_string();
    assert!(
        message.contains("--layer output") && message.contains("`--layer head` measures its input `h`"),
        "{message}"
    );
    assert_eq!(parts.model().graph(&Layer::Head, DType::F64, &Device::Cpu).unwrap().tensor().name, "h");
    let only = Parts { nodes: vec![node("Relu", "r", &["x"], &["y"], &[])], ..perceptron() };
    assert!(matches!(only.refused(&Layer::Features), Error::NoLinearLayer));
    assert!(matches!(only.refused(&Layer::Head), Error::NoLinearLayer));
}

#[test]
fn inputs_that_cannot_be_measured_are_refused() {
    let with = |inputs: Vec<Vec<u8>>| Parts { inputs, ..perceptron() }.refused(&Layer::Features);
    let message = with(vec![value("x", 7, &[0, 2])]).to_string();
    assert!(message.contains("embed first"), "{message}");
    // Whatever layers there are: the reason is the input, and not the missing classifier.
    let tokens = |nodes: Vec<Vec<u8>>, inputs| Parts { nodes, inputs, output: "h", ..perceptron() };
    let embedding = node("Gather", "embedding", &["w1", "x"], &["e"], &[]);
    let pooled = node("ReduceMean", "pool", &["e"], &["h"], &[]);
    let projected = node("MatMul", "fc", &["e", "w3"], &["z"], &[]);
    let normalised = node("Tanh", "norm", &["z"], &["h"], &[]);
    let mask = node("Mul", "mask", &["e", "m"], &["h"], &[]);
    for nodes in [vec![embedding.clone(), pooled], vec![embedding.clone(), projected, normalised]] {
        let mut parts = tokens(nodes, vec![value("x", 7, &[0, 4])]);
        parts.weights.push(floats("w3", &[2, 2], &[1.0; 4]));
        for layer in [Layer::Features, Layer::Head, Layer::Output] {
            assert!(matches!(parts.refused(&layer), Error::IntegerInput { input } if input == "x"), "{layer:?}");
        }
    }
    // A mask beside the tokens changes nothing, a mask beside embedded tokens can be stored.
    let both =
        |kind| tokens(vec![embedding.clone(), mask.clone()], vec![value("x", 7, &[0, 4]), value("m", kind, &[0, 4])]);
    assert!(matches!(both(7).refused(&Layer::Features), Error::IntegerInput { .. }));
    assert!(matches!(both(1).refused(&Layer::Output), Error::Inputs { .. }));
    assert!(matches!(both(7).refused(&Layer::of("embeding")), Error::UnknownLayer { .. }));
    assert!(matches!(with(vec![value("x", 1, &[2])]), Error::InputRank { rank: 1, .. }));
    assert!(matches!(with(vec![value("x", 1, &[1; 6])]), Error::InputRank { rank: 6, .. }));
    let mut parts = perceptron();
    parts.nodes[1] = node("Add", "act", &["a", "other"], &["h"], &[]);
    parts.inputs.push(value("other", 1, &[0, 3]));
    assert!(matches!(parts.refused(&Layer::Features), Error::Inputs { inputs } if inputs == ["x", "other"]));
    // Up to the first layer there is one input.
    assert!(parts.model().graph(&Layer::of("a"), DType::F64, &Device::Cpu).is_ok());
}

#[test]
fn wrong_samples_are_refused() {
    let graph = perceptron().model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let message = graph.check_sample(&[3]).unwrap_err().to_string();
    assert_eq!(message, "a sample has shape [3], the input `x` takes [2]");
    assert!(matches!(graph.evaluate(&x().to_dtype(DType::F32).unwrap()), Err(Error::DType { .. })));
    assert!(graph.features(&x()).is_ok());
}

#[test]
fn all_that_is_missing_is_listed_before_anything_is_read() {
    let mut parts = perceptron();
    parts.nodes[1] = node("NoSuchA", "act", &["a"], &["b"], &[]);
    parts.nodes.insert(2, node("NoSuchB", "act2", &["b"], &["h"], &[]));
    // The head's operators do not matter.
    parts.nodes.push(node("Softmax", "p", &["y"], &["q"], &[]));
    parts.output = "q";
    // This weight has no file.
    parts.weights[0] = external("w1", &[3, 2], &[("location", "missing.data")]);
    match parts.refused(&Layer::Features) {
        Error::Unsupported(missing) => {
            assert_eq!(missing.operators.keys().collect::<Vec<_>>(), ["NoSuchA", "NoSuchB"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn operator_sets_outside_the_range_are_refused() {
    for opset in [6, 99] {
        let message = Parts { opset, ..perceptron() }.refused(&Layer::Features).to_string();
        assert!(message.contains(&format!("operator set {opset}")), "{message}");
    }
    for opset in 9..=24 {
        assert!(Parts { opset, ..perceptron() }.model().graph(&Layer::Features, DType::F32, &Device::Cpu).is_ok());
    }
}

/// A function `Leaky(v)` with the attribute `slope`, which its inner node takes as `alpha`.
fn function() -> Vec<u8> {
    let reference = [field(1, b"alpha"), field(21, b"slope"), number(20, 1)].concat();
    let inner = node("LeakyRelu", "inner", &["v"], &["w"], &[reference]);
    [
        field(1, b"Leaky"),
        field(4, b"v"),
        field(5, b"w"),
        field(6, b"slope"),
        field(7, &inner),
        field(9, &number(2, 17)),
        field(10, b"own"),
    ]
    .concat()
}

#[test]
fn functions_are_inlined_with_their_attributes() {
    let mut parts = perceptron();
    let slope = [field(1, b"slope"), vec![0x15], 0.5f32.to_le_bytes().to_vec(), number(20, 1)].concat();
    parts.nodes[1] = [node("Leaky", "act", &["a"], &["h"], &[slope]), field(7, b"own")].concat();
    parts.functions.push(function());
    let graph = parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    assert_eq!(graph.tensor().name, "h");
    let y: Vec<Vec<f64>> =
        graph.evaluate(&Tensor::new(&[[-1f64, 0.0]], &Device::Cpu).unwrap()).unwrap().to_vec2().unwrap();
    for (own, known) in y[0].iter().zip([-0.45, -1.4, -2.35]) {
        assert!((own - known).abs() < 1e-6, "{y:?}");
    }
    // A function that calls itself.
    let mut endless = perceptron();
    endless.nodes[1] = [node("Leaky", "act", &["a"], &["h"], &[]), field(7, b"own")].concat();
    let inner = [node("Leaky", "again", &["v"], &["w"], &[]), field(7, b"own")].concat();
    endless
        .functions
        .push([field(1, b"Leaky"), field(4, b"v"), field(5, b"w"), field(7, &inner), field(10, b"own")].concat());
    assert!(matches!(endless.refused(&Layer::Features), Error::Malformed { what: "FunctionProto", .. }));
}

#[test]
fn a_fixed_batch_is_freed() {
    // Reshape to the file's batch of 2, and a constant with two equal rows.
    let mut parts = perceptron();
    let shape = |name: &str, values: &[u64]| {
        let numbers: Vec<u8> = values.iter().flat_map(|value| number(7, *value)).collect();
        [number(1, values.len() as u64), number(2, 7), field(8, name.as_bytes()), numbers].concat()
    };
    parts.nodes = vec![
        node("Reshape", "split", &["x", "to"], &["s"], &[]),
        node("Concat", "token", &["t", "s"], &["c"], &[integer("axis", 1)]),
        node("Reshape", "join", &["c", "back"], &["h"], &[]),
        node("Gemm", "fc", &["h", "w"], &["y"], &[]),
    ];
    parts.weights = vec![
        shape("to", &[2, 2, 1]),
        floats("t", &[2, 1, 1], &[7.0, 7.0]),
        shape("back", &[2, 3]),
        floats("w", &[3, 2], &[1.0; 6]),
    ];
    parts.inputs = vec![value("x", 1, &[2, 2])];
    let graph = parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    for rows in [1, 2, 5] {
        let x = Tensor::arange(0f64, 2.0 * rows as f64, &Device::Cpu).unwrap().reshape((rows, 2)).unwrap();
        let y: Vec<Vec<f64>> = graph.evaluate(&x).unwrap().to_vec2().unwrap();
        let known: Vec<Vec<f64>> = (0..rows).map(|row| vec![7.0, 2.0 * row as f64, 2.0 * row as f64 + 1.0]).collect();
        assert_eq!(y, known);
    }
    // What is not freed is said to be the batch.
    let mut split = perceptron();
    split.nodes[0] = node("Split", "parts", &["x", "sizes"], &["s"], &[integer("axis", 0)]);
    split.nodes.insert(1, node("Gemm", "fc1", &["s", "w1", "b1"], &["a"], &[integer("transB", 1)]));
    split.weights.push(longs("sizes", &[1], &[1]));
    split.inputs = vec![value("x", 1, &[1, 2])];
    let graph = split.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let message = graph.evaluate(&x()).unwrap_err().to_string();
    assert!(message.contains("the file fixes a batch of 1, and 2 samples are evaluated"), "{message}");
    // Rows that differ cannot be repeated.
    parts.weights[1] = floats("t", &[2, 1, 1], &[7.0, 8.0]);
    let graph = parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let message = graph.evaluate(&Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(message.contains("dynamic batch"), "{message}");
}

/// Writes a perceptron whose first weight is in another file.
fn with_external(folder: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let mut parts = perceptron();
    parts.weights[0] = external("w1", &[3, 2], entries);
    let path = folder.join("net.onnx");
    std::fs::write(&path, parts.bytes()).unwrap();
    path
}

fn weights() -> Vec<u8> {
    [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn weights_are_read_from_a_file_beside_the_graph() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("net.onnx.data"), weights()).unwrap();
    let path = with_external(folder.path(), &[("location", "net.onnx.data"), ("offset", "4"), ("length", "24")]);
    let graph = Model::open(&path).unwrap().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let gc = GeometricComplexity::exact().measure_inputs(&graph, &x()).unwrap();
    assert!((gc.value - 91.0).abs() < 1e-9, "{}", gc.value);
}

#[test]
fn weights_outside_the_folder_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, weights()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refused = |location: &str| {
        let path = with_external(folder.path(), &[("location", location)]);
        match Model::open(&path).unwrap().graph(&Layer::Features, DType::F64, &Device::Cpu) {
            Err(Error::External { tensor, reason }) if tensor == "w1" => reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(secret.to_str().unwrap()).contains("not a path within"));
    assert!(refused("../secret").contains("not a path within"));
    assert!(refused("a/../../secret").contains("not a path within"));
    assert!(refused("").contains("not a path within"));
    assert!(refused("missing").contains("keep the file"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.path().join("link")).unwrap();
        assert!(refused("link").contains("leaves the folder"));
    }
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    assert!(refused("sub").contains("regular file"));
}

#[test]
fn false_sizes_of_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w"), weights()).unwrap();
    for entries in [
        &[("location", "w"), ("offset", "8")][..],
        &[("location", "w"), ("offset", "18446744073709551615")],
        &[("location", "w"), ("length", "20")],
        &[("location", "w"), ("length", "-1")],
    ] {
        let path = with_external(folder.path(), entries);
        let read = Model::open(&path).unwrap().graph(&Layer::Features, DType::F64, &Device::Cpu);
        assert!(matches!(read, Err(Error::External { .. })), "{entries:?}");
    }
    let mut parts = perceptron();
    parts.weights[1] = floats("b1", &[1 << 40, 1 << 40], &[1.0]);
    assert!(matches!(parts.refused(&Layer::Features), Error::Malformed { what: "TensorProto", .. }));
    parts.weights[1] = floats("b1", &[4], &[1.0]);
    assert!(matches!(parts.refused(&Layer::Features), Error::Malformed { what: "TensorProto", .. }));
}

#[test]
fn bytes_that_are_no_graph_are_refused() {
    let missing = Model::open(Path::new("no/such/net.onnx")).unwrap_err();
    assert!(matches!(missing, Error::File { .. }));
    let message = Model::from_bytes(b"{\"not\": \"onnx\"}".to_vec()).unwrap_err().to_string();
    assert!(message.starts_with("reading ONNX:"), "{message}");
    assert!(Model::from_bytes(Vec::new()).unwrap_err().to_string().contains("is this an ONNX file?"));
    // A node whose input nothing computes, and a tensor that is computed twice.
    let mut parts = perceptron();
    parts.nodes[1] = node("Relu", "act", &["nothing"], &["h"], &[]);
    assert!(matches!(parts.refused(&Layer::Features), Error::Malformed { what: "GraphProto", .. }));
    let mut parts = perceptron();
    parts.nodes[1] = node("Relu", "act", &["a"], &["a"], &[]);
    assert!(matches!(parts.refused(&Layer::Features), Error::Malformed { what: "GraphProto", .. }));
}

/// x·W three times by a loop, or as often as the body's condition says.
fn looped(condition: Vec<u8>) -> Parts {
    let nodes = [node("MatMul", "step", &["h", "w"], &["next"], &[]), condition];
    let body = body("body", &nodes, &["i", "c", "h"], &["go", "next"]);
    Parts {
        nodes: vec![
            node("Loop", "loop", &["count", "", "x"], &["features"], &[body]),
            node("Gemm", "head", &["features", "classes"], &["y"], &[]),
        ],
        weights: vec![
            longs("count", &[], &[3]),
            floats("w", &[2, 2], &[1.0, 1.0, 0.0, 1.0]),
            floats("classes", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        ],
        inputs: vec![value("x", 1, &[0, 2])],
        output: "y",
        opset: 17,
        functions: vec![],
    }
}

#[test]
fn loops_with_a_fixed_count_are_unrolled() {
    let parts = looped(node("Identity", "keep", &["c"], &["go"], &[]));
    let graph = parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    // W³ = [[1, 3], [0, 1]].
    assert_eq!(graph.evaluate(&x()).unwrap().to_vec2::<f64>().unwrap(), [[1.0, 4.0], [2.0, 6.5]]);
    let gc = GeometricComplexity::exact().measure_inputs(&graph, &x()).unwrap();
    assert!((gc.value - 11.0).abs() < 1e-9, "{}", gc.value);
}

#[test]
fn loops_whose_count_depends_on_the_input_are_refused() {
    let condition = node("IsNaN", "stop", &["next"], &["go"], &[]);
    let error = looped(condition).refused(&Layer::Features);
    assert!(matches!(&error, Error::LoopCount { node } if node == "loop"), "{error}");
    assert!(error.to_string().contains("fixed number of iterations"), "{error}");
}

#[test]
fn scans_go_over_the_rows_of_a_sequence() {
    let nodes =
        [node("Add", "twice", &["s", "s"], &["double"], &[]), node("Add", "step", &["double", "row"], &["next"], &[])];
    let axes = [field(1, b"scan_input_axes"), number(8, 1), number(20, 7)].concat();
    let attributes = [body("body", &nodes, &["s", "row"], &["next"]), integer("num_scan_inputs", 1), axes];
    let parts = Parts {
        nodes: vec![
            node("Gather", "first", &["x", "zero"], &["start"], &[integer("axis", 1)]),
            node("Scan", "scan", &["start", "x"], &["features"], &attributes),
            node("Gemm", "head", &["features", "classes"], &["y"], &[]),
        ],
        weights: vec![longs("zero", &[], &[0]), floats("classes", &[2, 2], &[1.0, 0.0, 0.0, 1.0])],
        inputs: vec![value("x", 1, &[0, 2, 2])],
        output: "y",
        opset: 17,
        functions: vec![],
    };
    let graph = parts.model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let x = Tensor::new(&[[[1f64, 2.0], [3.0, 4.0]]], &Device::Cpu).unwrap();
    // 2·(2·a + a) + b for the rows a and b.
    assert_eq!(graph.evaluate(&x).unwrap().to_vec2::<f64>().unwrap(), [[9.0, 16.0]]);
    let gc = GeometricComplexity::exact().measure_inputs(&graph, &x).unwrap();
    assert!((gc.value - 2.0 * 37.0).abs() < 1e-9, "{}", gc.value);
}

/// A linear layer whose weights are stored as bytes, then rounded activations if `rounded`.
fn quantised(rounded: bool) -> Parts {
    let mut nodes = vec![
        node("DequantizeLinear", "weights", &["bytes", "scale"], &["w"], &[]),
        node("MatMul", "fc", &["x", "w"], &["h"], &[]),
    ];
    if rounded {
        nodes.push(node("QuantizeLinear", "round", &["h", "scale"], &["q"], &[]));
        nodes.push(node("DequantizeLinear", "back", &["q", "scale"], &["features"], &[]));
    } else {
        nodes.push(node("Identity", "same", &["h"], &["features"], &[]));
    }
    nodes.push(node("Gemm", "head", &["features", "classes"], &["y"], &[]));
    Parts {
        nodes,
        weights: vec![
            bytes_of("bytes", &[2, 2], &[1, -2, 3, 4]),
            floats("scale", &[], &[0.5]),
            floats("classes", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        ],
        inputs: vec![value("x", 1, &[0, 2])],
        output: "y",
        opset: 17,
        functions: vec![],
    }
}

#[test]
fn weights_stored_as_integers_are_measured_and_rounded_activations_refused() {
    let graph = quantised(false).model().graph(&Layer::Features, DType::F64, &Device::Cpu).unwrap();
    let gc = GeometricComplexity::exact().measure_inputs(&graph, &x()).unwrap();
    assert!((gc.value - 0.25 * 30.0).abs() < 1e-9, "{}", gc.value);
    let error = quantised(true).refused(&Layer::Features);
    assert!(matches!(&error, Error::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("QuantizeLinear, which computes with rounded numbers"), "{error}");
}
