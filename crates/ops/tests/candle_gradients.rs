//! The table of candle's gradients in the README: every row compared with central differences in f64.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
#![allow(clippy::disallowed_methods, reason = "the subject of this test is candle's own operations")]

mod support;

use candle_core::{Device, Result, Tensor, Var};
use ops::{Activation, nchw};
use support::numbers;

/// Step of the central differences of smooth functions of order 1; their error is about 1e-10.
const STEP: f64 = 1e-5;
/// A larger relative error is an error of the gradient, not of the central differences.
const TOLERANCE: f64 = 1e-8;

/// A row of the table.
struct Row {
    /// The first column without backticks.
    operation: &'static str,
    /// The first word of the second column.
    verdict: &'static str,
    x: Tensor,
    /// The direction of the derivative.
    direction: Tensor,
    /// The derivative where central differences do not apply.
    convention: Option<f64>,
    candle: fn(&Tensor) -> Result<Tensor>,
    instead: Option<fn(&Tensor) -> ops::Result<Tensor>>,
}

fn draw(shape: &[usize], address: u64) -> Tensor {
    let mut stream = streams::stream(5, "tests/candle-gradients", address);
    Tensor::from_vec(streams::standard_normal(&mut stream, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

/// A smooth row at random numbers and along a random direction.
fn row(
    operation: &'static str,
    verdict: &'static str,
    shape: &[usize],
    candle: fn(&Tensor) -> Result<Tensor>,
    instead: Option<fn(&Tensor) -> ops::Result<Tensor>>,
) -> Row {
    let (x, direction) = (draw(shape, 1), draw(shape, 2));
    Row { operation, verdict, x, direction, convention: None, candle, instead }
}

/// A row at ones along ones: equal maxima are differentiable in this direction, and errors of elements do not cancel.
fn at_ones(row: Row) -> Row {
    let ones = row.x.ones_like().unwrap();
    Row { x: ones.clone(), direction: ones, ..row }
}

/// A row at zero, with the derivative of PyTorch and JAX.
fn at_zero(row: Row) -> Row {
    let ones = row.x.ones_like().unwrap();
    Row { x: ones.zeros_like().unwrap(), direction: ones, convention: Some(0.0), ..row }
}

fn kernel() -> Tensor {
    draw(&[4, 3, 3, 3], 9)
}

fn twice(x: &Tensor) -> Result<Tensor> {
    let upsampled = x.upsample_nearest2d(6, 6)?;
    // The squared input is differentiated first, so its gradient is there when the upsampling replaces it.
    upsampled.sqr()?.sum_all()?.broadcast_add(&x.sqr()?.sum_all()?)
}

fn twice_instead(x: &Tensor) -> ops::Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let upsampled = x.reshape((n, c, h, 1, w, 1))?.broadcast_as((n, c, h, 2, w, 2))?.reshape((n, c, 2 * h, 2 * w))?;
    Ok(upsampled.sqr()?.sum_all()?.broadcast_add(&x.sqr()?.sum_all()?)?)
}

fn rows() -> Vec<Row> {
    let image: &[usize] = &[2, 3, 6, 6];
    let odd: &[usize] = &[2, 3, 7, 5];
    vec![
        row(
            "conv2d",
            "right",
            image,
            |x| x.conv2d(&kernel(), 1, 1, 1, 1),
            Some(|x| nchw::conv2d(x, &kernel(), 1, 1, 1, 1)),
        ),
        row(
            "conv2d, different remainders of height and width by the stride",
            "error",
            &[2, 3, 7, 6],
            |x| x.conv2d(&kernel(), 1, 2, 1, 1),
            Some(|x| nchw::conv2d(x, &kernel(), 1, 2, 1, 1)),
        ),
        row("max_pool2d", "wrong", image, |x| x.max_pool2d(2), Some(|x| nchw::max_pool2d(x, 2))),
        at_ones(row("max_pool2d, equal maxima", "wrong", image, |x| x.max_pool2d(3), Some(|x| nchw::max_pool2d(x, 3)))),
        row(
            "max_pool2d_with_stride, overlapping windows",
            "error",
            odd,
            |x| x.max_pool2d_with_stride(3, 2),
            Some(|x| nchw::max_pool2d_with_stride(x, 3, 2)),
        ),
        row("avg_pool2d", "right", image, |x| x.avg_pool2d(2), Some(|x| nchw::avg_pool2d(x, 2))),
        row(
            "avg_pool2d, size not a multiple of the window",
            "wrong",
            odd,
            |x| x.avg_pool2d(2),
            Some(|x| nchw::avg_pool2d(x, 2)),
        ),
        row(
            "avg_pool2d_with_stride, overlapping windows",
            "error",
            odd,
            |x| x.avg_pool2d_with_stride(3, 2),
            Some(|x| nchw::avg_pool2d_with_stride(x, 3, 2)),
        ),
        row("mean over pixels", "right", odd, |x| x.mean((2, 3)), Some(nchw::global_avg_pool2d)),
        row("relu", "right", image, Tensor::relu, Some(nchw::relu)),
        at_zero(row("relu at 0", "wrong", image, Tensor::relu, Some(nchw::relu))),
        at_zero(row("abs at 0", "wrong", image, Tensor::abs, None)),
        at_ones(row("gelu_erf", "wrong", image, Tensor::gelu_erf, Some(|x| Activation::Gelu.forward(x)))),
        at_ones(row("gelu", "wrong", image, Tensor::gelu, Some(|x| Activation::GeluTanh.forward(x)))),
        row("silu", "right", image, Tensor::silu, Some(|x| Activation::Silu.forward(x))),
        row("tanh", "right", image, Tensor::tanh, Some(|x| Activation::Tanh.forward(x))),
        row("elu", "right", image, |x| x.elu(1.3), None),
        row("max over a dimension", "right", image, |x| x.max(1), None),
        at_ones(row("max over a dimension, equal maxima", "wrong", image, |x| x.max(1), None)),
        row("upsample_nearest2d", "right", &[2, 3, 3, 3], |x| x.upsample_nearest2d(6, 6), None),
        row("upsample_nearest2d of a tensor used before", "wrong", &[2, 3, 3, 3], twice, Some(twice_instead)),
    ]
}

/// ⟨f(x), g⟩ with a random g, which is 1 for a scalar.
fn scalar(y: &Tensor) -> Result<Tensor> {
    if y.rank() == 0 { Ok(y.clone()) } else { (y * draw(y.dims(), 3))?.sum_all() }
}

/// The relative error of the directional derivative by `backward`, or its error.
fn error(row: &Row, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<f64> {
    let x = Var::from_tensor(&row.x)?;
    let gradients = scalar(&f(x.as_tensor())?)?.backward()?;
    let gradient = gradients.get(&x).unwrap();
    let found: f64 = numbers(gradient).iter().zip(numbers(&row.direction)).map(|(g, d)| g * d).sum();
    let expected = match row.convention {
        Some(derivative) => derivative,
        None => {
            let at = |step: f64| -> Result<f64> { scalar(&f(&(&row.x + (&row.direction * step)?)?)?)?.to_scalar() };
            (at(STEP)? - at(-STEP)?) / (2.0 * STEP)
        }
    };
    Ok((found - expected).abs() / expected.abs().max(1.0))
}

#[test]
fn every_row_of_the_table_is_true() {
    for row in rows() {
        let found = error(&row, &row.candle);
        match (row.verdict, &found) {
            ("right", Ok(error)) if *error < TOLERANCE => {}
            ("wrong", Ok(error)) if *error > TOLERANCE => {}
            ("error", Err(_)) => {}
            _ => panic!("{}: {found:?}, not {}", row.operation, row.verdict),
        }
        let Some(instead) = row.instead else { continue };
        let error = error(&row, &|x| instead(x).map_err(ops::Error::into_candle)).unwrap();
        assert!(error < TOLERANCE, "instead of {}: {error:e}", row.operation);
    }
}

#[test]
fn the_table_of_the_readme_has_these_rows() {
    let section = include_str!("../README.md").split("| operation in candle |").nth(1).unwrap();
    let table = section.lines().skip(2).take_while(|line| line.starts_with('|'));
    let found: Vec<(String, String)> = table
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let verdict = cells[1].split([':', ' ']).next().unwrap();
            (cells[0].replace('`', ""), verdict.to_owned())
        })
        .collect();
    let expected: Vec<(String, String)> =
        rows().iter().map(|row| (row.operation.to_owned(), row.verdict.to_owned())).collect();
    assert_eq!(found, expected);
}
