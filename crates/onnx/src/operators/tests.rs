//! Derivatives of every differentiable operator against central differences in f64.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests, which may panic")]

use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::message::Kind;
use crate::value::MOST_ELEMENTS;

/// Numbers without a pattern, away from each other, the first near `from`.
fn numbers(shape: &[usize], from: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|at| from + (at as f64 * 1.7 + 0.3).sin() + 0.003 * at as f64).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn whole(values: &[i64]) -> Value {
    Whole::list(values.to_vec()).into()
}

fn shaped(kind: Kind, dims: &[usize], values: &[i64]) -> Value {
    Whole::new(kind, dims.to_vec(), values.to_vec()).into()
}

fn scalar(value: f64) -> Value {
    Tensor::new(value, &Device::Cpu).unwrap().into()
}

/// A node on inputs, the derivatives of which by the inputs `varied` are checked.
struct Case {
    node: Node,
    inputs: Vec<Option<Value>>,
    varied: Vec<usize>,
}

fn integer(value: i64) -> Attribute {
    Attribute::Integer(value)
}

fn float(value: f32) -> Attribute {
    Attribute::Float(value)
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

fn integers(values: &[i64]) -> Attribute {
    Attribute::Integers(values.to_vec())
}

fn node(op: &str, attributes: Vec<(&str, Attribute)>, inputs: usize) -> Node {
    Node {
        name: String::new(),
        op: op.to_owned(),
        domain: String::new(),
        version: 20,
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        inputs: (0..inputs).map(Some).collect(),
        outputs: vec![Some(inputs)],
    }
}

/// A case that varies its first `varied` inputs.
fn case<const N: usize>(op: &str, attributes: Vec<(&str, Attribute)>, inputs: [Value; N], varied: usize) -> Case {
    Case {
        node: node(op, attributes, N),
        inputs: inputs.into_iter().map(Some).collect(),
        varied: (0..varied).collect(),
    }
}

fn t(shape: &[usize], from: f64) -> Value {
    numbers(shape, from).into()
}

fn cases() -> Vec<Case> {
    let mut cases = elementwise_cases();
    cases.extend(arithmetic_cases());
    cases.extend(window_cases());
    cases.extend(grid_cases());
    cases.extend(shape_cases());
    cases.extend(network_cases());
    cases
}

fn elementwise_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in [
        "Abs",
        "Asinh",
        "Atan",
        "Ceil",
        "Celu",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Mish",
        "Neg",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Hardmax",
    ] {
        cases.push(case(op, vec![], [t(&[3, 4], 0.2)], 1));
    }
    for op in ["Log", "Sqrt", "Reciprocal", "Acosh"] {
        cases.push(case(op, vec![], [t(&[3, 4], 2.7)], 1));
    }
    for op in ["Acos", "Asin", "Atanh"] {
        cases.push(case(op, vec![], [(numbers(&[3, 4], 0.0) * 0.4).unwrap().into()], 1));
    }
    cases.push(case("Gelu", vec![("approximate", text("tanh"))], [t(&[3, 4], 0.2)], 1));
    cases.push(case("HardSwish", vec![], [(numbers(&[3, 4], 0.1) * 4.0).unwrap().into()], 1));
    cases.push(case("HardSigmoid", vec![("alpha", float(0.3))], [(numbers(&[3, 4], 0.1) * 3.0).unwrap().into()], 1));
    cases.push(case("Shrink", vec![("lambd", float(0.4)), ("bias", float(0.2))], [t(&[3, 4], 0.2)], 1));
    cases.push(case("Swish", vec![("alpha", float(1.7))], [t(&[3, 4], 0.2)], 1));
    cases.push(case("Clip", vec![], [t(&[3, 4], 0.2), scalar(-0.35), scalar(0.61)], 1));
    cases.push(case("PRelu", vec![], [t(&[2, 3, 4], 0.2), t(&[3, 1], 0.4)], 2));
    cases
}

