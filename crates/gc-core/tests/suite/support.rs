//! Small networks written with plain matrix products, with a forward mode by hand.

use candle_core::{DType, Device, Result, Tensor, Var};
use gc_core::{ForwardMode, Parametric};

pub(crate) const CPU: Device = Device::Cpu;

/// An activation with the derivative that PyTorch gives it (0 for ReLU at 0).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Activation {
    Tanh,
    Relu,
}

impl Activation {
    /// The value and the derivative.
    fn apply(self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        match self {
            Self::Tanh => {
                let y = x.tanh()?;
                let slope = y.sqr()?.affine(-1.0, 1.0)?;
                Ok((y, slope))
            }
            Self::Relu => {
                let slope = x.gt(0.0)?.to_dtype(x.dtype())?;
                Ok(((x * &slope)?, slope))
            }
        }
    }
}

fn affine(weights: &[Tensor], layer: usize, x: &Tensor) -> Result<Tensor> {
    x.matmul(&weights[2 * layer].t()?)?.broadcast_add(&weights[2 * layer + 1])
}

/// A perceptron with an activation between its layers; weights are W_0, b_0, W_1, b_1, …
pub(crate) fn perceptron(
    weights: Vec<Tensor>,
    activation: Activation,
) -> Parametric<impl Fn(&[Tensor], &Tensor) -> Result<Tensor>, impl ForwardMode> {
    let layers = weights.len() / 2;
    let features = move |weights: &[Tensor], x: &Tensor| {
        let mut x = affine(weights, 0, x)?;
        for layer in 1..layers {
            x = affine(weights, layer, &activation.apply(&x)?.0)?;
        }
        Ok(x)
    };
    let jvp = move |weights: &[Tensor], x: &Tensor, dx: &Tensor| {
        let mut x = affine(weights, 0, x)?;
        let mut dx = dx.matmul(&weights[0].t()?)?;
        for layer in 1..layers {
            let (y, slope) = activation.apply(&x)?;
            x = affine(weights, layer, &y)?;
            dx = (slope * dx)?.matmul(&weights[2 * layer].t()?)?;
        }
        Ok((x, dx))
    };
    Parametric::new(weights, features).with_jvp(jvp)
}

/// Normal weights of variance 1/fan-in, and normal biases, for the given widths.
pub(crate) fn random_weights(widths: &[usize], seed: u64, dtype: DType) -> Vec<Tensor> {
    let mut weights = Vec::new();
    for (layer, pair) in widths.windows(2).enumerate() {
        let weight = normal(&[pair[1], pair[0]], seed, 2 * layer as u64);
        weights.push((weight / (pair[0] as f64).sqrt()).unwrap().to_dtype(dtype).unwrap());
        weights.push(normal(&[pair[1]], seed, 2 * layer as u64 + 1).to_dtype(dtype).unwrap());
    }
    weights
}

/// Standard normal entries in f64.
pub(crate) fn normal(shape: &[usize], seed: u64, index: u64) -> Tensor {
    let count = shape.iter().product();
    let draws = streams::standard_normal(&mut streams::stream(seed, "gc-core/tests", index), count);
    Tensor::from_vec(draws, shape, &CPU).unwrap()
}

/// The same weights as variables.
pub(crate) fn tracked(weights: &[Tensor]) -> (Vec<Var>, Vec<Tensor>) {
    let variables: Vec<Var> = weights.iter().map(|weight| Var::from_tensor(weight).unwrap()).collect();
    let tensors = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    (variables, tensors)
}

/// All entries, in order, in f64.
pub(crate) fn entries(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖ over all entries.
pub(crate) fn relative_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let scale: f64 = b.iter().map(|b| b * b).sum();
    (difference / scale).sqrt()
}
