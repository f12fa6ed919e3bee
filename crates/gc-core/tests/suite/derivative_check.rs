//! The comparison of derivatives with finite differences: right ones pass, wrong ones are refused.

use candle_core::{DType, Tensor};
use candle_nn::{VarBuilder, VarMap};
use gc_core::{
    DerivativeCheck, Derivatives, Error, Estimate, FeatureMap, GeometricComplexity, Parametric, Probe, Side,
    check_derivatives,
};

use crate::networks::{Attention, Cnn, Pooling, pool, variables};
use crate::support::{Activation, CPU, entries, normal, perceptron, random_weights};

fn inputs(shape: &[usize], dtype: DType) -> Tensor {
    let count = shape.iter().product();
    let values = streams::standard_normal(&mut streams::stream(3, "tests/derivative-check", 0), count);
    Tensor::from_vec(values, shape, &CPU).unwrap().to_dtype(dtype).unwrap()
}

fn cnn(dtype: DType, channels: usize, size: usize, pooling: Pooling) -> (VarMap, Cnn) {
    let build = |builder: &VarBuilder| Cnn::new(builder, channels, size, pooling).map(|_| ());
    let variables = variables(dtype, build, 4);
    let network = Cnn::new(&VarBuilder::from_varmap(&variables, dtype, &CPU), channels, size, pooling).unwrap();
    (variables, network)
}

fn attention(dtype: DType) -> (VarMap, Attention) {
    let variables = variables(dtype, |builder| Attention::new(builder).map(|_| ()), 5);
    let network = Attention::new(&VarBuilder::from_varmap(&variables, dtype, &CPU)).unwrap();
    (variables, network)
}

fn checked(estimate: Estimate) -> DerivativeCheck {
    match estimate.derivatives {
        Derivatives::Checked(check) => check,
        other => panic!("the derivatives were not checked: {other:?}"),
    }
}

/// Images with constant regions, as those of MNIST: a bright square on a black background.
fn with_constant_regions(count: usize, size: usize, dtype: DType) -> Tensor {
    let pixel = |at: usize| {
        let (row, column) = (at / size % size, at % size);
        let inside = (size / 4..size / 2).contains(&row) && (size / 4..3 * size / 4).contains(&column);
        if inside { 1.0 - 0.1 * (at / (size * size)) as f64 } else { 0.0 }
    };
    let pixels: Vec<f64> = (0..count * size * size).map(pixel).collect();
    Tensor::from_vec(pixels, (count, 1, size, size), &CPU).unwrap().to_dtype(dtype).unwrap()
}

/// ‖J‖² summed over samples, from central differences along every input coordinate in f64.
fn by_finite_differences(map: &dyn FeatureMap, x: &Tensor) -> f64 {
    let (samples, step) = (x.dims()[0], 1e-6);
    let coordinates = x.elem_count() / samples;
    let column = |coordinate: usize| {
        let mut direction = vec![0.0; x.elem_count()];
        direction.iter_mut().skip(coordinate).step_by(coordinates).for_each(|entry| *entry = step);
        let direction = Tensor::from_vec(direction, x.dims(), &CPU).unwrap();
        let (ahead, behind) = (map.features(&(x + &direction).unwrap()), map.features(&(x - &direction).unwrap()));
        let change = (ahead.unwrap() - behind.unwrap()).unwrap();
        entries(&change).iter().map(|entry| (entry / (2.0 * step)).powi(2)).sum::<f64>()
    };
    (0..coordinates).map(column).sum::<f64>()
}

#[test]
fn right_derivatives_of_either_mode_agree() {
    for activation in [Activation::Tanh, Activation::Relu] {
        for dtype in [DType::F64, DType::F32] {
            let map = perceptron(random_weights(&[5, 7, 3], 1, dtype), activation);
            let check = check_derivatives(&map, &inputs(&[4, 5], dtype), 1).unwrap();
            let tolerance = if dtype == DType::F64 { 1e-6 } else { 1e-2 };
            assert!(check.require(tolerance).is_ok(), "{activation:?} {dtype:?}: {check:?}");
            let (reverse, forward) = (check.reverse.unwrap(), check.forward.unwrap());
            assert_eq!((check.pairs, reverse.compared, reverse.disagreeing, forward.disagreeing), (16, 16, 0, 0));
        }
    }
}

#[test]
fn the_max_pooling_of_candle_loses_three_quarters_of_the_gradient() {
    let map = |x: &Tensor| pool(x, Pooling::CandleMax)?.flatten_from(1);
    let check = check_derivatives(&map, &inputs(&[2, 3, 4, 6], DType::F64), 0).unwrap();
    assert!((check.reverse.unwrap().median - 0.75).abs() < 1e-6, "{check:?}");
    assert!(matches!(check.require(1e-2), Err(Error::WrongDerivative { mode: "reverse", .. })));
}