fn arithmetic_cases() -> Vec<Case> {
    let rows = || t(&[3, 4], 0.2);
    let mut cases = vec![
        case("Add", vec![], [rows(), t(&[4], 0.5)], 2),
        case("Sub", vec![], [rows(), t(&[3, 1], 0.5)], 2),
        case("Mul", vec![], [t(&[2, 3, 4], 0.1), t(&[3, 1], 0.5)], 2),
        case("Mul", vec![], [t(&[4], 0.5), rows()], 2),
        case("Div", vec![], [rows(), t(&[3, 4], 2.5)], 2),
        case("Div", vec![], [t(&[1, 4], 0.5), t(&[3, 1], 2.5)], 2),
        case("Pow", vec![], [t(&[3, 4], 2.2), scalar(2.5)], 1),
        case("Pow", vec![], [rows(), whole(&[3])], 1),
        case("Pow", vec![], [t(&[3, 4], 2.2), t(&[4], 1.5)], 2),
        case("Mod", vec![("fmod", integer(1))], [t(&[3, 4], 0.37), scalar(0.7)], 1),
        case("Max", vec![], [rows(), t(&[4], 0.31), t(&[3, 1], 0.1)], 3),
        case("Min", vec![], [rows(), t(&[4], 0.31)], 2),
        case("Mean", vec![], [rows(), t(&[4], 0.3), t(&[3, 1], 0.1)], 3),
        case("Sum", vec![], [rows(), t(&[4], 0.3), t(&[3, 1], 0.1)], 3),
        case("MatMul", vec![], [rows(), t(&[4, 5], 0.0)], 2),
        case("MatMul", vec![], [t(&[2, 1, 3, 4], 0.0), t(&[2, 4, 5], 0.0)], 2),
        case("MatMul", vec![], [t(&[4], 0.0), t(&[2, 4, 3], 0.0)], 2),
        case(
            "Gemm",
            vec![("transB", integer(1)), ("alpha", float(0.5)), ("beta", float(2.0))],
            [rows(), t(&[5, 4], 0.0), t(&[5], 0.0)],
            3,
        ),
        case("Gemm", vec![("transA", integer(1))], [t(&[4, 3], 0.1), t(&[4, 5], 0.0)], 2),
        case("Einsum", vec![("equation", text("bij, bjk -> bik"))], [t(&[2, 3, 4], 0.1), t(&[2, 4, 2], 0.0)], 2),
        case("Einsum", vec![("equation", text("...ii->...i"))], [t(&[2, 3, 3], 0.1)], 1),
        case("Einsum", vec![("equation", text("bhid,bhjd->bhij"))], [t(&[2, 2, 3, 4], 0.1), t(&[2, 1, 2, 4], 0.0)], 2),
        case("Einsum", vec![("equation", text("ij,kj"))], [t(&[3, 4], 0.1), t(&[2, 4], 0.0)], 2),
        case("Einsum", vec![("equation", text("i,j->ji"))], [t(&[3], 0.1), t(&[2], 0.0)], 2),
        case(
            "Einsum",
            vec![("equation", text("ab,bc,cd->da"))],
            [t(&[2, 3], 0.1), t(&[3, 4], 0.2), t(&[4, 2], 0.0)],
            3,
        ),
        case("Einsum", vec![("equation", text("...k,k...->k"))], [t(&[2, 3], 0.1), t(&[3, 2], 0.0)], 2),
        case("AffineGrid", vec![], [t(&[2, 2, 3], 0.1), whole(&[2, 1, 3, 2])], 1),
        case("AffineGrid", vec![("align_corners", integer(1))], [t(&[1, 3, 4], 0.1), whole(&[1, 2, 2, 3, 2])], 1),
        case(
            "Col2Im",
            vec![("strides", integers(&[2, 1])), ("pads", integers(&[1, 0, 0, 1])), ("dilations", integers(&[1, 2]))],
            [t(&[2, 12, 6], 0.1), whole(&[3, 4]), whole(&[2, 2])],
            1,
        ),
        case("CumSum", vec![("reverse", integer(1)), ("exclusive", integer(1))], [rows(), whole(&[1])], 1),
        case("Where", vec![], [shaped(Kind::Bool, &[4], &[1, 0, 0, 1]), rows(), t(&[3, 1], 0.1)], 0),
    ];
    if let Some(choice) = cases.last_mut() {
        choice.varied = vec![1, 2];
    }
    for op in ["L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"] {
        cases.push(case(&format!("Reduce{op}"), vec![], [t(&[2, 3, 4], 0.2), whole(&[1, -1])], 1));
        cases.push(case(
            &format!("Reduce{op}"),
            vec![("axes", integers(&[1])), ("keepdims", integer(0))],
            [t(&[2, 3, 4], 0.2)],
            1,
        ));
    }
    cases.push(case("ReduceLogSum", vec![], [t(&[2, 3, 4], 2.2), whole(&[1])], 1));
    cases
}

