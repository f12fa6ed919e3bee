//! The NCHW drop-ins: values as candle's, first and second derivatives, any strides, both routes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
#![allow(clippy::disallowed_methods, reason = "values are compared with candle's own operations")]

mod support;

use candle_core::{DType, Device, Tensor, Var};
use ops::{ConvSettings, PoolSettings, Result, nchw, nhwc};
use support::{assert_close, numbers};

fn draw(shape: &[usize], address: u64) -> Tensor {
    let mut stream = streams::stream(5, "tests/nchw", address);
    Tensor::from_vec(streams::standard_normal(&mut stream, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

#[test]
fn values_are_those_of_candle() {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 4e-6)] {
        let single = |shape: &[usize], address| draw(shape, address).to_dtype(dtype).unwrap();
        for (shape, kernel, [padding, stride, dilation, groups]) in [
            ([2, 3, 7, 6], [4, 3, 3, 3], [1, 1, 1, 1]),
            ([3, 16, 12, 10], [24, 16, 3, 3], [1, 1, 1, 1]),
            ([2, 6, 9, 8], [4, 3, 3, 2], [2, 2, 2, 2]),
            ([1, 5, 6, 7], [8, 5, 1, 1], [0, 1, 1, 1]),
        ] {
            let (x, kernel) = (single(&shape, 1), single(&kernel, 2));
            let expected = x.conv2d(&kernel, padding, stride, dilation, groups).unwrap();
            let found = nchw::conv2d(&x, &kernel, padding, stride, dilation, groups).unwrap();
            assert!(found.is_contiguous());
            let bias = single(&[kernel.dims()[0]], 4);
            let settings = ConvSettings { dilation: [dilation; 2], groups, ..ConvSettings::new(stride, padding) };
            let biased = nchw::conv2d_with_bias(&x, &kernel, &bias, settings).unwrap();
            let sum = expected.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap();
            assert_close(&format!("conv2d with bias of {shape:?}"), &biased, &sum, tolerance);
            assert_close(&format!("conv2d of {shape:?}"), &found, &expected, tolerance);
        }
        let x = single(&[2, 3, 7, 6], 3);
        let same = |found: Result<Tensor>, expected: candle_core::Result<Tensor>| {
            let (found, expected) = (found.unwrap(), expected.unwrap());
            assert_eq!(found.dims(), expected.dims());
            assert_close("pooling", &found, &expected, tolerance);
        };
        same(nchw::max_pool2d(&x, 2), x.max_pool2d(2));
        same(nchw::max_pool2d(&x, (3, 2)), x.max_pool2d((3, 2)));
        same(nchw::max_pool2d_with_stride(&x, 3, 2), x.max_pool2d_with_stride(3, 2));
        same(nchw::avg_pool2d(&x, (2, 3)), x.avg_pool2d((2, 3)));
        same(nchw::avg_pool2d_with_stride(&x, 3, 2), x.avg_pool2d_with_stride(3, 2));
        same(nchw::global_avg_pool2d(&x), x.mean((2, 3)));
        same(nchw::relu(&x), x.relu());
    }
}

/// A net of every drop-in, by its input, its weights and a bias.
fn net(arguments: &[Tensor]) -> Result<Tensor> {
    let [x, first, second, bias] = arguments else { panic!("four arguments") };
    let x = nchw::max_pool2d(&nchw::relu(&nchw::conv2d(x, first, 1, 1, 1, 1)?)?, 2)?;
    let settings = ConvSettings { groups: 2, ..ConvSettings::new(2, 1) };
    let x = nchw::avg_pool2d_with_stride(&nchw::conv2d_with_bias(&x, second, bias, settings)?, 2, 1)?;
    nchw::global_avg_pool2d(&x.sqr()?)
}

fn arguments() -> [Tensor; 4] {
    [draw(&[2, 3, 10, 9], 1), draw(&[4, 3, 3, 3], 2), draw(&[6, 2, 3, 3], 3), draw(&[6], 4)]
}

/// Variables, and the tensors of their graph.
fn variables(arguments: &[Tensor]) -> (Vec<Var>, Vec<Tensor>) {
    let vars: Vec<Var> = arguments.iter().map(|argument| Var::from_tensor(argument).unwrap()).collect();
    let tracked = vars.iter().map(|var| var.as_tensor().clone()).collect();
    (vars, tracked)
}

/// The gradients of Σ net².
fn gradients(arguments: &[Tensor]) -> [Tensor; 4] {
    let (vars, tracked) = variables(arguments);
    let loss = net(&tracked).unwrap().sqr().unwrap().sum_all().unwrap();
    let store = loss.backward().unwrap();
    std::array::from_fn(|index| store.get(&vars[index]).unwrap().clone())
}

#[test]
fn gradients_match_central_differences_and_the_composed_operations() {
    let arguments = arguments();
    let found = gradients(&arguments);
    let composed = ops::composed(|| gradients(&arguments));
    let loss = |arguments: &[Tensor]| {
        let y = net(arguments).unwrap();
        y.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    for index in 0..4 {
        assert_close("composed gradient", &composed[index], &found[index], 1e-12);
        let direction = draw(arguments[index].dims(), 10 + index as u64);
        let at = |step: f64| {
            let mut moved = arguments.to_vec();
            moved[index] = (&arguments[index] + (&direction * step).unwrap()).unwrap();
            loss(&moved)
        };
        let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
        let derivative: f64 = numbers(&found[index]).iter().zip(numbers(&direction)).map(|(g, d)| g * d).sum();
        assert!((derivative - expected).abs() < 1e-6 * expected.abs().max(1.0), "{index}: {derivative}, {expected}");
    }
}

#[test]
fn views_give_the_results_of_copies() {
    let wide = draw(&[5, 12, 4, 8], 1);
    let view = wide.narrow(0, 1, 2).unwrap().transpose(1, 2).unwrap().narrow(3, 2, 5).unwrap();
    assert!(!view.is_contiguous());
    let copy = view.force_contiguous().unwrap();
    let kernel = draw(&[3, 4, 3, 3], 2).transpose(2, 3).unwrap();
    let same =
        |f: &dyn Fn(&Tensor) -> Result<Tensor>| assert_eq!(numbers(&f(&view).unwrap()), numbers(&f(&copy).unwrap()));
    same(&|x| nchw::conv2d(x, &kernel, 1, 1, 1, 1));
    same(&|x| nchw::max_pool2d(x, 2));
    same(&|x| nchw::avg_pool2d(x, 2));
    same(&|x| nchw::global_avg_pool2d(x));
    same(&|x| nchw::relu(x));
}

#[test]
fn nhwc_functions_agree_after_a_transposition() {
    let x = draw(&[2, 3, 8, 6], 1);
    let channels_last = x.permute((0, 2, 3, 1)).unwrap();
    let kernel = draw(&[5, 3, 3, 3], 2);
    let same =
        |first: Tensor, last: Tensor| assert_close("layout", &first, &last.permute((0, 3, 1, 2)).unwrap(), 1e-15);
    same(
        nchw::conv2d(&x, &kernel, 1, 2, 1, 1).unwrap(),
        nhwc::conv2d(&channels_last, &kernel, None, ConvSettings::new(2, 1)).unwrap(),
    );
    same(nchw::max_pool2d(&x, 2).unwrap(), nhwc::max_pool2d(&channels_last, PoolSettings::square(2)).unwrap());
}

/// Planes have kernels of their own: values and gradients are bit-identical, with equal maxima and NaN.
#[test]
fn max_pooling_is_bit_identical_in_both_layouts() {
    for (size, stride) in [([6, 8], 2), ([7, 5], 2), ([7, 8], 3), ([5, 6], 1)] {
        let mut values = numbers(&draw(&[2, 3, size[0], size[1]], 1));
        for (index, value) in values.iter_mut().enumerate() {
            *value = if index % 11 == 3 { f64::NAN } else { (2.0 * *value).round() };
        }
        let x = Tensor::from_vec(values, (2, 3, size[0], size[1]), &Device::Cpu).unwrap();
        let (first, last) =
            (Var::from_tensor(&x).unwrap(), Var::from_tensor(&x.permute((0, 2, 3, 1)).unwrap()).unwrap());
        let settings = PoolSettings { stride: [stride; 2], ..PoolSettings::square(2) };
        let pooled = nchw::max_pool2d_with_stride(first.as_tensor(), 2, stride).unwrap();
        let expected = nhwc::max_pool2d(&last, settings).unwrap().permute((0, 3, 1, 2)).unwrap();
        let bits = |x: &Tensor| numbers(x).into_iter().map(f64::to_bits).collect::<Vec<u64>>();
        assert_eq!(bits(&pooled), bits(&expected));
        let g = draw(pooled.dims(), 2);
        let vjp = |y: &Tensor, x: &Var| {
            let store = ops::hadamard(y, &g).unwrap().sum_all().unwrap().backward().unwrap();
            store.get(x).unwrap().clone()
        };
        let expected = vjp(&expected, &last).permute((0, 3, 1, 2)).unwrap();
        assert_eq!(bits(&vjp(&pooled, &first)), bits(&expected), "{size:?}, {stride}");
    }
}

#[test]
fn wrong_shapes_and_dtypes_are_errors() {
    let (x, kernel) = (draw(&[2, 3, 6, 6], 1), draw(&[4, 3, 3, 3], 2));
    for error in [
        nchw::conv2d(&draw(&[2, 3, 6], 1), &kernel, 1, 1, 1, 1).unwrap_err(),
        nchw::conv2d(&x, &draw(&[4, 2, 3, 3], 2), 1, 1, 1, 1).unwrap_err(),
        nchw::conv2d(&x, &kernel, 1, 0, 1, 1).unwrap_err(),
        nchw::max_pool2d(&x, 7).unwrap_err(),
        nchw::max_pool2d(&draw(&[2, 3, 6], 1), 2).unwrap_err(),
        nchw::avg_pool2d(&x, 0).unwrap_err(),
        nchw::global_avg_pool2d(&draw(&[2, 3], 1)).unwrap_err(),
    ] {
        assert!(matches!(error, ops::Error::Shape { .. }), "{error}");
    }
    let half = x.to_dtype(DType::F16).unwrap();
    for error in [
        nchw::conv2d(&x.to_dtype(DType::F32).unwrap(), &kernel, 1, 1, 1, 1).unwrap_err(),
        nchw::max_pool2d(&half, 2).unwrap_err(),
        nchw::relu(&half).unwrap_err(),
    ] {
        assert!(matches!(error, ops::Error::DType { .. }), "{error}");
    }
}

/// Candle reads the variable once per thread, so the test of second derivatives runs in a process of its own.
#[test]
fn second_derivatives_through_the_graph_of_candle() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "second_derivatives_match_central_differences", "--ignored"])
        .env("CANDLE_GRAD_DO_NOT_DETACH", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "needs CANDLE_GRAD_DO_NOT_DETACH=1; another test runs it so"]