#[test]
fn a_wrong_forward_mode_is_distinguished_from_a_right_reverse_mode() {
    let map = Parametric::new(vec![], |_, x| x.tanh()).with_jvp(|_, x, dx| Ok((x.tanh()?, dx.clone())));
    let x = inputs(&[3, 2], DType::F64);
    let check = check_derivatives(&map, &x, 0).unwrap();
    assert!(check.reverse.unwrap().median < 1e-6);
    assert!(matches!(check.require(1e-2), Err(Error::WrongDerivative { mode: "forward", .. })));
    // Measuring checks the mode that it uses.
    assert!(GeometricComplexity::exact().by(Side::Rows).measure_inputs(&map, &x).is_ok());
    let columns = GeometricComplexity::exact().by(Side::Columns).measure_inputs(&map, &x);
    assert!(matches!(columns, Err(Error::WrongDerivative { mode: "forward", .. })));
}

#[test]
fn constant_maps_and_unsuitable_inputs_are_refused() {
    // A ReLU whose units are all off.
    let dead = |x: &Tensor| x.gt(100.0)?.to_dtype(x.dtype())? * x;
    let constant = check_derivatives(&dead, &inputs(&[2, 3], DType::F64), 0);
    assert!(matches!(constant, Err(Error::NothingToCompare { samples: 2 })), "{constant:?}");
    let empty = Tensor::zeros((0, 3), DType::F64, &CPU).unwrap();
    assert!(matches!(check_derivatives(&dead, &empty, 0), Err(Error::EmptyData)));
    let infinite = Tensor::new(&[[1.0f64, f64::INFINITY]], &CPU).unwrap();
    assert!(matches!(check_derivatives(&dead, &infinite, 0), Err(Error::NonFinite { sample: 0, .. })));
    // A constant map has the complexity 0, and measuring it is no error.
    let estimate = GeometricComplexity::exact().measure_inputs(&dead, &inputs(&[2, 3], DType::F64)).unwrap();
    assert_eq!(estimate.value, 0.0);
    assert_eq!(checked(estimate).reverse.unwrap().compared, 0);
}

#[test]
fn a_network_with_the_max_pooling_of_candle_is_refused() {
    for (dtype, channels, size) in [(DType::F64, 1, 8), (DType::F32, 3, 16), (DType::F32, 1, 28)] {
        let (_variables, network) = cnn(dtype, channels, size, Pooling::CandleMax);
        let map = |x: &Tensor| network.features(x);
        let mut data = vec![inputs(&[6, channels, size, size], dtype), inputs(&[1, channels, size, size], dtype)];
        if channels == 1 {
            data.push(with_constant_regions(6, size, dtype));
        }
        for x in &data {
            for estimator in [GeometricComplexity::exact(), GeometricComplexity::projections(Probe::Rademacher, 1)] {
                let refused = estimator.measure_inputs(&map, x);
                let Err(Error::WrongDerivative { mode: "reverse", compared, disagreeing, median, .. }) = refused else {
                    panic!("{dtype:?} {size}: {refused:?}");
                };
                assert!(compared >= 4 && disagreeing == compared && median > 0.5, "{disagreeing}/{compared} {median}");
            }
        }
        let message = GeometricComplexity::exact().measure_inputs(&map, &data[0]).unwrap_err().to_string();
        assert!(message.contains("ops::nchw::max_pool2d") && message.contains("trust_derivatives"), "{message}");
        let trusted = GeometricComplexity::exact().trust_derivatives().measure_inputs(&map, &data[0]).unwrap();
        assert_eq!(trusted.derivatives, Derivatives::Trusted);
    }
}

#[test]
fn a_wrong_derivative_in_one_branch_is_refused() {
    for dtype in [DType::F64, DType::F32] {
        let map = |x: &Tensor| (pool(x, Pooling::Average)? + pool(x, Pooling::CandleMax)?)?.flatten_from(1)?.tanh();
        let refused = GeometricComplexity::exact().measure_inputs(&map, &inputs(&[5, 2, 6, 6], dtype));
        assert!(matches!(refused, Err(Error::WrongDerivative { .. })), "{dtype:?}: {refused:?}");
    }
}

#[test]
fn a_network_with_right_pooling_is_measured() {
    for pooling in [Pooling::Max, Pooling::Average] {
        let (_variables, network) = cnn(DType::F64, 1, 8, pooling);
        let map = |x: &Tensor| network.features(x);
        let x = inputs(&[5, 1, 8, 8], DType::F64);
        let estimate = GeometricComplexity::exact().measure_inputs(&map, &x).unwrap();
        let expected = by_finite_differences(&map, &x) / 5.0;
        assert!((estimate.value / expected - 1.0).abs() < 1e-7, "{pooling:?}: {} {expected}", estimate.value);
        let check = checked(estimate);
        // 4 samples and 4 directions: one pass, and 4 for each direction.
        assert_eq!((check.pairs, check.passes.forward, check.passes.backward), (16, 4 * 17, 16));
        assert_eq!(check.dtype, "f64");
    }
}

/// The check of a map on random inputs, and its agreement.
fn check_of(map: &dyn FeatureMap, x: &Tensor) -> DerivativeCheck {
    checked(GeometricComplexity::projections(Probe::Rademacher, 1).measure_inputs(map, x).unwrap())
}

