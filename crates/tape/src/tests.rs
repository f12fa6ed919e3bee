//! Recorded functions against candle's own backward pass.

use candle_core::{Device, Result, Tensor, Var};

use crate::{is_recording, is_view, node, record};

/// x·y with its rule while it is recorded, candle's product otherwise.
fn product(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if !is_recording() {
        return x * y;
    }
    let value = Var::from_tensor(&(x.detach() * y.detach())?)?;
    node(value, &[x, y], |arguments, _, g| Ok(vec![Some((g * &arguments[1])?), Some((g * &arguments[0])?)]))
}

/// Branches that meet again, a result that is used twice, candle's operations between, a constant, and a weight.
fn function(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let a = product(x, weight)?;
    let b = product(&a.sin()?, &a)?;
    let c = (product(&b, x)? + a.sqr()?)?;
    let unused = product(&c, &c)?;
    drop(unused);
    product(&c.reshape((3, 2))?, &weight.reshape((3, 2))?)? + b.reshape((3, 2))?
}

fn input() -> Var {
    Var::new(&[[0.3f64, -1.2, 2.0], [0.7, 0.1, -0.4]], &Device::Cpu).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

#[test]
fn the_vjp_is_that_of_candle() {
    let x = input();
    let g = Tensor::new(&[[1f64, 2.], [-3., 0.5], [0.25, 7.]], &Device::Cpu).unwrap();
    for weight in [
        Tensor::new(&[[2f64, 3., -1.], [0.5, 1., 4.]], &Device::Cpu).unwrap(),
        Var::new(&[[2f64, 3., -1.], [0.5, 1., 4.]], &Device::Cpu).unwrap().as_tensor().clone(),
        // A weight that candle's operations compute from a variable.
        Var::new(&[[4f64, 9., 1.], [0.25, 1., 16.]], &Device::Cpu).unwrap().sqrt().unwrap(),
    ] {
        let (y, tape) = record(&x, || function(&x, &weight)).unwrap();
        assert!(!is_recording());
        let plain = function(&x, &weight).unwrap();
        assert!(difference(&y, &plain) < 1e-14);
        let expected = (plain * &g).unwrap().sum_all().unwrap().backward().unwrap();
        let expected = expected.get(&x).unwrap();
        for _ in 0..2 {
            assert!(difference(&tape.vjp(&g).unwrap().unwrap(), expected) < 1e-13);
        }
        assert!(tape.is_recorded(&x) && !tape.is_recorded(&weight));
        // The input, four results that the output or another result uses, and candle's tensors between them.
        let tensors = tape.tensors();
        assert_eq!(tensors.iter().filter(|tensor| tape.is_recorded(tensor)).count(), 5, "{tensors:?}");
    }
}

#[test]
fn views_between_recorded_operations_pass_gradients_on() {
    let (x, factor) = (input(), Tensor::new(&[[2f64, 3.], [0.5, 1.], [4., -2.]], &Device::Cpu).unwrap());
    let g = Tensor::new(&[[1f64, 2.], [-3., 0.5], [0.25, 7.]], &Device::Cpu).unwrap();
    let views: [fn(&Tensor) -> Result<Tensor>; 4] = [
        |y| y.reshape((3, 2)),
        |y| y.flatten_all()?.unsqueeze(0)?.reshape((3, 2)),
        |y| y.t(),
        |y| y.narrow(0, 1, 1)?.broadcast_as((2, 3))?.t(),
    ];
    for (index, view) in views.into_iter().enumerate() {
        let function = || {
            let y = product(&x, &x)?;
            let seen = view(&y)?;
            assert_eq!(is_view(&seen, &y), index < 2);
            product(&seen, &factor)
        };
        let (_, tape) = record(&x, function).unwrap();
        let expected = (function().unwrap() * &g).unwrap().sum_all().unwrap().backward().unwrap();
        let found = tape.vjp(&g).unwrap().unwrap();
        assert!(difference(&found, expected.get(&x).unwrap()) < 1e-14, "view {index}");
        assert_eq!(found.dims(), x.dims());
    }
}

#[test]
fn a_constant_has_no_vjp() {
    let (x, weight) = (input(), input());
    let (y, tape) = record(&x, || product(&weight, &weight)).unwrap();
    assert_eq!(y.dims(), [2, 3]);
    assert!(tape.vjp(&y).unwrap().is_none());
    assert!(tape.tensors().is_empty());
}

#[test]
fn the_input_itself_has_the_identity_as_jacobian() {
    let x = input();
    let (_, tape) = record(&x, || Ok::<_, candle_core::Error>(x.as_tensor().clone())).unwrap();
    let g = Tensor::ones_like(&x).unwrap();
    assert_eq!(difference(&tape.vjp(&g).unwrap().unwrap(), &g), 0.0);
}

#[test]
fn recordings_nest_and_end_with_an_error() {
    let (x, z) = (input(), input());
    let outer = || {
        let (_, inner) = record(&z, || product(&z, &x))?;
        assert!(inner.vjp(&input())?.is_some());
        assert!(is_recording(), "the outer recording goes on");
        product(&x, &x)
    };
    let (_, tape) = record(&x, outer).unwrap();
    assert!(tape.vjp(&input()).unwrap().is_some());
    let failed = record(&x, || product(&x, &Tensor::ones(7, candle_core::DType::F64, &Device::Cpu)?));
    assert!(failed.is_err() && !is_recording());
    // Outside a recording a node is a constant.
    let constant = node(input(), &[&x], |_, _, g| Ok(vec![Some(g.clone())])).unwrap();
    assert!(!constant.track_op());
}
