//! Activations and the derivatives of the smooth ones, on numbers.

use serde::{Deserialize, Serialize};

use super::Element;
use super::instruction_set::InstructionSet;

/// A function applied to every element.
///
/// **Conventions** At its kinks an activation has the derivative that PyTorch gives: 0 at 0 for ReLU, at 0 and 6 for ReLU6, at ±3
/// for hard sigmoid; that of the negative side at 0 for leaky ReLU and ELU; that of the outer side at ±3 for hard swish.
///
/// In TOML and JSON an activation is its name, or a table of its name and its parameters: `"gelu"`,
/// `{ leakyrelu = { negative_slope = 0.1 } }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x·Φ(x), Φ the standard normal distribution function.
    Gelu,
    /// x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, the approximation of [`Activation::Gelu`] of D. Hendrycks and K. Gimpel (arXiv
    /// 1606.08415).
    #[serde(rename = "gelu_tanh")]
    GeluTanh,
    /// x / (1 + e⁻ˣ).
    Silu,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x·tanh(ln(1 + eˣ)), of D. Misra (arXiv 1908.08681).
    Mish,
    /// min(max(x, 0), 6).
    Relu6,
    /// min(max(x + 3, 0), 6)/6.
    HardSigmoid,
    /// x·min(max(x + 3, 0), 6)/6, of A. Howard et al. (arXiv 1905.02244).
    HardSwish,
    /// x for x > 0, `negative_slope`·x otherwise.
    LeakyRelu {
        /// The slope of the negative side; PyTorch's default is 0.01.
        negative_slope: f64,
    },
    /// x for x > 0, `alpha`·(eˣ − 1) otherwise.
    Elu {
        /// The negative limit is −`alpha`; PyTorch's default is 1.
        alpha: f64,
    },
    /// x itself.
    Identity,
}

/// The largest |x| at which a hard sigmoid is not constant.
pub(crate) const HARD_BOUND: f64 = 3.0;
/// √(2/π).
pub(crate) const TANH_SCALE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// The coefficient of x³ in the tanh approximation of GELU.
pub(crate) const TANH_CUBIC: f64 = 0.044_715;

/// A function of one number.
pub(crate) type Function = Box<dyn Fn(f64) -> f64 + Send + Sync>;

/// The derivative of this order (0 to 3) of an activation, or `None` for other orders, ReLU and the identity.
///
/// **Definition** With the logistic function s: s′ = s(1−s), softplus′ = s, silu = x·s, tanh′ = 1 − tanh²; with the normal density φ
/// and distribution function Φ: gelu = x·Φ, gelu′ = Φ + xφ, gelu″ = (2 − x²)φ, gelu‴ = (x³ − 4x)φ.
pub(crate) fn smooth_derivative(activation: Activation, order: u8) -> Option<Function> {
    match activation {
        Activation::LeakyRelu { negative_slope } => leaky_relu(negative_slope, order),
        Activation::Elu { alpha } => elu(alpha, order),
        other => without_parameters(other, order).map(|function| Box::new(function) as Function),
    }
}

/// The derivative of one order of a smooth activation, applied to elements in their own precision where that is faster than f64.
pub(crate) enum Derivative {
    /// [`Element::gelu`].
    Gelu,
    /// [`Element::gelu_slope`].
    GeluSlope,
    /// A function in f64.
    Function(Function),
}

impl Derivative {
    /// The derivative of this order, or `None` as for [`smooth_derivative`].
    pub(crate) fn new(activation: Activation, order: u8) -> Option<Self> {
        match (activation, order) {
            (Activation::Gelu, 0) => Some(Self::Gelu),
            (Activation::Gelu, 1) => Some(Self::GeluSlope),
            _ => smooth_derivative(activation, order).map(Self::Function),
        }
    }

    /// Replaces every element by the derivative there.
    pub(crate) fn apply<T: Element>(&self, elements: &mut [T]) {
        InstructionSet::best().vectorised(
            #[inline(always)]
            || match self {
                Self::Gelu => {
                    for x in elements.iter_mut() {
                        *x = x.gelu();
                    }
                }
                Self::GeluSlope => {
                    for x in elements.iter_mut() {
                        *x = x.gelu_slope();
                    }
                }
                Self::Function(function) => {
                    for x in elements.iter_mut() {
                        *x = T::from_f64(function(x.to_f64()));
                    }
                }
            },
        );
    }

    /// Multiplies every element by the derivative at the element of `x` in its place.
    pub(crate) fn multiply<T: Element>(&self, elements: &mut [T], x: &[T]) {
        let pairs = elements.iter_mut().zip(x);
        InstructionSet::best().vectorised(
            #[inline(always)]
            || match self {
                Self::Gelu => {
                    for (element, x) in pairs {
                        *element = *element * x.gelu();
                    }
                }
                Self::GeluSlope => {
                    for (element, x) in pairs {
                        *element = *element * x.gelu_slope();
                    }
                }
                Self::Function(function) => {
                    for (element, x) in pairs {
                        *element = *element * T::from_f64(function(x.to_f64()));
                    }
                }
            },
        );
    }
}

