//! Activations and the derivatives of the smooth ones, on numbers.

use serde::{Deserialize, Serialize};

/// A function applied to every element.
///
/// **Conventions** ReLU has derivative 0 at 0, as PyTorch and JAX have it; GELU is the exact form x·Φ(x), not the tanh
/// approximation; softplus is ln(1 + eˣ).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x·Φ(x), Φ the standard normal distribution function.
    Gelu,
    /// x / (1 + e⁻ˣ).
    Silu,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
    /// x itself.
    Identity,
}

/// The derivative of this order (0 to 3) of a smooth activation, or `None` for other orders and activations.
///
/// **Definition** With the logistic function s: s′ = s(1−s), softplus′ = s, silu = x·s, tanh′ = 1 − tanh²; with the normal density φ and distribution function Φ:
/// gelu = x·Φ, gelu′ = Φ + xφ, gelu″ = (2 − x²)φ, gelu‴ = (x³ − 4x)φ.
pub(crate) fn smooth_derivative(activation: Activation, order: u8) -> Option<fn(f64) -> f64> {
    let function: fn(f64) -> f64 = match (activation, order) {
        (Activation::Tanh, 0) => f64::tanh,
        (Activation::Tanh, 1) => |x| sech_squared(x),
        (Activation::Tanh, 2) => |x| -2.0 * x.tanh() * sech_squared(x),
        (Activation::Tanh, 3) => |x| {
            let t = x.tanh();
            sech_squared(x) * (6.0 * t * t - 2.0)
        },
        (Activation::Softplus, 0) => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        (Activation::Softplus, 1) => logistic,
        (Activation::Softplus, 2) => logistic_slope,
        (Activation::Softplus, 3) => logistic_curvature,
        (Activation::Silu, 0) => |x| x * logistic(x),
        (Activation::Silu, 1) => |x| logistic(x) + x * logistic_slope(x),
        (Activation::Silu, 2) => |x| 2.0 * logistic_slope(x) + x * logistic_curvature(x),
        (Activation::Silu, 3) => |x| {
            let s = logistic_slope(x);
            // s‴ of the logistic function is s′((1 − 2s)² − 2s′).
            let tilt = 1.0 - 2.0 * logistic(x);
            3.0 * logistic_curvature(x) + x * s * (tilt * tilt - 2.0 * s)
        },
        (Activation::Gelu, 0) => |x| x * normal_distribution(x),
        (Activation::Gelu, 1) => |x| normal_distribution(x) + x * normal_density(x),
        (Activation::Gelu, 2) => |x| (2.0 - x * x) * normal_density(x),
        (Activation::Gelu, 3) => |x| (x * x - 4.0) * x * normal_density(x),
        _ => return None,
    };
    Some(function)
}

fn sech_squared(x: f64) -> f64 {
    let t = x.tanh();
    (1.0 - t) * (1.0 + t)
}

fn logistic(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

fn logistic_slope(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    small / ((1.0 + small) * (1.0 + small))
}

fn logistic_curvature(x: f64) -> f64 {
    logistic_slope(x) * (1.0 - 2.0 * logistic(x))
}

fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn normal_distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares each order with the central difference of the order below, whose error is about 1e-9.
    #[test]
    fn each_derivative_is_the_central_difference_of_the_order_below() {
        for activation in [Activation::Tanh, Activation::Softplus, Activation::Silu, Activation::Gelu] {
            for order in 1..=3 {
                let (lower, upper) = (smooth_derivative(activation, order - 1), smooth_derivative(activation, order));
                let (lower, upper) = (lower.unwrap(), upper.unwrap());
                for step in -40..=40 {
                    let x = f64::from(step) * 0.2;
                    let slope = (lower(x + 1e-5) - lower(x - 1e-5)) / 2e-5;
                    assert!((upper(x) - slope).abs() < 1e-8, "{activation:?} order {order} at {x}");
                }
            }
            assert!(smooth_derivative(activation, 4).is_none());
        }
    }

    #[test]
    fn tails_neither_overflow_nor_change_sign() {
        let softplus = smooth_derivative(Activation::Softplus, 0).unwrap();
        assert_eq!(softplus(1e3), 1e3);
        assert!(softplus(-700.0) > 0.0);
        assert_eq!(smooth_derivative(Activation::Gelu, 0).unwrap()(-40.0), 0.0);
        assert_eq!(smooth_derivative(Activation::Silu, 1).unwrap()(1e3), 1.0);
    }
}