fn window_cases() -> Vec<Case> {
    let image = || t(&[2, 4, 5, 6], 0.1);
    vec![
        case(
            "Conv",
            vec![("strides", integers(&[2, 1])), ("pads", integers(&[1, 2, 0, 2])), ("group", integer(2))],
            [image(), t(&[6, 2, 3, 3], 0.0), t(&[6], 0.0)],
            3,
        ),
        case(
            "Conv",
            vec![("dilations", integers(&[1, 2])), ("auto_pad", text("SAME_LOWER"))],
            [image(), t(&[3, 4, 2, 2], 0.0)],
            2,
        ),
        case(
            "Conv",
            vec![("strides", integers(&[2])), ("pads", integers(&[1, 1]))],
            [t(&[2, 3, 7], 0.1), t(&[4, 3, 3], 0.0)],
            2,
        ),
        case(
            "Conv",
            vec![
                ("strides", integers(&[2, 1, 1])),
                ("pads", integers(&[1, 0, 1, 1, 0, 1])),
                ("dilations", integers(&[1, 2, 1])),
            ],
            [t(&[1, 2, 4, 5, 3], 0.1), t(&[3, 2, 2, 2, 3], 0.0), t(&[3], 0.0)],
            3,
        ),
        case(
            "ConvTranspose",
            vec![
                ("strides", integers(&[2, 1])),
                ("pads", integers(&[1, 0, 0, 1])),
                ("output_padding", integers(&[1, 0])),
                ("group", integer(2)),
            ],
            [t(&[2, 4, 3, 4], 0.1), t(&[4, 3, 3, 2], 0.0), t(&[6], 0.0)],
            3,
        ),
        case("ConvTranspose", vec![("strides", integers(&[3]))], [t(&[2, 2, 4], 0.1), t(&[2, 3, 2], 0.0)], 2),
        case(
            "ConvTranspose",
            vec![("strides", integers(&[2, 1, 2]))],
            [t(&[1, 2, 2, 3, 2], 0.1), t(&[2, 2, 3, 2, 2], 0.0)],
            2,
        ),
        case(
            "MaxPool",
            vec![
                ("kernel_shape", integers(&[3, 2])),
                ("strides", integers(&[2, 2])),
                ("pads", integers(&[1, 0, 1, 1])),
            ],
            [image()],
            1,
        ),
        case(
            "MaxPool",
            vec![("kernel_shape", integers(&[2, 2])), ("strides", integers(&[2, 2])), ("ceil_mode", integer(1))],
            [image()],
            1,
        ),
        case("MaxPool", vec![("kernel_shape", integers(&[2, 2])), ("dilations", integers(&[2, 3]))], [image()], 1),
        case(
            "MaxPool",
            vec![("kernel_shape", integers(&[2, 2, 2])), ("strides", integers(&[2, 1, 2]))],
            [t(&[1, 2, 4, 3, 4], 0.1)],
            1,
        ),
        case(
            "AveragePool",
            vec![
                ("kernel_shape", integers(&[3, 3])),
                ("strides", integers(&[2, 2])),
                ("pads", integers(&[1, 1, 1, 1])),
                ("ceil_mode", integer(1)),
            ],
            [image()],
            1,
        ),
        case(
            "AveragePool",
            vec![("kernel_shape", integers(&[3])), ("pads", integers(&[1, 1])), ("count_include_pad", integer(1))],
            [t(&[2, 3, 6], 0.1)],
            1,
        ),
        case("AveragePool", vec![("kernel_shape", integers(&[2, 2])), ("dilations", integers(&[2, 1]))], [image()], 1),
        case("LpPool", vec![("kernel_shape", integers(&[2, 3])), ("p", integer(3))], [image()], 1),
        case("GlobalAveragePool", vec![], [image()], 1),
        case("GlobalAveragePool", vec![], [t(&[2, 3, 4], 0.1)], 1),
        case("GlobalMaxPool", vec![], [image()], 1),
        case("GlobalLpPool", vec![], [image()], 1),
        case(
            "Resize",
            vec![("mode", text("linear"))],
            [image(), Value::Float(Tensor::zeros(0, DType::F64, &Device::Cpu).unwrap()), t4(&[1.0, 1.0, 2.0, 1.5])],
            1,
        ),
        case(
            "Resize",
            vec![("mode", text("cubic")), ("coordinate_transformation_mode", text("align_corners"))],
            [image(), Value::Float(Tensor::zeros(0, DType::F64, &Device::Cpu).unwrap()), t4(&[1.0, 1.0, 0.7, 1.5])],
            1,
        ),
        case("Upsample", vec![("scales", Attribute::Floats(vec![1.0, 1.0, 2.0, 2.0]))], [image()], 1),
        case("LRN", vec![("size", integer(3)), ("alpha", float(0.3))], [image()], 1),
    ]
}

