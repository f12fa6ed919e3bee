//! Derivatives against finite differences: right ones pass, and candle's own pooling does not.

use candle_core::{DType, Tensor};
use gc_core::{Error, Parametric, check_derivatives};

use crate::support::{Activation, CPU, perceptron};

fn inputs(shape: &[usize], dtype: DType) -> Tensor {
    let count = shape.iter().product();
    let values = streams::standard_normal(&mut streams::stream(3, "tests/derivative-check", 0), count);
    Tensor::from_vec(values, shape, &CPU).unwrap().to_dtype(dtype).unwrap()
}

fn weights(dtype: DType) -> Vec<Tensor> {
    let layer = |index: usize, outputs: usize, inputs: usize| {
        let values = streams::standard_normal(&mut streams::stream(index as u64, "tests/weights", 0), outputs * inputs);
        let weight = Tensor::from_vec(values, (outputs, inputs), &CPU).unwrap();
        [weight.to_dtype(dtype).unwrap(), Tensor::zeros(outputs, dtype, &CPU).unwrap()]
    };
    [layer(0, 7, 5), layer(1, 3, 7)].concat()
}

#[test]
fn right_derivatives_of_either_mode_agree() {
    for activation in [Activation::Tanh, Activation::Relu] {
        for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F32, 1e-2)] {
            let check = check_derivatives(&perceptron(weights(dtype), activation), &inputs(&[4, 5], dtype), 1).unwrap();
            assert!(check.require(tolerance).is_ok(), "{activation:?} {dtype:?}: {check:?}");
            assert!(check.forward.is_some());
            assert_eq!(check.compared, 16);
        }
    }
}

#[test]
fn candles_own_max_pooling_loses_three_quarters() {
    #[allow(clippy::disallowed_methods, reason = "what is shown is that its derivative is wrong")]
    let map = |x: &Tensor| x.max_pool2d(2)?.flatten_from(1);
    let check = check_derivatives(&map, &inputs(&[2, 3, 4, 6], DType::F64), 0).unwrap();
    assert!((check.reverse - 0.75).abs() < 1e-6, "{check:?}");
    assert!(matches!(check.require(1e-2), Err(Error::WrongDerivative { mode: "reverse", .. })));
}

#[test]
fn a_wrong_forward_mode_is_told_from_a_right_reverse_mode() {
    let map = Parametric::new(vec![], |_, x| x.tanh()).with_jvp(|_, x, dx| Ok((x.tanh()?, dx.clone())));
    let check = check_derivatives(&map, &inputs(&[3, 2], DType::F64), 0).unwrap();
    assert!(check.reverse < 1e-6);
    assert!(matches!(check.require(1e-2), Err(Error::WrongDerivative { mode: "forward", .. })));
}

#[test]
fn flat_empty_and_non_finite_are_refused() {
    // A ReLU none of whose units is on.
    let dead = |x: &Tensor| x.gt(100.0)?.to_dtype(x.dtype())? * x;
    let flat = check_derivatives(&dead, &inputs(&[2, 3], DType::F64), 0);
    assert!(matches!(flat, Err(Error::Flat { samples: 2 })), "{flat:?}");
    let empty = Tensor::zeros((0, 3), DType::F64, &CPU).unwrap();
    assert!(matches!(check_derivatives(&dead, &empty, 0), Err(Error::EmptyData)));
    let infinite = Tensor::new(&[[1.0f64, f64::INFINITY]], &CPU).unwrap();
    assert!(matches!(check_derivatives(&dead, &infinite, 0), Err(Error::NonFinite { sample: 0, .. })));
}
