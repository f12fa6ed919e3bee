use candle_core::Var;
use candle_onnx::onnx::AttributeProto;
use gc_core::GeometricComplexity;

use super::*;

/// Numbers without a pattern, away from zero and from each other.
fn numbers(shape: &[usize], from: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|at| from + (at as f64 * 1.7 + 0.3).sin() + 0.01 * at as f64).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Integer(value) => attribute.i = value,
        Attribute::Integers(values) => attribute.ints = values.to_vec(),
        Attribute::Float(value) => attribute.f = value,
    }
    attribute
}

#[derive(Clone, Copy)]
enum Attribute {
    Integer(i64),
    Integers(&'static [i64]),
    Float(f32),
}

/// A node on inputs, the first `varied` of which its derivative is checked by.
struct Case {
    node: NodeProto,
    inputs: Vec<Tensor>,
    varied: usize,
}

fn case(kind: &str, attributes: &[(&str, Attribute)], inputs: &[Tensor], varied: usize) -> Case {
    let attribute = attributes.iter().map(|(name, value)| attribute(name, *value)).collect();
    let node = NodeProto { op_type: kind.to_owned(), attribute, ..NodeProto::default() };
    Case { node, inputs: inputs.to_vec(), varied }
}

fn whole(numbers: &[i64]) -> Tensor {
    Tensor::new(numbers, &Device::Cpu).unwrap()
}

fn cases() -> Vec<Case> {
    use Attribute::{Float, Integer, Integers};
    let image = || numbers(&[2, 4, 5, 6], 0.1);
    let rows = || numbers(&[3, 4], 0.2);
    let positive = |shape: &[usize]| numbers(shape, 2.5);
    let mut cases = vec![
        case("Add", &[], &[rows(), numbers(&[4], 0.5)], 2),
        case("Sub", &[], &[rows(), numbers(&[3, 1], 0.5)], 2),
        case("Mul", &[], &[image(), numbers(&[4, 1, 1], 0.5)], 2),
        case("Div", &[], &[rows(), positive(&[3, 4])], 2),
        case(
            "Conv",
            &[("strides", Integers(&[2, 1])), ("pads", Integers(&[1, 2, 1, 2])), ("group", Integer(2))],
            &[image(), numbers(&[6, 2, 3, 3], 0.0), numbers(&[6], 0.0)],
            3,
        ),
        case("Conv", &[("dilations", Integers(&[1, 2]))], &[image(), numbers(&[3, 4, 2, 2], 0.0)], 2),
        case(
            "BatchNormalization",
            &[("epsilon", Float(1e-3))],
            &[image(), positive(&[4]), numbers(&[4], 0.0), numbers(&[4], 0.3), positive(&[4])],
            1,
        ),
        case(
            "MaxPool",
            &[("kernel_shape", Integers(&[3, 2])), ("strides", Integers(&[2, 2])), ("pads", Integers(&[1, 0, 1, 0]))],
            &[image()],
            1,
        ),
        case("AveragePool", &[("kernel_shape", Integers(&[2, 3])), ("strides", Integers(&[1, 2]))], &[image()], 1),
        case("GlobalAveragePool", &[], &[image()], 1),
        case("MatMul", &[], &[rows(), numbers(&[4, 5], 0.0)], 2),
        case(
            "Gemm",
            &[("transB", Integer(1)), ("alpha", Float(0.5)), ("beta", Float(2.0))],
            &[rows(), numbers(&[5, 4], 0.0), numbers(&[5], 0.0)],
            3,
        ),
        case("Flatten", &[], &[image()], 1),
        case("Reshape", &[], &[image(), whole(&[0, -1, 3])], 1),
        case("Transpose", &[("perm", Integers(&[0, 2, 3, 1]))], &[image()], 1),
        case("Concat", &[("axis", Integer(-1))], &[rows(), numbers(&[3, 2], 0.4)], 2),
        case("ReduceMean", &[("axes", Integers(&[2, 3])), ("keepdims", Integer(0))], &[image()], 1),
        case("ReduceMean", &[], &[image(), whole(&[-1])], 1),
        case("Sqrt", &[], &[positive(&[3, 4])], 1),
    ];
    for kind in ["Dropout", "Exp", "Gelu", "Identity", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh"] {
        cases.push(case(kind, &[], &[rows()], 1));
    }
    cases
}

/// ⟨v, f(x)⟩ for a fixed v.
fn weighted(node: &NodeProto, inputs: &[Tensor]) -> (Tensor, f64) {
    let output = operators::apply(node, &inputs.iter().collect::<Vec<_>>()).unwrap();
    let sum = (&output * numbers(output.dims(), 0.3)).unwrap().sum_all().unwrap();
    let value = sum.to_scalar::<f64>().unwrap();
    (sum, value)
}

#[test]
fn derivatives_are_those_of_finite_differences() {
    for Case { node, inputs, varied } in cases() {
        for at in 0..varied {
            let x = Var::from_tensor(&inputs[at]).unwrap();
            let with = |x: &Tensor| -> Vec<Tensor> {
                inputs
                    .iter()
                    .enumerate()
                    .map(|(own, other)| if own == at { x.clone() } else { other.clone() })
                    .collect()
            };
            let gradient = weighted(&node, &with(x.as_tensor())).0.backward().unwrap().get(&x).unwrap().clone();
            let direction = numbers(x.dims(), -0.2);
            let moved = |step: f64| weighted(&node, &with(&(x.as_tensor() + (&direction * step).unwrap()).unwrap())).1;
            let (step, along) =
                (1e-6, (&gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap());
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let error = (along - difference).abs() / difference.abs().max(1.0);
            assert!(error < 1e-7, "{} by input {at}: {along}, by differences {difference}", node.op_type);
        }
    }
}

#[test]
fn every_supported_operator_is_checked() {
    let checked: BTreeSet<String> = cases().into_iter().map(|case| case.node.op_type).collect();
    // A constant has no derivative.
    let missing: Vec<&str> =
        operators::SUPPORTED.into_iter().filter(|kind| *kind != "Constant" && !checked.contains(*kind)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

fn fixture(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(file)
}

#[test]
fn a_graph_exported_by_pytorch_has_pytorchs_features_and_complexity() {
    let golden = candle_core::safetensors::load(fixture("small.safetensors"), &Device::Cpu).unwrap();
    let graph = OnnxFeatures::read(&fixture("small.onnx"), None, DType::F64, &Device::Cpu).unwrap();
    let x = golden["x"].to_dtype(DType::F64).unwrap();
    let features: Vec<Vec<f64>> = (&graph).features(&x).unwrap().to_vec2().unwrap();
    for (own, known) in features.iter().flatten().zip(golden["features"].to_vec2::<f64>().unwrap().iter().flatten()) {
        assert!((own - known).abs() < 1e-9, "{own} {known}");
    }
    let gc = GeometricComplexity::exact().per_sample().measure_inputs(&&graph, &x).unwrap();
    for (own, known) in gc.per_sample.unwrap().iter().zip(golden["gc"].to_vec1::<f64>().unwrap()) {
        assert!((own / known - 1.0).abs() < 1e-9, "{own} {known}");
    }
    assert_eq!(gc.batch_norm, BatchNormMode::Evaluation);
}

fn graph(nodes: &[(&str, &str, &str)]) -> GraphProto {
    let node = |(kind, input, output): &(&str, &str, &str)| NodeProto {
        op_type: (*kind).to_owned(),
        input: vec![(*input).to_owned()],
        output: vec![(*output).to_owned()],
        ..NodeProto::default()
    };
    let input = ValueInfoProto { name: "x".to_owned(), ..ValueInfoProto::default() };
    GraphProto { node: nodes.iter().map(node).collect(), input: vec![input], ..GraphProto::default() }
}

fn refused(graph: &GraphProto, layer: Option<&str>) -> String {
    let read = OnnxFeatures::of("net.onnx".to_owned(), graph, layer, DType::F32, &Device::Cpu);
    format!("{:#}", read.err().unwrap())
}

#[test]
fn operators_without_a_derivative_are_listed_with_their_number() {
    let nodes = [("LSTM", "x", "a"), ("Round", "a", "b"), ("Round", "b", "c"), ("Gemm", "c", "d"), ("Sign", "d", "e")];
    let message = refused(&graph(&nodes), None);
    assert!(message.contains("LSTM (×1), Round (×2); supported are Add"), "{message}");
    assert!(!message.contains("Sign ("), "the features do not depend on it: {message}");
    let error = OnnxFeatures::of(String::new(), &graph(&nodes), None, DType::F32, &Device::Cpu).err().unwrap();
    let listed = [("LSTM".to_owned(), 1), ("Round".to_owned(), 2)].into();
    assert_eq!(error.downcast_ref(), Some(&super::UnsupportedOperators(listed)));
}

#[test]
fn a_graph_without_a_linear_layer_needs_a_named_layer() {
    let only = graph(&[("Relu", "x", "hidden")]);
    assert!(refused(&only, None).contains("--layer"));
    let message = refused(&only, Some("hiden"));
    assert!(message.contains("did you mean `hidden`?"), "{message}");
    let read = OnnxFeatures::of(String::new(), &only, Some("hidden"), DType::F32, &Device::Cpu).unwrap();
    let x = Tensor::new(&[[-1f32, 2.0]], &Device::Cpu).unwrap();
    assert_eq!((&read).features(&x).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 2.0]]);
}

#[test]
fn what_would_be_wrong_is_refused() {
    let mixing = NodeProto { op_type: "ReduceMean".to_owned(), ..NodeProto::default() };
    let x = numbers(&[2, 3], 0.0);
    let error = |node: &NodeProto, inputs: &[&Tensor]| format!("{:#}", operators::apply(node, inputs).err().unwrap());
    assert!(error(&mixing, &[&x]).contains("mix the samples"));
    assert!(error(&mixing, &[&x, &whole(&[0])]).contains("mixes the samples"));
    let uneven = case("Conv", &[("pads", Attribute::Integers(&[0, 0, 1, 1]))], &[], 0).node;
    let (image, weight) = (numbers(&[1, 2, 4, 4], 0.0), numbers(&[1, 2, 2, 2], 0.0));
    assert!(error(&uneven, &[&image, &weight]).contains("the same on both sides"));
    assert!(error(&uneven, &[&image]).contains("input 1 is missing"));
    let constant = NodeProto { op_type: "Constant".to_owned(), ..NodeProto::default() };
    assert!(error(&constant, &[]).contains("`value` is missing"));
}

#[test]
fn samples_of_another_shape_are_refused_with_both_shapes() {
    let graph = OnnxFeatures::read(&fixture("small.onnx"), None, DType::F32, &Device::Cpu).unwrap();
    assert!(graph.check_inputs(&[2, 9, 11]).is_ok());
    let message = graph.check_inputs(&[3, 9, 11]).err().unwrap().to_string();
    assert_eq!(message, "a sample has shape [3, 9, 11], the input `x` takes [2, 9, 11]");
}