/// All settings, with points inside and outside of images of one to three dimensions.
fn grid_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["nearest", "linear", "cubic"] {
        for padding in ["zeros", "border", "reflection"] {
            for align in [0, 1] {
                let attributes =
                    || vec![("mode", text(mode)), ("padding_mode", text(padding)), ("align_corners", integer(align))];
                cases.push(case("GridSample", attributes(), [t(&[2, 3, 4, 5], 0.1), t(&[2, 3, 2, 2], 0.07)], 2));
                cases.push(case("GridSample", attributes(), [t(&[1, 2, 3, 2, 4], 0.1), t(&[1, 2, 1, 2, 3], 0.07)], 2));
            }
        }
    }
    // One grid for all samples, and a grid far outside.
    cases.push(case("GridSample", vec![], [t(&[2, 3, 4, 5], 0.1), t(&[1, 3, 2, 2], 0.07)], 2));
    let far = vec![("padding_mode", text("reflection"))];
    cases.push(case("GridSample", far, [t(&[1, 2, 6], 0.1), (numbers(&[1, 4, 1], 0.07) * 5.0).unwrap().into()], 2));
    cases
}

fn t4(values: &[f64]) -> Value {
    Tensor::new(values, &Device::Cpu).unwrap().into()
}

fn shape_cases() -> Vec<Case> {
    let image = || t(&[2, 4, 5, 6], 0.1);
    let rows = || t(&[3, 4], 0.2);
    let positions = || shaped(Kind::I64, &[2, 2], &[2, -1, 0, 2]);
    vec![
        case("Flatten", vec![], [image()], 1),
        case("Reshape", vec![], [image(), whole(&[0, -1, 3])], 1),
        case("Squeeze", vec![], [t(&[2, 1, 3], 0.1), whole(&[1])], 1),
        case("Unsqueeze", vec![], [rows(), whole(&[0, -1])], 1),
        case("Transpose", vec![("perm", integers(&[0, 2, 3, 1]))], [image()], 1),
        case("Concat", vec![("axis", integer(-1))], [rows(), t(&[3, 2], 0.4)], 2),
        case("Expand", vec![], [t(&[3, 1], 0.1), whole(&[2, 1, 4])], 1),
        case("Tile", vec![], [rows(), whole(&[2, 3])], 1),
        case("Slice", vec![], [image(), whole(&[1, -1]), whole(&[4, -6]), whole(&[2, 3]), whole(&[2, -2])], 1),
        case("Split", vec![("axis", integer(1)), ("split", integers(&[3, 1]))], [rows()], 1),
        case("Gather", vec![("axis", integer(1))], [rows(), positions()], 1),
        case("GatherElements", vec![("axis", integer(1))], [rows(), positions()], 1),
        case("GatherND", vec![], [image(), shaped(Kind::I64, &[2, 2], &[0, 3, 1, -1])], 1),
        case(
            "ScatterElements",
            vec![("axis", integer(1))],
            [rows(), shaped(Kind::I64, &[2, 2], &[2, 1, 0, 3]), t(&[2, 2], 0.7)],
            1,
        ),
        case(
            "Scatter",
            vec![("axis", integer(1))],
            [rows(), shaped(Kind::I64, &[2, 2], &[2, 1, 0, 3]), t(&[2, 2], 0.7)],
            1,
        ),
        case(
            "ScatterND",
            vec![("reduction", text("add"))],
            [rows(), shaped(Kind::I64, &[2, 1], &[2, 0]), t(&[2, 4], 0.7)],
            1,
        ),
        case("Pad", vec![("mode", text("reflect"))], [image(), whole(&[0, 0, 1, 2, 0, 0, 2, 1])], 1),
        case("Pad", vec![("mode", text("wrap"))], [image(), whole(&[0, 0, 1, 2, 0, 0, 2, 1])], 1),
        case("Pad", vec![("mode", text("edge"))], [image(), whole(&[0, 0, 1, 2, 0, 0, 2, 1])], 1),
        case("Pad", vec![], [image(), whole(&[0, 0, 1, 2, 0, 0, -2, 1]), scalar(0.3)], 1),
        case("Trilu", vec![], [t(&[2, 3, 4], 0.1), shaped(Kind::I64, &[], &[1])], 1),
        case("DepthToSpace", vec![("blocksize", integer(2))], [t(&[1, 8, 2, 3], 0.1)], 1),
        case("SpaceToDepth", vec![("blocksize", integer(2))], [t(&[1, 2, 4, 6], 0.1)], 1),
        case("TopK", vec![("axis", integer(0))], [rows(), whole(&[2])], 1),
        case("Compress", vec![("axis", integer(1))], [rows(), shaped(Kind::Bool, &[4], &[1, 0, 1, 1])], 1),
        case("ReverseSequence", vec![], [rows(), whole(&[3, 1, 2, 2])], 1),
        case("Cast", vec![("to", integer(1))], [rows()], 1),
        case("CastLike", vec![], [rows(), scalar(0.0)], 1),
        case("Dropout", vec![], [rows()], 1),
    ]
}