fn second_derivatives_match_central_differences() {
    let arguments = arguments();
    let (vars, tracked) = variables(&arguments);
    let loss = net(&tracked).unwrap().sqr().unwrap().sum_all().unwrap();
    // The squared norm of the input gradient, as in a Jacobian penalty, by the input and the weights.
    let first = loss.backward().unwrap().get(&vars[0]).unwrap().clone();
    let second = first.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for index in 0..4 {
        let direction = draw(arguments[index].dims(), 20 + index as u64);
        let at = |step: f64| {
            let mut moved = arguments.to_vec();
            moved[index] = (&arguments[index] + (&direction * step).unwrap()).unwrap();
            numbers(&gradients(&moved)[0]).iter().map(|g| g * g).sum::<f64>()
        };
        let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
        let gradient = second.get(&vars[index]).unwrap();
        let found: f64 = numbers(gradient).iter().zip(numbers(&direction)).map(|(g, d)| g * d).sum();
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{index}: {found}, {expected}");
    }
}

/// Exact geometric complexity runs a map while a tape records it; an operation that is not recorded is right, but slower.
#[test]
fn a_tape_records_every_operation_without_its_weights() {
    let (variables, tracked) = variables(&arguments());
    let (x, input) = (&variables[0], &tracked[0]);
    let weights = &tracked[1..];
    let biased = ConvSettings::new(1, 1);
    let bias = Var::from_tensor(&draw(&[4], 5)).unwrap();
    let operations: [(&str, &dyn Fn() -> Result<Tensor>); 6] = [
        ("conv2d", &|| nchw::conv2d(input, &weights[0], 1, 1, 1, 1)),
        ("conv2d with bias", &|| nchw::conv2d_with_bias(input, &weights[0], &bias, biased)),
        ("relu", &|| nchw::relu(input)),
        ("max-pool", &|| nchw::max_pool2d(input, 2)),
        ("avg-pool", &|| nchw::avg_pool2d(input, 2)),
        ("silu", &|| ops::Activation::Silu.forward(input)),
    ];
    for (name, operation) in operations {
        let (y, tape) = tape::record(x, operation).unwrap();
        assert!(tape.is_recorded(&y), "{name} is not recorded");
        let kept = tape.tensors();
        assert!(
            weights.iter().chain([bias.as_tensor()]).all(|weight| kept.iter().all(|node| node.id() != weight.id()))
        );
        let cotangent = draw(y.dims(), 6);
        let expected = (operation().unwrap() * &cotangent).unwrap().backward().unwrap().remove(input).unwrap();
        assert_close(name, &tape.vjp(&cotangent).unwrap().unwrap(), &expected, 1e-15);
    }
}
