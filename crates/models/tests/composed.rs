//! Operations composed of candle's own against the kernels, on the CPU: this checks what devices without kernels run, without
//! such a device.
//!
//! The tests of single operations in `ops` compare both implementations too. Here are random geometries, values that are not
//! finite, and whole networks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use candle_core::{DType, Device, Tensor, Var};
use gc_core::{FeatureMap, InputUnits};
use models::ops::{self, ConvSettings, PoolSettings, composed};
use models::{Accuracy, Pass};
use proptest::prelude::*;
use support::{Golden, assert_close, numbers, relative_distance};

fn draw(shape: &[usize], address: u64) -> Tensor {
    let values = streams::standard_normal(&mut streams::stream(7, "tests/composed", address), shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A window that fits its image: kernel, stride, padding and dilation of one axis, and the size of the image.
fn axis() -> impl Strategy<Value = ([usize; 4], usize)> {
    (1usize..5, 1usize..5, 0usize..4, 1usize..4).prop_flat_map(|(kernel, stride, padding, dilation)| {
        let least = ((kernel - 1) * dilation + 1).saturating_sub(2 * padding).max(1);
        (Just([kernel, stride, padding, dilation]), least..least + 8)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The three operations of any convolution, and ⟨F(x,w), g⟩ = ⟨x, D(g,w)⟩ = ⟨w, W(x,g)⟩ in both implementations.
    #[test]
    fn convolutions(
        (vertical, height) in axis(), (horizontal, width) in axis(),
        batch in 1usize..4, groups in 1usize..4, inputs in 1usize..4, outputs in 1usize..4, seed in 0u64..1000,
    ) {
        let pair = |index: usize| [vertical[index], horizontal[index]];
        let settings = ConvSettings {
            stride: pair(1), padding: pair(2), dilation: pair(3), groups, accuracy: Accuracy::Fast,
        };
        let x = draw(&[batch, height, width, inputs * groups], seed);
        let w = draw(&[outputs * groups, inputs, vertical[0], horizontal[0]], seed + 1);
        let run = || {
            let y = ops::nhwc::conv2d(&x, &w, None, settings).unwrap();
            let g = draw(y.dims(), seed + 2);
            let dx = ops::nhwc::conv2d_input_gradient(&g, &w, x.dims(), settings).unwrap();
            let dw = ops::nhwc::conv2d_weight_gradient(&x, &g, w.dims(), settings).unwrap();
            let inner = |a: &Tensor, b: &Tensor| -> f64 { numbers(&(a * b).unwrap()).iter().sum() };
            let values = [inner(&y, &g), inner(&x, &dx), inner(&w, &dw)];
            (y, dx, dw, values)
        };
        let (kernel, composition) = (run(), composed(run));
        prop_assert!(relative_distance(&composition.0, &kernel.0) < 1e-12);
        prop_assert!(relative_distance(&composition.1, &kernel.1) < 1e-12);
        prop_assert!(relative_distance(&composition.2, &kernel.2) < 1e-12);
        for [value, by_input, by_weight] in [kernel.3, composition.3] {
            let scale = value.abs().max(1.0);
            prop_assert!((by_input - value).abs() <= 1e-12 * scale, "{} against {}", by_input, value);
            prop_assert!((by_weight - value).abs() <= 1e-12 * scale, "{} against {}", by_weight, value);
        }
    }

    /// Any pooling of values with ties, infinities and NaN: both give the same values, and the gradient to the same pixels.
    #[test]
    fn poolings(
        (vertical, height) in axis(), (horizontal, width) in axis(),
        batch in 1usize..3, channels in 1usize..4, seed in 0u64..1000,
    ) {
        let settings = PoolSettings {
            kernel: [vertical[0], horizontal[0]],
            stride: [vertical[1], horizontal[1]],
            padding: [vertical[2].min(vertical[0] / 2), horizontal[2].min(horizontal[0] / 2)],
            ceil_mode: seed % 2 == 1,
            count_include_pad: seed % 3 == 1,
        };
        prop_assume!(height + 2 * settings.padding[0] >= settings.kernel[0]);
        prop_assume!(width + 2 * settings.padding[1] >= settings.kernel[1]);
        let rounded: Vec<f64> = numbers(&draw(&[batch, height, width, channels], seed))
            .into_iter()
            .map(|value| match (value * 4.0).round() as i64 {
                7 => f64::NAN,
                -7 => f64::NEG_INFINITY,
                whole => whole as f64 / 4.0,
            })
            .collect();
        let x = Var::from_vec(rounded, (batch, height, width, channels), &Device::Cpu).unwrap();
        let maximum = || {
            let y = ops::nhwc::max_pool2d(&x, settings).unwrap();
            let g = draw(y.dims(), seed + 1);
            (numbers(&y), ops::nhwc::max_pool2d_vjp(&x.detach(), &g, settings).unwrap())
        };
        let (kernel, composition) = (maximum(), composed(maximum));
        for (kernel, composition) in kernel.0.iter().zip(&composition.0) {
            prop_assert!(kernel == composition || (kernel.is_nan() && composition.is_nan()));
        }
        prop_assert!(relative_distance(&composition.1, &kernel.1) < 1e-14);

        let finite = draw(x.dims(), seed + 2);
        let mean = || {
            let x = Var::from_tensor(&finite).unwrap();
            let y = ops::nhwc::avg_pool2d(&x, settings).unwrap();
            let gradients = (&y * draw(y.dims(), seed + 3)).unwrap().sum_all().unwrap().backward().unwrap();
            (y.detach(), gradients.get(&x).unwrap().clone())
        };
        let (kernel, composition) = (mean(), composed(mean));
        prop_assert!(relative_distance(&composition.0, &kernel.0) < 1e-14);
        prop_assert!(relative_distance(&composition.1, &kernel.1) < 1e-14);
    }
}

#[test]
fn relu_keeps_nan_and_infinities() {
    let x = Tensor::new(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0], &Device::Cpu).unwrap();
    let y = numbers(&composed(|| ops::relu(&x)).unwrap());
    assert!(y[0].is_nan());
    assert_eq!(y[1..], [f64::INFINITY, 0.0, 0.0]);
}

#[test]
fn losses_of_logits_far_apart_stay_finite() {
    let logits = Tensor::new(&[[1e4f32, -1e4], [0., 0.]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1u32, 0], &Device::Cpu).unwrap();
    let loss = composed(|| ops::cross_entropy(&logits, &labels, 0.0)).unwrap().to_scalar::<f32>().unwrap();
    assert!((loss - (2e4 + std::f32::consts::LN_2) / 2.0).abs() < 1e-2, "{loss}");
}

#[test]
fn single_precision_is_as_good_as_the_kernels() {
    let single = |shape: &[usize], address| draw(shape, address).to_dtype(DType::F32).unwrap();
    let x = single(&[2, 9, 7, 6], 1);
    let (gamma, beta) = (single(&[6], 2), single(&[6], 3));
    let settings = ConvSettings { accuracy: Accuracy::Accurate, ..ConvSettings::new(1, 1) };
    let run = || {
        let y = ops::nhwc::conv2d(&x, &single(&[6, 6, 3, 3], 4), Some(&beta), settings).unwrap();
        ops::Activation::Gelu.forward(&ops::nhwc::batch_norm_train(&y, &gamma, &beta, 1e-5).unwrap().0).unwrap()
    };
    assert_close("convolution, batch norm, GELU", &composed(run), &run(), 1e-6);
}

/// The composed operations give PyTorch's values for the golden networks, and the kernels' gradients by every parameter.
#[test]
fn whole_networks() {
    for golden in Golden::all() {
        let (view, x) = (golden.network.tracked(), golden.value("x"));
        let features = composed(|| view.features(x, &Pass::evaluation())).unwrap();
        assert_close(&golden.name, &features, golden.value("embedding"), golden.tolerance);

        let map = golden.network.frozen().feature_map(Pass::evaluation(), None).unwrap();
        let (_, tangent) = composed(|| map.jvp(x, golden.value("jvp.tangent"))).unwrap();
        assert_close(&golden.name, &tangent, golden.value("jvp.out"), golden.tolerance);

        for pass in [Pass::evaluation(), Pass::training(1, 0).without_update()] {
            let gradients = || {
                let loss = ops::cross_entropy(&view.logits(x, &pass).unwrap(), &golden.labels(), 0.1).unwrap();
                let gradients = loss.backward().unwrap();
                golden
                    .network
                    .params()
                    .trainable()
                    .map(|(name, var)| (name.to_owned(), gradients.get(var).cloned()))
                    .collect::<Vec<_>>()
            };
            for ((name, kernel), (_, composition)) in gradients().into_iter().zip(composed(gradients)) {
                let (Some(kernel), Some(composition)) = (kernel, composition) else {
                    panic!("{}: no gradient of {name}", golden.name);
                };
                // A gradient that is zero in exact arithmetic, such as that of a bias before batch norm, is rounding only.
                let size = numbers(&kernel).iter().map(|value| value * value).sum::<f64>().sqrt();
                let error = relative_distance(&composition, &kernel) * size;
                assert!(
                    error <= 10.0 * golden.tolerance * size.max(1e-2),
                    "{} {name}: {error:e} of {size:e}",
                    golden.name
                );
            }
        }
    }
}

/// ‖Jᵀv‖² and the gradient of its tangent–cotangent term, through batch norm in both modes.
#[test]
fn the_complexity_penalty() {
    let golden = Golden::open("resnet_tiny", DType::F64);
    let x = golden.value("x");
    for pass in [Pass::evaluation(), Pass::training(1, 0).without_update()] {
        let run = || {
            let map = golden.network.tracked().feature_map(pass, None).unwrap();
            let draw = |features: &Tensor| Ok(vec![draw(features.dims(), 9)]);
            let pullbacks = map.squared_pullbacks(x, &draw, &InputUnits::default()).unwrap();
            let gradients = pullbacks.tangent_cotangent_term.backward().unwrap();
            let all = golden.network.params().trainable().filter_map(|(_, var)| gradients.get(var).cloned());
            (pullbacks.squared_norms, all.collect::<Vec<_>>())
        };
        let (kernel, composition) = (run(), composed(run));
        for (kernel, composition) in kernel.0.iter().flatten().zip(composition.0.iter().flatten()) {
            assert!((kernel - composition).abs() <= 1e-11 * kernel, "{composition} against {kernel}");
        }
        assert!(!kernel.1.is_empty());
        for (kernel, composition) in kernel.1.iter().zip(&composition.1) {
            let size = numbers(kernel).iter().map(|value| value * value).sum::<f64>().sqrt();
            assert!(relative_distance(composition, kernel) * size <= 1e-9 * size.max(1e-3));
        }
    }
}