fn leaky_relu(slope: f64, order: u8) -> Option<Function> {
    Some(match order {
        0 => Box::new(move |x| if x > 0.0 { x } else { slope * x }),
        1 => Box::new(move |x| if x > 0.0 { 1.0 } else { slope }),
        2 | 3 => Box::new(|_| 0.0),
        _ => return None,
    })
}

fn elu(alpha: f64, order: u8) -> Option<Function> {
    Some(match order {
        0 => Box::new(move |x| if x > 0.0 { x } else { alpha * x.exp_m1() }),
        1 => Box::new(move |x| if x > 0.0 { 1.0 } else { alpha * x.exp() }),
        2 | 3 => Box::new(move |x| if x > 0.0 { 0.0 } else { alpha * x.exp() }),
        _ => return None,
    })
}

fn without_parameters(activation: Activation, order: u8) -> Option<fn(f64) -> f64> {
    let function: fn(f64) -> f64 = match (activation, order) {
        (Activation::Tanh, 0) => f64::tanh,
        (Activation::Tanh, 1) => |x| sech_squared(x),
        (Activation::Tanh, 2) => |x| -2.0 * x.tanh() * sech_squared(x),
        (Activation::Tanh, 3) => |x| {
            let t = x.tanh();
            sech_squared(x) * (6.0 * t * t - 2.0)
        },
        (Activation::Softplus, 0) => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        (Activation::Softplus, 1) | (Activation::Sigmoid, 0) => logistic,
        (Activation::Softplus, 2) | (Activation::Sigmoid, 1) => logistic_slope,
        (Activation::Softplus, 3) | (Activation::Sigmoid, 2) => logistic_curvature,
        (Activation::Sigmoid, 3) => logistic_third,
        (Activation::Silu, 0) => |x| x * logistic(x),
        (Activation::Silu, 1) => |x| logistic(x) + x * logistic_slope(x),
        (Activation::Silu, 2) => |x| 2.0 * logistic_slope(x) + x * logistic_curvature(x),
        (Activation::Silu, 3) => |x| {
            let s = logistic_slope(x);
            // s‴ of the logistic function is s′((1 − 2s)² − 2s′).
            let tilt = 1.0 - 2.0 * logistic(x);
            3.0 * logistic_curvature(x) + x * s * (tilt * tilt - 2.0 * s)
        },
        (Activation::Gelu, 0) => gelu,
        (Activation::Gelu, 1) => gelu_slope,
        (Activation::Gelu, 2) => |x| (2.0 - x * x) * normal_density(x),
        (Activation::Gelu, 3) => |x| (x * x - 4.0) * x * normal_density(x),
        (Activation::GeluTanh, 0) => |x| 0.5 * x * (1.0 + cubic(x).tanh()),
        (Activation::GeluTanh, 1) => |x| 0.5 * gelu_tanh_gate(x).derivative(x, 1) + 0.5,
        (Activation::GeluTanh, 2) => |x| 0.5 * gelu_tanh_gate(x).derivative(x, 2),
        (Activation::GeluTanh, 3) => |x| 0.5 * gelu_tanh_gate(x).derivative(x, 3),
        (Activation::Mish, 0) => |x| x * mish_gate(x).tanh,
        (Activation::Mish, 1) => |x| mish_gate(x).derivative(x, 1),
        (Activation::Mish, 2) => |x| mish_gate(x).derivative(x, 2),
        (Activation::Mish, 3) => |x| mish_gate(x).derivative(x, 3),
        (Activation::Relu6, 0) => |x| if x.is_nan() { x } else { x.clamp(0.0, 6.0) },
        (Activation::Relu6, 1) => |x| if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 },
        (Activation::HardSigmoid, 0) => hard_sigmoid,
        (Activation::HardSigmoid, 1) => |x| if x.abs() < HARD_BOUND { 1.0 / 6.0 } else { 0.0 },
        (Activation::HardSwish, 0) => |x| x * hard_sigmoid(x),
        (Activation::HardSwish, 1) => |x| {
            let inside = x.abs() < HARD_BOUND;
            if inside { x / 3.0 + 0.5 } else { f64::from(u8::from(x > 0.0)) }
        },
        (Activation::HardSwish, 2) => |x| if x.abs() < HARD_BOUND { 1.0 / 3.0 } else { 0.0 },
        (Activation::Relu6 | Activation::HardSigmoid, 2 | 3) | (Activation::HardSwish, 3) => |_| 0.0,
        _ => return None,
    };
    Some(function)
}

/// x·Φ(x).
pub(super) fn gelu(x: f64) -> f64 {
    x * normal_distribution(x)
}

/// Φ(x) + x·φ(x).
pub(super) fn gelu_slope(x: f64) -> f64 {
    normal_distribution(x) + x * normal_density(x)
}