fn network_cases() -> Vec<Case> {
    let image = || t(&[2, 4, 5, 6], 0.1);
    let old = |mut case: Case| {
        case.node.version = 9;
        case
    };
    vec![
        case(
            "BatchNormalization",
            vec![("epsilon", float(1e-3))],
            [image(), t(&[4], 2.5), t(&[4], 0.0), t(&[4], 0.3), t(&[4], 2.5)],
            3,
        ),
        case(
            "LayerNormalization",
            vec![("axis", integer(-2))],
            [t(&[2, 3, 4], 0.1), t(&[3, 4], 0.7), t(&[3, 4], 0.2)],
            3,
        ),
        case("RMSNormalization", vec![], [t(&[2, 3, 4], 0.1), t(&[4], 0.7)], 2),
        case("InstanceNormalization", vec![], [image(), t(&[4], 0.7), t(&[4], 0.2)], 3),
        case("GroupNormalization", vec![("num_groups", integer(2))], [image(), t(&[2], 0.7), t(&[2], 0.2)], 3),
        case("GroupNormalization", vec![("num_groups", integer(2))], [image(), t(&[4], 0.7), t(&[4], 0.2)], 1),
        case("MeanVarianceNormalization", vec![("axes", integers(&[2, 3]))], [image()], 1),
        case("LpNormalization", vec![], [t(&[3, 4], 0.2)], 1),
        case("LpNormalization", vec![("p", integer(1)), ("axis", integer(0))], [t(&[3, 4], 0.2)], 1),
        case("Softmax", vec![("axis", integer(1))], [t(&[2, 3, 4], 0.2)], 1),
        case("LogSoftmax", vec![], [t(&[2, 3, 4], 0.2)], 1),
        old(case("Softmax", vec![("axis", integer(1))], [t(&[2, 3, 4], 0.2)], 1)),
        case("Attention", vec![], [t(&[2, 4, 3, 2], 0.1), t(&[2, 2, 5, 2], 0.3), t(&[2, 2, 5, 3], 0.2)], 3),
        case(
            "Attention",
            vec![
                ("q_num_heads", integer(2)),
                ("kv_num_heads", integer(2)),
                ("is_causal", integer(1)),
                ("softcap", float(2.0)),
            ],
            [t(&[2, 3, 4], 0.1), t(&[2, 3, 4], 0.3), t(&[2, 3, 4], 0.2)],
            3,
        ),
        case(
            "RotaryEmbedding",
            vec![("interleaved", integer(1))],
            [t(&[1, 2, 3, 4], 0.1), t(&[1, 3, 2], 0.3), t(&[1, 3, 2], 0.2)],
            1,
        ),
        case("RotaryEmbedding", vec![], [t(&[1, 2, 3, 4], 0.1), t(&[1, 3, 2], 0.3), t(&[1, 3, 2], 0.2)], 1),
        case(
            "LSTM",
            vec![("direction", text("bidirectional"))],
            [t(&[3, 2, 3], 0.1), t(&[2, 8, 3], 0.0), t(&[2, 8, 2], 0.0), t(&[2, 16], 0.0)],
            4,
        ),
        case(
            "GRU",
            vec![("direction", text("reverse"))],
            [t(&[3, 2, 3], 0.1), t(&[1, 6, 3], 0.0), t(&[1, 6, 2], 0.0), t(&[1, 12], 0.0)],
            4,
        ),
        case(
            "GRU",
            vec![("linear_before_reset", integer(1)), ("layout", integer(1))],
            [t(&[2, 3, 3], 0.1), t(&[1, 6, 3], 0.0), t(&[1, 6, 2], 0.0), t(&[1, 12], 0.0)],
            4,
        ),
        case("RNN", vec![], [t(&[3, 2, 3], 0.1), t(&[1, 2, 3], 0.0), t(&[1, 2, 2], 0.0), t(&[1, 4], 0.0)], 4),
    ]
}