#[test]
fn right_networks_are_accepted_with_a_wide_margin() {
    for (dtype, bound) in [(DType::F64, 1e-6), (DType::F32, 0.05)] {
        let mut checks = Vec::new();
        for pooling in [Pooling::Max, Pooling::Average] {
            for (channels, size) in [(1, 8), (3, 32), (1, 28)] {
                let (_variables, network) = cnn(dtype, channels, size, pooling);
                let map = |x: &Tensor| network.features(x);
                checks
                    .push((format!("{pooling:?} {size}"), check_of(&map, &inputs(&[4, channels, size, size], dtype))));
                if channels == 1 {
                    let constant = check_of(&map, &with_constant_regions(4, size, dtype));
                    checks.push((format!("{pooling:?} {size} with constant regions"), constant));
                }
            }
        }
        let (_variables, network) = attention(dtype);
        let map = |x: &Tensor| network.features(x);
        checks.push(("attention".into(), check_of(&map, &inputs(&[4, 6, 8], dtype))));
        for widths in [[30, 100, 10].as_slice(), &[100, 400, 400, 400, 400, 10]] {
            let weights: Vec<Tensor> = random_weights(widths, 6, dtype);
            let map = perceptron(weights, Activation::Relu);
            checks.push((format!("ReLU {widths:?}"), check_of(&map, &inputs(&[4, widths[0]], dtype))));
        }
        for (name, check) in &checks {
            let reverse = check.reverse.unwrap();
            println!("{dtype:?} {name}: {reverse:?} step {:.1e} in {}", check.step, check.dtype);
            assert!(2 * reverse.compared >= check.pairs, "{name}: {check:?}");
            assert!(reverse.median < bound && 4 * reverse.disagreeing <= reverse.compared, "{name}: {check:?}");
        }
    }
}

/// Eight convolutions with ReLU on 32×32 images in f32, with a pooling after the second and the fourth.
fn deep(pooling: Pooling) -> impl Fn(&Tensor) -> candle_core::Result<Tensor> {
    let kernels: Vec<Tensor> = (0..8)
        .map(|layer| {
            let inputs = if layer == 0 { 3 } else { 16 };
            let drawn = normal(&[16, inputs, 3, 3], 7, layer);
            (drawn * (2.0 / (9 * inputs) as f64).sqrt()).unwrap().to_dtype(DType::F32).unwrap()
        })
        .collect();
    move |x: &Tensor| {
        let mut x = x.clone();
        for (layer, kernel) in kernels.iter().enumerate() {
            x = candle_nn::Module::forward(&candle_nn::Activation::Relu, &x.conv2d(kernel, 1, 1, 1, 1)?)?;
            x = if layer == 1 || layer == 3 { pool(&x, pooling)? } else { x };
        }
        x.mean((2, 3))
    }
}

#[test]
fn deep_networks_in_f32_are_decided() {
    let x = inputs(&[4, 3, 32, 32], DType::F32);
    for seed in 0..3 {
        let estimator = GeometricComplexity::projections(Probe::Rademacher, 1).seed(seed);
        let reverse = checked(estimator.measure_inputs(&deep(Pooling::Max), &x).unwrap()).reverse.unwrap();
        assert!(reverse.compared >= 8 && 4 * reverse.disagreeing <= reverse.compared, "{reverse:?}");
        let refused = estimator.measure_inputs(&deep(Pooling::CandleMax), &x);
        assert!(
            matches!(refused, Err(Error::WrongDerivative { compared, disagreeing, .. }) if compared >= 8 && disagreeing == compared),
            "{refused:?}"
        );
    }
}

#[test]
fn a_map_with_f32_weights_is_checked_in_f32() {
    let (_variables, network) = cnn(DType::F32, 1, 8, Pooling::Max);
    let check = check_of(&|x: &Tensor| network.features(x), &inputs(&[4, 1, 8, 8], DType::F32));
    assert_eq!(check.dtype, "f32");
    // Without weights the same inputs are checked in f64.
    let check =
        check_of(&|x: &Tensor| pool(x, Pooling::Max)?.flatten_from(1)?.tanh(), &inputs(&[4, 1, 8, 8], DType::F32));
    assert_eq!(check.dtype, "f64");
}

#[test]
fn maps_that_are_not_defined_around_their_inputs_are_checked_at_them() {
    // The noise of the check leaves the domain of a root of positive numbers.
    let x = inputs(&[4, 40], DType::F64).abs().unwrap().affine(1.0, 0.05).unwrap();
    let check = check_of(&|x: &Tensor| x.sqrt(), &x);
    assert!(check.reverse.unwrap().median < 1e-6 && check.reverse.unwrap().compared == 16, "{check:?}");
}

#[test]
fn a_map_with_its_own_rules_is_not_checked() {
    struct Tested;
    impl FeatureMap for Tested {
        fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
            Ok(x.tanh()?)
        }
        fn has_own_derivatives(&self) -> bool {
            true
        }
    }
    let estimate = GeometricComplexity::exact().measure_inputs(&Tested, &inputs(&[2, 3], DType::F64)).unwrap();
    assert_eq!(estimate.derivatives, Derivatives::OwnRules);
}
