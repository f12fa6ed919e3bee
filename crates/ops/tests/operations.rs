//! Every operation compared with finite differences in f64: gradients, JVPs, and the gradients of JVPs.
//!
//! Central differences with step 1e-6 of smooth functions have a relative error of about 1e-9; the tolerance is 1e-6. Shapes are
//! odd and not square, and channels and batches differ.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use candle_core::{DType, Device, Tensor, Var};
use ops::{Accuracy, Result};
use ops::{Activation, Conv1dSettings, ConvSettings, PoolSettings};
use proptest::prelude::*;
use support::{assert_close, numbers};

const STEP: f64 = 1e-6;
const TOLERANCE: f64 = 1e-6;

fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(5, "tests/operations", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn inner(a: &Tensor, b: &Tensor) -> f64 {
    numbers(a).iter().zip(numbers(b)).map(|(a, b)| a * b).sum()
}

/// Compares the gradient of ⟨f(x…), g⟩ by every argument with central differences along random directions, and the kernels with
/// the composed operations.
fn check_gradients(what: &str, arguments: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> = arguments.iter().map(|argument| Var::from_tensor(argument).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let pass = || {
        let y = f(&tracked).unwrap();
        let g = draw(y.dims(), 100);
        let gradients = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
        (y, g, gradients)
    };
    let (y, g, gradients) = pass();
    let (composed_y, _, composed_gradients) = ops::composed(pass);
    assert_close(&format!("{what}, composed"), &composed_y, &y, 1e-12);
    for (index, var) in vars.iter().enumerate() {
        let (composed, kernel) = (composed_gradients.get(var).unwrap(), gradients.get(var).unwrap());
        assert_close(&format!("{what}, composed, gradient {index}"), composed, kernel, 1e-12);
    }
    for (index, var) in vars.iter().enumerate() {
        let direction = draw(var.dims(), 200 + index as u64);
        let at = |sign: f64| {
            let mut moved = arguments.to_vec();
            moved[index] = (&arguments[index] + (&direction * (sign * STEP)).unwrap()).unwrap();
            inner(&f(&moved).unwrap(), &g)
        };
        let expected = (at(1.0) - at(-1.0)) / (2.0 * STEP);
        let found = inner(gradients.get(var).unwrap_or_else(|| panic!("{what}: no gradient {index}")), &direction);
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error < TOLERANCE, "{what}, argument {index}: {found} against {expected}");
    }
}

/// Compares a JVP with central differences, and checks its gradient by every argument.
fn check_tangent(
    what: &str,
    x: &Tensor,
    rest: &[Tensor],
    f: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor>,
    jvp: impl Fn(&Tensor, &Tensor, &[Tensor]) -> Result<(Tensor, Tensor)>,
) {
    let dx = draw(x.dims(), 300);
    let (y, dy) = jvp(x, &dx, rest).unwrap();
    let (_, composed_dy) = ops::composed(|| jvp(x, &dx, rest)).unwrap();
    assert_close(&format!("{what}: composed tangent"), &composed_dy, &dy, 1e-12);
    assert_close(&format!("{what}: value"), &y, &f(x, rest).unwrap(), 1e-12);
    let at = |sign: f64| f(&(x + (&dx * (sign * STEP)).unwrap()).unwrap(), rest).unwrap();
    let expected = ((at(1.0) - at(-1.0)).unwrap() / (2.0 * STEP)).unwrap();
    assert_close(&format!("{what}: tangent"), &dy, &expected, TOLERANCE);
    let mut arguments = vec![x.clone(), dx];
    arguments.extend_from_slice(rest);
    check_gradients(&format!("{what}: gradient of the tangent"), &arguments, |arguments| {
        // The value is added, so that an operation whose JVP does not depend on x has a gradient by x.
        let (y, dy) = jvp(&arguments[0], &arguments[1], &arguments[2..])?;
        Ok((dy + (y * 0.5)?)?)
    });
}

#[test]
fn convolution_with_every_setting() {
    let settings = [
        ConvSettings::new(1, 1),
        ConvSettings::new(2, 1),
        ConvSettings { stride: [1, 2], padding: [2, 0], ..ConvSettings::default() },
        ConvSettings { dilation: [2, 1], padding: [2, 1], ..ConvSettings::default() },
        ConvSettings { groups: 2, padding: [1, 1], ..ConvSettings::default() },
        ConvSettings { accuracy: Accuracy::Accurate, padding: [1, 1], ..ConvSettings::default() },
    ];
    for (index, settings) in settings.into_iter().enumerate() {
        let x = draw(&[2, 7, 5, 4], 1);
        let weight = draw(&[6, 4 / settings.groups, 3, 2 + index % 2], 2);
        let bias = draw(&[6], 3);
        let what = format!("conv2d {settings:?}");
        check_gradients(&what, &[x.clone(), weight.clone(), bias.clone()], |a| {
            ops::nhwc::conv2d(&a[0], &a[1], Some(&a[2]), settings)
        });
        check_tangent(
            &what,
            &x,
            &[weight, bias],
            |x, rest| ops::nhwc::conv2d(x, &rest[0], Some(&rest[1]), settings),
            |x, dx, rest| {
                Ok((
                    ops::nhwc::conv2d(x, &rest[0], Some(&rest[1]), settings)?,
                    ops::nhwc::conv2d(dx, &rest[0], None, settings)?,
                ))
            },
        );
    }
}

#[test]
fn conv2d_relu_equals_conv2d_then_relu() {
    let (x, weight, bias) = (draw(&[2, 7, 5, 4], 1), draw(&[6, 4, 3, 3], 2), draw(&[6], 3));
    let settings = ConvSettings::new(1, 1);
    let separate = ops::relu(&ops::nhwc::conv2d(&x, &weight, Some(&bias), settings).unwrap()).unwrap();
    let fused = ops::nhwc::conv2d_relu(&x, &weight, &bias, settings).unwrap();
    assert_eq!(numbers(&fused), numbers(&separate));
    assert!(numbers(&fused).contains(&0.0));
    check_gradients("convolution and ReLU", &[x, weight, bias], |a| {
        ops::nhwc::conv2d_relu(&a[0], &a[1], &a[2], settings)
    });
    // The derivative is 0 where the convolution is 0, and NaN stays NaN.
    let zeros = Var::zeros((1, 3, 3, 2), DType::F64, &Device::Cpu).unwrap();
    let (weight, bias) = (draw(&[3, 2, 3, 3], 2), Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap());
    let y = ops::nhwc::conv2d_relu(&zeros, &weight, &bias, settings).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(numbers(gradients.get(&zeros).unwrap()).iter().all(|gradient| *gradient == 0.0));
    let undefined = (zeros.as_tensor() + f64::NAN).unwrap();
    assert!(numbers(&ops::nhwc::conv2d_relu(&undefined, &weight, &bias, settings).unwrap()).iter().all(|y| y.is_nan()));
}

/// The three operations of one convolution are each other's derivatives: ⟨F(x,w), g⟩ = ⟨x, D(g,w)⟩ = ⟨w, W(x,g)⟩.
#[test]
fn convolution_is_trilinear() {
    for dtype in [DType::F64, DType::F32] {
        let x = Var::from_tensor(&draw(&[3, 9, 6, 5], 1).to_dtype(dtype).unwrap()).unwrap();
        let w = Var::from_tensor(&draw(&[7, 5, 3, 3], 2).to_dtype(dtype).unwrap()).unwrap();
        let y = ops::nhwc::conv2d(&x, &w, None, ConvSettings::new(1, 1)).unwrap();
        let g = draw(y.dims(), 3).to_dtype(dtype).unwrap();
        let gradients = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
        let value = inner(&y, &g);
        let tolerance = if dtype == DType::F64 { 1e-12 } else { 1e-5 };
        for var in [&x, &w] {
            let product = inner(var, gradients.get(var).unwrap());
            assert!((product - value).abs() <= tolerance * value.abs().max(1.0), "{product} against {value}");
        }
    }
}

#[test]
fn the_gradient_by_a_detached_argument_is_not_computed() {
    let x = Var::from_tensor(&draw(&[1, 4, 4, 2], 1)).unwrap();
    let w = draw(&[3, 2, 3, 3], 2);
    let loss = ops::nhwc::conv2d(&x, &w, None, ConvSettings::new(1, 1)).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    assert!(gradients.get(&x).is_some());
    assert!(gradients.get(&w).is_none());
}

#[test]
fn activations_to_the_third_derivative() {
    let x = draw(&[3, 5], 1);
    for activation in [
        Activation::Relu,
        Activation::Gelu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Identity,
    ] {
        let what = format!("{activation:?}");
        check_gradients(&what, std::slice::from_ref(&x), |a| activation.forward(&a[0]));
        check_tangent(&what, &x, &[], |x, _| activation.forward(x), |x, dx, _| activation.jvp(x, dx));
    }
}

#[test]
fn relu_has_derivative_zero_at_zero_and_keeps_nan() {
    let x = Var::new(&[0f64, -0.0, 1.0, f64::NAN], &Device::Cpu).unwrap();
    let y = ops::relu(&x).unwrap();
    let gradient = numbers(y.sum_all().unwrap().backward().unwrap().get(&x).unwrap());
    assert_eq!(gradient[..3], [0., 0., 1.]);
    assert!(numbers(&y)[3].is_nan());
}

#[test]
fn pooling_and_its_tangents() {
    let x = draw(&[2, 7, 5, 3], 1);
    let windows = [
        PoolSettings::square(2),
        PoolSettings { kernel: [3, 2], stride: [2, 1], padding: [1, 1], ..PoolSettings::default() },
        PoolSettings { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ..PoolSettings::default() },
        PoolSettings { ceil_mode: true, ..PoolSettings::square(2) },
        PoolSettings { kernel: [3, 2], stride: [3, 4], padding: [1, 0], ceil_mode: true, count_include_pad: true },
        PoolSettings { kernel: [3, 3], stride: [2, 3], padding: [1, 1], ceil_mode: false, count_include_pad: true },
    ];
    for window in windows {
        check_gradients("max pool", std::slice::from_ref(&x), |a| ops::nhwc::max_pool2d(&a[0], window));
        check_gradients("mean pool", std::slice::from_ref(&x), |a| ops::nhwc::avg_pool2d(&a[0], window));
        check_tangent(
            "max pool",
            &x,
            &[],
            |x, _| ops::nhwc::max_pool2d(x, window),
            |x, dx, _| ops::nhwc::max_pool2d_jvp(x, dx, window),
        );
    }
    check_gradients("global mean", std::slice::from_ref(&x), |a| ops::nhwc::global_avg_pool2d(&a[0]));
}

#[test]
fn ties_in_max_pooling_go_to_the_first_in_row_major_order() {
    let x = Var::zeros((1, 4, 4, 1), DType::F32, &Device::Cpu).unwrap();
    let y = ops::nhwc::max_pool2d(&x, PoolSettings::square(2)).unwrap();
    let gradient = numbers(y.sum_all().unwrap().backward().unwrap().get(&x).unwrap());
    assert_eq!(gradient, [1., 0., 1., 0., 0., 0., 0., 0., 1., 0., 1., 0., 0., 0., 0., 0.]);
}

/// Black images, where every window is a tie, every input of a ReLU is 0 and no channel varies.
#[test]
fn all_zero_images() {
    for route in [|body: &dyn Fn()| body(), |body: &dyn Fn()| ops::composed(body)] {
        route(&|| {
            let x = Var::zeros((2, 6, 5, 3), DType::F64, &Device::Cpu).unwrap();
            let w = Var::from_tensor(&draw(&[4, 3, 3, 3], 1)).unwrap();
            let (gamma, beta) = (draw(&[4], 2), Var::zeros(4, DType::F64, &Device::Cpu).unwrap());
            let y = ops::nhwc::conv2d(&x, &w, None, ConvSettings::new(1, 1)).unwrap();
            let (y, moments) = ops::nhwc::batch_norm_train(&y, &gamma, &beta, 1e-5).unwrap();
            assert_eq!(moments.variance().unwrap(), [0.0; 4]);
            let y = ops::nhwc::max_pool2d(&ops::relu(&y).unwrap(), PoolSettings::square(2)).unwrap();
            assert!(numbers(&y).iter().all(|value| *value == 0.0));
            let gradients = y.sum_all().unwrap().backward().unwrap();
            for var in [&x, &w, &beta] {
                assert!(numbers(gradients.get(var).unwrap()).iter().all(|gradient| *gradient == 0.0));
            }
        });
    }
}

#[test]
fn batch_norm_in_both_modes() {
    let (x, gamma, beta) = (draw(&[4, 3, 5, 2], 1), draw(&[2], 2), draw(&[2], 3));
    check_gradients("training", &[x.clone(), gamma.clone(), beta.clone()], |a| {
        Ok(ops::nhwc::batch_norm_train(&a[0], &a[1], &a[2], 1e-5)?.0)
    });
    check_tangent(
        "training",
        &x,
        &[gamma.clone(), beta.clone()],
        |x, rest| Ok(ops::nhwc::batch_norm_train(x, &rest[0], &rest[1], 1e-5)?.0),
        |x, dx, rest| ops::nhwc::batch_norm_train_jvp(x, dx, &rest[0], &rest[1], 1e-5),
    );
    let (mean, variance) = (draw(&[2], 4), (draw(&[2], 5).sqr().unwrap() + 0.5).unwrap());
    let evaluate = |x: &Tensor, rest: &[Tensor]| {
        let (factor, summand) = ops::nhwc::batch_norm_eval_affine(&rest[0], &rest[1], &mean, &variance, 1e-5)?;
        ops::nhwc::channel_affine(x, &factor, &summand)
    };
    check_gradients("evaluation", &[x.clone(), gamma.clone(), beta.clone()], |a| evaluate(&a[0], &a[1..]));
    check_tangent("evaluation", &x, &[gamma, beta], evaluate, |x, dx, rest| {
        let (factor, _) = ops::nhwc::batch_norm_eval_affine(&rest[0], &rest[1], &mean, &variance, 1e-5)?;
        Ok((evaluate(x, rest)?, ops::nhwc::channel_scale(dx, &factor)?))
    });
}

#[test]
fn linear_and_products() {
    let (x, weight, bias) = (draw(&[5, 3], 1), draw(&[4, 3], 2), draw(&[4], 3));
    check_gradients("linear", &[x.clone(), weight, bias], |a| ops::linear(&a[0], &a[1], Some(&a[2])));
    check_gradients("hadamard", &[x.clone(), draw(&[5, 3], 4)], |a| ops::hadamard(&a[0], &a[1]));
    check_gradients("channel dot", &[x.clone(), draw(&[5, 3], 5)], |a| ops::nhwc::channel_dot(&a[0], &a[1]));
    check_gradients("channel scale", &[x.clone(), draw(&[3], 6)], |a| ops::nhwc::channel_scale(&a[0], &a[1]));
    check_gradients("channel shift", &[x.clone(), draw(&[3], 7)], |a| ops::nhwc::channel_shift(&a[0], &a[1]));
    check_gradients("channel sum", &[x], |a| ops::nhwc::channel_sum(&a[0]));
}

#[test]
fn cross_entropy_with_and_without_smoothing() {
    let logits = draw(&[6, 4], 1);
    let labels = Tensor::new(&[0u32, 3, 1, 1, 2, 0], &Device::Cpu).unwrap();
    for smoothing in [0.0, 0.1] {
        check_gradients("cross-entropy", std::slice::from_ref(&logits), |a| {
            ops::cross_entropy(&a[0], &labels, smoothing)
        });
        let d_logits = draw(&[6, 4], 2);
        let (_, tangent) = ops::cross_entropy_jvp(&logits, &d_logits, &labels, smoothing).unwrap();
        let at = |sign: f64| {
            let moved = (&logits + (&d_logits * (sign * STEP)).unwrap()).unwrap();
            ops::cross_entropy(&moved, &labels, smoothing).unwrap().to_scalar::<f64>().unwrap()
        };
        let expected = (at(1.0) - at(-1.0)) / (2.0 * STEP);
        assert!((tangent.to_scalar::<f64>().unwrap() - expected).abs() < 1e-8);
    }
    // Large logits do not overflow, and the loss stays accurate.
    let far = Tensor::new(&[[1e4f32, -1e4], [0., 0.]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1u32, 0], &Device::Cpu).unwrap();
    let loss = ops::cross_entropy(&far, &labels, 0.0).unwrap().to_scalar::<f32>().unwrap();
    assert!((loss - (2e4 + std::f32::consts::LN_2) / 2.0).abs() < 1e-2, "{loss}");
}

#[test]
fn dropout_is_reproducible_from_its_stream() {
    let x = draw(&[4, 50], 1);
    let open = || streams::stream(3, "tests/dropout", 9);
    let first = ops::dropout(&x, 0.25, &mut open()).unwrap();
    let again = ops::dropout(&x, 0.25, &mut open()).unwrap();
    assert_eq!(numbers(&first), numbers(&again));
    let kept = numbers(&first).iter().filter(|value| **value != 0.0).count();
    assert!((120..180).contains(&kept), "{kept} of 200 kept");
    check_gradients("dropout", &[x], |a| ops::dropout(&a[0], 0.25, &mut open()));
}

/// ⟨f(x), g⟩ = ⟨x, fᵀ(g)⟩ for a linear operation.
fn check_adjoint(what: &str, x: &Tensor, y: &Tensor, g: &Tensor, adjoint: &Tensor) {
    let (left, right) = (inner(y, g), inner(x, adjoint));
    assert!((left - right).abs() <= 1e-12 * left.abs().max(1.0), "{what}: {left} against {right}");
}

#[test]
fn convolution_of_sequences() {
    use ops::nhwc::{conv1d, conv1d_input_gradient, conv1d_weight_gradient};
    let x = draw(&[3, 11, 4], 1);
    for settings in [
        Conv1dSettings::default(),
        Conv1dSettings { stride: 2, padding: 1, ..Conv1dSettings::default() },
        Conv1dSettings { dilation: 3, padding: 2, groups: 2, ..Conv1dSettings::default() },
    ] {
        let what = format!("conv1d {settings:?}");
        let (weight, bias) = (draw(&[6, 4 / settings.groups, 3], 2), draw(&[6], 3));
        check_gradients(&what, &[x.clone(), weight.clone(), bias], |a| conv1d(&a[0], &a[1], Some(&a[2]), settings));
        check_tangent(
            &what,
            &x,
            std::slice::from_ref(&weight),
            |x, rest| conv1d(x, &rest[0], None, settings),
            |x, dx, rest| Ok((conv1d(x, &rest[0], None, settings)?, conv1d(dx, &rest[0], None, settings)?)),
        );
        let y = conv1d(&x, &weight, None, settings).unwrap();
        let g = draw(y.dims(), 4);
        check_adjoint(&what, &x, &y, &g, &conv1d_input_gradient(&g, &weight, x.dims(), settings).unwrap());
        check_adjoint(&what, &weight, &y, &g, &conv1d_weight_gradient(&x, &g, weight.dims(), settings).unwrap());
    }
    let wrong = [
        conv1d(&draw(&[3, 4], 1), &draw(&[6, 4, 3], 2), None, Conv1dSettings::default()),
        conv1d(&x, &draw(&[6, 3, 3], 2), None, Conv1dSettings::default()),
        conv1d(&x, &draw(&[6, 4, 12], 2), None, Conv1dSettings::default()),
    ];
    assert!(wrong.iter().all(|wrong| matches!(wrong, Err(ops::Error::Shape { .. }))));
}

#[test]
fn adaptive_pools_divide_images_of_any_size() {
    use ops::nhwc::{adaptive_avg_pool2d, adaptive_avg_pool2d_vjp};
    let x = draw(&[2, 7, 5, 3], 1);
    for out in [[1, 1], [7, 5], [3, 2], [4, 9]] {
        check_gradients("adaptive pool", std::slice::from_ref(&x), |a| adaptive_avg_pool2d(&a[0], out));
        let y = adaptive_avg_pool2d(&x, out).unwrap();
        let g = draw(y.dims(), 2);
        check_adjoint("adaptive pool", &x, &y, &g, &adaptive_avg_pool2d_vjp(&g, [7, 5]).unwrap());
    }
    assert_eq!(numbers(&adaptive_avg_pool2d(&x, [7, 5]).unwrap()), numbers(&x));
    let mean = ops::nhwc::global_avg_pool2d(&x).unwrap();
    assert_close("one window", &adaptive_avg_pool2d(&x, [1, 1]).unwrap().reshape((2, 3)).unwrap(), &mean, 1e-14);
    assert!(matches!(adaptive_avg_pool2d(&x, [0, 1]), Err(ops::Error::Shape { .. })));
    assert!(matches!(adaptive_avg_pool2d(&draw(&[2, 3], 1), [1, 1]), Err(ops::Error::Shape { .. })));
}

#[test]
fn scales_of_each_sample_and_the_channel_shuffle() {
    use ops::nhwc::{channel_shuffle, sample_dot, sample_scale};
    let (x, s) = (draw(&[3, 4, 5, 6], 1), draw(&[3, 6], 2));
    check_gradients("sample scale", &[x.clone(), s.clone()], |a| sample_scale(&a[0], &a[1]));
    check_tangent(
        "sample scale",
        &x,
        std::slice::from_ref(&s),
        |x, rest| sample_scale(x, &rest[0]),
        |x, dx, rest| Ok((sample_scale(x, &rest[0])?, sample_scale(dx, &rest[0])?)),
    );
    let twice = Tensor::cat(&[&x, &x], 0).unwrap();
    let once = sample_scale(&x, &s).unwrap();
    assert_close("two cotangents", &sample_scale(&twice, &s).unwrap(), &Tensor::cat(&[&once, &once], 0).unwrap(), 0.0);
    let dots = sample_dot(&x, &x).unwrap();
    assert_close("two cotangents", &sample_dot(&twice, &x).unwrap(), &Tensor::cat(&[&dots, &dots], 0).unwrap(), 0.0);
    check_gradients("channel shuffle", std::slice::from_ref(&x), |a| channel_shuffle(&a[0], 2));
    let (y, g) = (channel_shuffle(&x, 2).unwrap(), draw(&[3, 4, 5, 6], 3));
    check_adjoint("channel shuffle", &x, &y, &g, &channel_shuffle(&g, 3).unwrap());
    assert!(matches!(sample_scale(&x, &draw(&[2, 6], 1)), Err(ops::Error::Shape { .. })));
    assert!(matches!(sample_dot(&x, &draw(&[3, 4, 5, 5], 1)), Err(ops::Error::Shape { .. })));
    assert!(matches!(channel_shuffle(&x, 4), Err(ops::Error::Setting { .. })));
    assert!(matches!(
        ops::stochastic_depth_mask(&x, 1.0, &mut streams::stream(1, "t", 0)),
        Err(ops::Error::Setting { .. })
    ));
}

#[test]
fn views_with_strides_and_offsets_give_what_copies_give() {
    let wide = draw(&[3, 8, 12, 5], 1);
    let view = wide.narrow(0, 1, 2).unwrap().narrow(2, 3, 7).unwrap().transpose(1, 2).unwrap();
    assert!(!view.is_contiguous());
    let copy = view.force_contiguous().unwrap();
    let w = draw(&[5, 4, 3, 3], 2).transpose(0, 1).unwrap();
    let same = |f: &dyn Fn(&Tensor) -> Tensor| assert_eq!(numbers(&f(&view)), numbers(&f(&copy)));
    same(&|x| ops::nhwc::conv2d(x, &w, None, ConvSettings::new(1, 1)).unwrap());
    same(&|x| ops::nhwc::max_pool2d(x, PoolSettings::square(2)).unwrap());
    same(&|x| ops::relu(x).unwrap());
    same(&|x| ops::nhwc::channel_sum(x).unwrap());
    same(&|x| ops::nhwc::avg_pool2d(x, PoolSettings::square(2)).unwrap());
    same(&|x| ops::nhwc::global_avg_pool2d(x).unwrap());
    same(&|x| ops::nhwc::max_pool2d_vjp(x, &draw(&[2, 3, 4, 5], 3), PoolSettings::square(2)).unwrap());
    same(&|x| Activation::Gelu.forward(x).unwrap());
    same(&|x| ops::relu_mask(x, x).unwrap());
    same(&|x| ops::hadamard(x, x).unwrap());
    let (scale, shift) = (draw(&[10], 4).narrow(0, 5, 5).unwrap(), draw(&[5], 5));
    same(&|x| ops::nhwc::channel_affine(x, &scale, &shift).unwrap());
    same(&|x| ops::nhwc::channel_scale(x, &scale).unwrap());
    same(&|x| ops::nhwc::channel_dot(x, x).unwrap());
    same(&|x| ops::nhwc::batch_norm_train(x, &scale, &shift, 1e-5).unwrap().0);
    same(&|x| ops::nhwc::batch_norm_train_jvp(x, x, &scale, &shift, 1e-5).unwrap().1);
    same(&|x| ops::nhwc::batch_norm_train_vjp(x, x, &scale, 1e-5).unwrap());
    same(&|x| ops::nhwc::conv2d_weight_gradient(x, x, &[5, 5, 3, 3], ConvSettings::new(1, 1)).unwrap());
    same(&|x| {
        ops::nhwc::conv2d_input_gradient(x, &draw(&[5, 4, 3, 3], 6), &[2, 7, 8, 4], ConvSettings::new(1, 1)).unwrap()
    });
    let rows = |x: &Tensor| x.narrow(1, 0, 1).unwrap().narrow(2, 0, 1).unwrap().squeeze(1).unwrap().squeeze(1).unwrap();
    let (head, labels) = (draw(&[6, 5], 7), Tensor::new(&[4u32, 0], &Device::Cpu).unwrap());
    same(&|x| ops::linear(&rows(x), &head, None).unwrap());
    same(&|x| ops::cross_entropy(&rows(x), &labels, 0.1).unwrap());
    let offset = wide.narrow(0, 2, 1).unwrap();
    assert_eq!(
        numbers(&ops::relu(&offset).unwrap()),
        numbers(&ops::relu(&offset.force_contiguous().unwrap()).unwrap())
    );
}

#[test]
fn wrong_shapes_and_dtypes_are_errors() {
    use ops::Error;
    let x = draw(&[2, 4, 4, 3], 1);
    let refuse = |weight: &[usize], settings| ops::nhwc::conv2d(&x, &draw(weight, 2), None, settings).unwrap_err();
    for error in [
        refuse(&[5, 2, 3, 3], ConvSettings::new(1, 1)),
        refuse(&[5, 3, 7, 7], ConvSettings::new(1, 1)),
        refuse(&[5, 3, 3], ConvSettings::new(1, 1)),
        refuse(&[5, 3, 3, 3], ConvSettings { groups: 2, ..ConvSettings::default() }),
        refuse(&[5, 3, 3, 3], ConvSettings::new(0, 1)),
        refuse(&[0, 3, 3, 3], ConvSettings::new(1, 1)),
        ops::nhwc::conv2d(&draw(&[0, 4, 4, 3], 1), &draw(&[5, 3, 3, 3], 2), None, ConvSettings::new(1, 1)).unwrap_err(),
        ops::nhwc::batch_norm_eval_affine(&draw(&[3], 1), &draw(&[2], 2), &draw(&[3], 3), &draw(&[3], 4), 1e-5)
            .unwrap_err(),
        ops::nhwc::batch_norm_train_vjp(&x, &draw(&[2, 4, 4, 2], 2), &draw(&[3], 3), 1e-5).unwrap_err(),
        refuse(&[5, 3, 0, 3], ConvSettings::new(1, 1)),
        refuse(&[5, 3, 3, 3], ConvSettings { groups: 0, ..ConvSettings::default() }),
        refuse(&[5, 3, 3, 3], ConvSettings { dilation: [1, 0], ..ConvSettings::default() }),
        ops::nhwc::conv2d_relu(&x, &draw(&[5, 3, 3, 3], 2), &draw(&[4], 3), ConvSettings::new(1, 1)).unwrap_err(),
        ops::nhwc::conv2d_input_gradient(&x, &draw(&[5, 3, 3, 3], 2), &[2, 4, 4, 3], ConvSettings::new(1, 1))
            .unwrap_err(),
        ops::nhwc::conv2d_weight_gradient(&x, &x, &[5, 3, 3, 3], ConvSettings::new(1, 1)).unwrap_err(),
        ops::nhwc::max_pool2d_vjp(&x, &x, PoolSettings::square(2)).unwrap_err(),
        ops::nhwc::max_pool2d_vjp(&x, &draw(&[4, 2, 2, 3], 2), PoolSettings::square(2)).unwrap_err(),
        ops::nhwc::max_pool2d_jvp(&x, &draw(&[2, 4, 4, 2], 2), PoolSettings::square(2)).unwrap_err(),
        ops::nhwc::avg_pool2d(&x, PoolSettings { stride: [0, 1], ..PoolSettings::square(2) }).unwrap_err(),
        ops::nhwc::global_avg_pool2d(&draw(&[2, 4], 2)).unwrap_err(),
        ops::nhwc::global_avg_pool2d_vjp(&x, [4, 4]).unwrap_err(),
        ops::nhwc::batch_norm_train(&x, &draw(&[2], 2), &draw(&[3], 3), 1e-5).unwrap_err(),
        ops::nhwc::channel_dot(&x, &draw(&[2, 4, 3], 2)).unwrap_err(),
        ops::nhwc::ChannelMoments::of(&draw(&[0, 3], 2)).unwrap_err(),
        ops::nhwc::max_pool2d(&x, PoolSettings::square(5)).unwrap_err(),
        ops::nhwc::max_pool2d(&x, PoolSettings { padding: [2, 2], ..PoolSettings::square(2) }).unwrap_err(),
        ops::hadamard(&x, &draw(&[2, 4], 2)).unwrap_err(),
        ops::nhwc::channel_scale(&x, &draw(&[4], 2)).unwrap_err(),
        ops::linear(&draw(&[2, 3], 1), &draw(&[4, 2], 2), None).unwrap_err(),
        ops::cross_entropy(&draw(&[2, 3], 1), &Tensor::new(&[0u32, 3], &Device::Cpu).unwrap(), 0.0).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let single = x.to_dtype(DType::F32).unwrap();
    let half = x.to_dtype(DType::F16).unwrap();
    for error in [
        ops::nhwc::conv2d(&single, &draw(&[5, 3, 3, 3], 2), None, ConvSettings::new(1, 1)).unwrap_err(),
        ops::relu(&half).unwrap_err(),
        ops::hadamard(&single, &x).unwrap_err(),
        ops::relu_mask(&single, &x).unwrap_err(),
        ops::nhwc::channel_scale(&single, &draw(&[3], 2)).unwrap_err(),
        ops::nhwc::batch_norm_train(&single, &draw(&[3], 2), &draw(&[3], 3), 1e-5).unwrap_err(),
        ops::nhwc::batch_norm_train_vjp(&x, &single, &draw(&[3], 2), 1e-5).unwrap_err(),
        ops::nhwc::max_pool2d(&half, PoolSettings::square(2)).unwrap_err(),
        ops::nhwc::avg_pool2d(&half, PoolSettings::square(2)).unwrap_err(),
        ops::nhwc::conv2d_weight_gradient(&single, &x, &[5, 3, 1, 1], ConvSettings::default()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::DType { .. }), "{error}");
    }
    assert!(matches!(
        ops::cross_entropy(&draw(&[1, 2], 1), &Tensor::new(&[0u32], &Device::Cpu).unwrap(), 1.0).unwrap_err(),
        Error::Setting { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Forward mode and reverse mode agree on a random convolution, pooling and batch norm: ⟨v, J u⟩ = ⟨Jᵀv, u⟩.
    #[test]
    fn forward_and_reverse_mode_agree(
        batch in 1usize..3, height in 3usize..9, width in 3usize..9, channels in 1usize..6, out in 1usize..8, seed in 0u64..99,
    ) {
        let x = Var::from_tensor(&draw(&[batch, height, width, channels], seed)).unwrap();
        let w = draw(&[out, channels, 3, 3], seed + 1);
        let (gamma, beta) = (draw(&[out], seed + 2), draw(&[out], seed + 3));
        let settings = ConvSettings::new(1, 1);
        let u = draw(x.dims(), seed + 4);
        let y = ops::nhwc::conv2d(&x, &w, None, settings).unwrap();
        let y = ops::nhwc::batch_norm_train(&y, &gamma, &beta, 1e-3).unwrap().0;
        let y = ops::nhwc::max_pool2d(&ops::relu(&y).unwrap(), PoolSettings::square(2)).unwrap();
        let v = draw(y.dims(), seed + 5);
        let vjp = (&y * &v).unwrap().sum_all().unwrap().backward().unwrap();
        let left = inner(vjp.get(&x).unwrap(), &u);
        let (y, dy) = (ops::nhwc::conv2d(&x, &w, None, settings).unwrap(), ops::nhwc::conv2d(&u, &w, None, settings).unwrap());
        let (y, dy) = ops::nhwc::batch_norm_train_jvp(&y, &dy, &gamma, &beta, 1e-3).unwrap();
        let (y, dy) = Activation::Relu.jvp(&y, &dy).unwrap();
        let (_, dy) = ops::nhwc::max_pool2d_jvp(&y, &dy, PoolSettings::square(2)).unwrap();
        let right = inner(&dy, &v);
        // Relative to the norms, as the inner product may cancel.
        let scale = inner(&dy, &dy).sqrt() * inner(&v, &v).sqrt();
        prop_assert!((left - right).abs() <= 1e-12 * scale.max(1e-3), "{} against {}", left, right);
    }

    /// The same in f32 with smooth operations, in which rounding changes no ReLU mask.
    #[test]
    fn forward_and_reverse_mode_agree_in_single_precision(
        batch in 2usize..4, height in 3usize..9, width in 3usize..9, channels in 1usize..6, out in 1usize..8, seed in 0u64..99,
    ) {
        let single = |shape: &[usize], address| draw(shape, address).to_dtype(DType::F32).unwrap();
        let x = Var::from_tensor(&single(&[batch, height, width, channels], seed)).unwrap();
        let w = single(&[out, channels, 3, 3], seed + 1);
        let (gamma, beta) = (single(&[out], seed + 2), single(&[out], seed + 3));
        let (settings, window) = (ConvSettings::new(1, 1), PoolSettings::square(2));
        let u = single(x.dims(), seed + 4);
        let y = ops::nhwc::conv2d(&x, &w, None, settings).unwrap();
        let y = ops::nhwc::batch_norm_train(&y, &gamma, &beta, 1e-3).unwrap().0;
        let y = ops::nhwc::avg_pool2d(&Activation::Gelu.forward(&y).unwrap(), window).unwrap();
        let v = single(y.dims(), seed + 5);
        let left = inner((&y * &v).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap(), &u);
        let (y, dy) = (ops::nhwc::conv2d(&x, &w, None, settings).unwrap(), ops::nhwc::conv2d(&u, &w, None, settings).unwrap());
        let (y, dy) = ops::nhwc::batch_norm_train_jvp(&y, &dy, &gamma, &beta, 1e-3).unwrap();
        let dy = ops::nhwc::avg_pool2d(&Activation::Gelu.jvp(&y, &dy).unwrap().1, window).unwrap();
        let (right, scale) = (inner(&dy, &v), inner(&dy, &dy).sqrt() * inner(&v, &v).sqrt());
        prop_assert!((left - right).abs() <= 1e-5 * scale.max(1e-2), "{} against {}", left, right);
    }
}