/// The operators without a derivative: their results are integers, or constants.
const CONSTANT: [&str; 35] = [
    "And",
    "ArgMax",
    "ArgMin",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Constant",
    "ConstantOfShape",
    "DequantizeLinear",
    "Equal",
    "EyeLike",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "QuantizeLinear",
    "Range",
    "Shape",
    "Size",
    "Xor",
    "Ceil",
    "Floor",
    "Round",
    "Sign",
    "Hardmax",
    "Identity",
    "Dropout",
];

fn outputs(node: &Node, inputs: &[Option<Value>]) -> Vec<Value> {
    let context = Context {
        dtype: DType::F64,
        device: &Device::Cpu,
        names: &[],
        freed: None,
        most: MOST_ELEMENTS,
        rounds: false,
        unrounded_lengths: false,
    };
    apply(&Call { node, inputs, context }).unwrap_or_else(|error| panic!("{}: {error}", node.op))
}

/// ⟨v, f(x)⟩ for a fixed v.
fn weighted(node: &Node, inputs: &[Option<Value>]) -> (Tensor, f64) {
    let y = outputs(node, inputs)[0].float().unwrap().clone();
    let sum = (&y * numbers(y.dims(), 0.3)).unwrap().sum_all().unwrap();
    let value = sum.to_scalar::<f64>().unwrap();
    (sum, value)
}