fn hard_sigmoid(x: f64) -> f64 {
    if x.is_nan() { x } else { (x + HARD_BOUND).clamp(0.0, 6.0) / 6.0 }
}

/// tanh u(x) with its complement 1 − tanh² u and the derivatives of u, for functions x·tanh u(x).
struct Gate {
    tanh: f64,
    complement: f64,
    inner: [f64; 3],
}

impl Gate {
    /// The derivative of this order (1 to 3) of x·tanh u(x).
    fn derivative(&self, x: f64, order: u8) -> f64 {
        let [first, second, third] = self.inner;
        let slope = self.complement * first;
        let complement_slope = -2.0 * self.tanh * slope;
        let curvature = complement_slope * first + self.complement * second;
        match order {
            1 => self.tanh + x * slope,
            2 => 2.0 * slope + x * curvature,
            _ => {
                let complement_curvature = -2.0 * (slope * slope + self.tanh * curvature);
                let turn = complement_curvature * first + 2.0 * complement_slope * second + self.complement * third;
                3.0 * curvature + x * turn
            }
        }
    }
}

fn cubic(x: f64) -> f64 {
    TANH_SCALE * (x + TANH_CUBIC * x * x * x)
}

fn gelu_tanh_gate(x: f64) -> Gate {
    let u = cubic(x);
    let slope = TANH_SCALE * (1.0 + 3.0 * TANH_CUBIC * x * x);
    let curvature = 6.0 * TANH_SCALE * TANH_CUBIC;
    Gate { tanh: u.tanh(), complement: sech_squared(u), inner: [slope, curvature * x, curvature] }
}

/// With e = eˣ and n = e² + 2e: tanh ln(1 + e) = n/(n + 2), and 1 − tanh² = 4(n + 1)/(n + 2)².
fn mish_gate(x: f64) -> Gate {
    // From here on tanh is 1 in f64.
    let e = x.min(40.0).exp();
    let n = e * (e + 2.0);
    let complement = 4.0 * (n + 1.0) / ((n + 2.0) * (n + 2.0));
    let inner = [logistic(x), logistic_slope(x), logistic_curvature(x)];
    Gate { tanh: n / (n + 2.0), complement, inner }
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

/// s‴ = s′((1 − 2s)² − 2s′).
fn logistic_third(x: f64) -> f64 {
    let (slope, tilt) = (logistic_slope(x), 1.0 - 2.0 * logistic(x));
    slope * (tilt * tilt - 2.0 * slope)
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
        for activation in [
            Activation::Tanh,
            Activation::Softplus,
            Activation::Silu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Sigmoid,
            Activation::Mish,
            Activation::Relu6,
            Activation::HardSigmoid,
            Activation::HardSwish,
            Activation::LeakyRelu { negative_slope: 0.1 },
            Activation::Elu { alpha: 0.7 },
        ] {
            for order in 1..=3 {
                let (lower, upper) = (smooth_derivative(activation, order - 1), smooth_derivative(activation, order));
                let (lower, upper) = (lower.unwrap(), upper.unwrap());
                for step in -40..=40 {
                    // No kink lies within a step of these points.
                    let x = f64::from(step) * 0.2 + 0.05;
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
        for order in 0..=3 {
            for activation in [Activation::Mish, Activation::GeluTanh, Activation::Sigmoid] {
                for x in [-1e3, -40.0, 40.0, 1e3] {
                    let value = smooth_derivative(activation, order).unwrap()(x);
                    let limit = if activation == Activation::Sigmoid { 1.0 } else { x };
                    let expected = [limit.max(0.0), 1.0, 0.0, 0.0][usize::from(order)];
                    let expected = match (x > 0.0, activation, order) {
                        (false, ..) | (true, Activation::Sigmoid, 1) => 0.0,
                        _ => expected,
                    };
                    assert!((value - expected).abs() < 1e-12, "{activation:?} order {order} at {x}: {value}");
                }
            }
        }
    }

    /// The derivatives of PyTorch 2.15 at the kinks.
    #[test]
    fn kinks_have_the_derivative_of_pytorch() {
        let slope = |activation, x| smooth_derivative(activation, 1).unwrap()(x);
        assert_eq!([0.0, 6.0].map(|x| slope(Activation::Relu6, x)), [0.0, 0.0]);
        assert_eq!([-3.0, 3.0].map(|x| slope(Activation::HardSigmoid, x)), [0.0, 0.0]);
        assert_eq!([-3.0, 3.0].map(|x| slope(Activation::HardSwish, x)), [0.0, 1.0]);
        assert_eq!(slope(Activation::LeakyRelu { negative_slope: 0.01 }, 0.0), 0.01);
        assert_eq!(slope(Activation::Elu { alpha: 0.5 }, 0.0), 0.5);
    }

    #[test]
    fn nan_stays_nan() {
        for activation in [Activation::Relu6, Activation::HardSigmoid, Activation::HardSwish, Activation::Mish] {
            assert!(smooth_derivative(activation, 0).unwrap()(f64::NAN).is_nan(), "{activation:?}");
        }
    }
}