#[test]
fn derivatives_are_those_of_central_differences() {
    let mut wrong = Vec::new();
    for Case { node, inputs, varied } in cases() {
        for at in varied {
            let x = Var::from_tensor(inputs[at].as_ref().unwrap().float().unwrap()).unwrap();
            let with = |x: &Tensor| -> Vec<Option<Value>> {
                inputs
                    .iter()
                    .enumerate()
                    .map(|(own, other)| if own == at { Some(x.clone().into()) } else { other.clone() })
                    .collect()
            };
            let gradients = weighted(&node, &with(x.as_tensor())).0.backward().unwrap();
            let gradient = gradients.get(&x).cloned().unwrap_or_else(|| x.zeros_like().unwrap());
            let direction = numbers(x.dims(), -0.2);
            let moved = |step: f64| weighted(&node, &with(&(x.as_tensor() + (&direction * step).unwrap()).unwrap())).1;
            let step = 1e-6;
            let along = (&gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let error = (along - difference).abs() / difference.abs().max(1.0);
            if error.is_nan() || error > 1e-7 {
                wrong.push(format!(
                    "{} {:?} by input {at}: {along}, by differences {difference}",
                    node.op, node.attributes
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_derivative_of_every_operator_is_checked() {
    let checked: BTreeSet<String> = cases().into_iter().map(|case| case.node.op).collect();
    let missing: Vec<&str> = supported().filter(|name| !CONSTANT.contains(name) && !checked.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let unknown: Vec<&&str> = CONSTANT.iter().filter(|name| !supported().any(|known| known == **name)).collect();
    assert_eq!(unknown, Vec::<&&str>::new());
}

#[test]
fn the_table_is_in_alphabetical_order() {
    assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn derivatives_at_kinks_are_those_of_pytorch() {
    let slope = |op: &str, inputs: &[f64], more: Vec<Option<Value>>| -> Vec<f64> {
        let x = Var::new(inputs, &Device::Cpu).unwrap();
        let mut all = vec![Some(x.as_tensor().clone().into())];
        all.extend(more);
        let y = outputs(&node(op, vec![], all.len()), &all)[0].float().unwrap().clone();
        y.sum_all().unwrap().backward().unwrap().get(&x).unwrap().to_vec1().unwrap()
    };
    assert_eq!(slope("Relu", &[-1.0, 0.0, 1.0], vec![]), [0.0, 0.0, 1.0]);
    assert_eq!(slope("Abs", &[-1.0, 0.0, 1.0], vec![]), [-1.0, 0.0, 1.0]);
    // relu6: 0 at both bounds.
    assert_eq!(slope("Clip", &[0.0, 3.0, 6.0], vec![Some(scalar(0.0)), Some(scalar(6.0))]), [0.0, 1.0, 0.0]);
    assert_eq!(slope("ReduceMax", &[2.0, 5.0, 5.0], vec![]), [0.0, 1.0, 0.0]);
    assert_eq!(slope("ReduceL2", &[0.0, 0.0], vec![]), [0.0, 0.0]);
    assert_eq!(slope("PRelu", &[-1.0, 0.0, 1.0], vec![Some(scalar(0.25))]), [0.25, 0.0, 1.0]);
}

#[test]
fn what_is_missing_is_listed_with_its_number() {
    let nodes = [
        node("NoSuch", vec![], 1),
        node("NoSuch", vec![], 1),
        Node { domain: "com.example".to_owned(), ..node("Relu", vec![], 1) },
        node("Resize", vec![("mode", text("spline"))], 1),
        node("Relu", vec![("sharpness", float(2.0))], 1),
        node("BatchNormalization", vec![("training_mode", integer(1))], 5),
    ];
    let missing = missing(&nodes);
    assert_eq!(missing.operators, [("NoSuch".to_owned(), 2), ("com.example.Relu".to_owned(), 1)].into());
    let attributes: Vec<&str> = missing.attributes.keys().map(String::as_str).collect();
    assert_eq!(attributes.len(), 3);
    assert!(attributes[0].starts_with("BatchNormalization: training_mode = 1"), "{attributes:?}");
    assert_eq!(attributes[1..], ["Relu: sharpness = 2", "Resize: mode = spline"]);
    assert!(missing.to_string().starts_with("operators NoSuch (×2), com.example.Relu (×1); attributes "), "{missing}");
}

#[test]
fn points_of_a_grid_read_between_pixels() {
    let image = || Value::from(Tensor::new(&[[[[1f64, 2.], [3., 4.]]]], &Device::Cpu).unwrap());
    let at = |attributes: Vec<(&str, Attribute)>, x: f64, y: f64| -> f64 {
        let grid = Tensor::new(&[[[[x, y]]]], &Device::Cpu).unwrap();
        let inputs = [Some(image()), Some(grid.into())];
        outputs(&node("GridSample", attributes, 2), &inputs)[0].number().unwrap()
    };
    let with = |padding: &str| vec![("padding_mode", text(padding)), ("align_corners", integer(1))];
    // The centre is the mean; with aligned corners ±1 are the outer pixels.
    assert_eq!((at(vec![], 0.0, 0.0), at(with("zeros"), 1.0, -1.0)), (2.5, 2.0));
    // Half a pixel outside: half of the pixel, the pixel, and the middle of both pixels by reflection.
    assert_eq!(
        [at(with("zeros"), 2.0, -1.0), at(with("border"), 2.0, -1.0), at(with("reflection"), 2.0, -1.0)],
        [1.0, 2.0, 1.5]
    );
    // Without aligned corners the outer pixels are at ±1/2, and the border at ±1.
    assert_eq!(at(vec![("mode", text("nearest"))], 0.9, 0.9), 4.0);
}

#[test]
fn integers_become_floats_by_channel_and_by_block() {
    let number = |values: &[f64]| Value::from(Tensor::new(values, &Device::Cpu).unwrap());
    let dequantized = |attributes: Vec<(&str, Attribute)>, inputs: Vec<Value>| -> Vec<f64> {
        let node = node("DequantizeLinear", attributes, inputs.len());
        outputs(&node, &inputs.into_iter().map(Some).collect::<Vec<_>>())[0].numbers().unwrap()
    };
    let x = || shaped(Kind::I8, &[2, 4], &[-1, 0, 1, 2, 10, 20, 30, 40]);
    assert_eq!(dequantized(vec![], vec![x(), scalar(0.5)])[..4], [-0.5, 0.0, 0.5, 1.0]);
    let zeros = shaped(Kind::I8, &[2], &[0, 10]);
    let by_row = dequantized(vec![("axis", integer(0))], vec![x(), number(&[1.0, 0.1]), zeros]);
    assert!(by_row.iter().zip([-1., 0., 1., 2., 0., 1., 2., 3.]).all(|(a, b)| (a - b).abs() < 1e-15), "{by_row:?}");
    let scales = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu).unwrap().into();
    let by_block = dequantized(vec![("axis", integer(1)), ("block_size", integer(2))], vec![x(), scales]);
    assert_eq!(by_block, [-1., 0., 2., 4., 30., 60., 120., 160.]);
    // Ties go to the even number, and large numbers to the last one.
    let node = node("QuantizeLinear", vec![], 3);
    let inputs = [number(&[0.5, 1.5, -1.5, 900.0]), scalar(1.0), shaped(Kind::I8, &[], &[1])];
    let quantized = outputs(&node, &inputs.map(Some)).remove(0);
    assert_eq!(quantized.whole().unwrap().data[..], [1, 3, -1, 127]);
}
