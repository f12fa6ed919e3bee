//! GELU and its first derivative in f32, in a form that the compiler vectorises.
//!
//! With a = |x|, Φ(−a) = exp(−a²/2)·E(a), where E(a) = exp(a²/2)·erfc(a/√2)/2 decreases slowly. E is a polynomial of degree 8 in
//! 1/(1 + 0.3·a), fitted by least squares of the relative error at Chebyshev nodes of 0 ≤ a ≤ 14; its relative error is below 7e-8
//! there. The normal density needs the same exponential.

use super::exponential::exp;

/// Coefficients of E in powers of 1/(1 + [`SLOPE`]·a).
const E: [f32; 9] = [
    9.096_309e-6,
    0.119_451_4,
    0.122_204_59,
    0.093_472_585,
    0.145_609_83,
    -0.081_282_31,
    0.233_107_47,
    -0.171_443_55,
    0.038_870_92,
];
const SLOPE: f32 = 0.3;
/// 1/√(2π).
const DENSITY: f32 = 0.398_942_3;

/// 1/x for x from 1 to 10, with a relative error below 2e-7: faster than a division. The guess from the bits of the number has a
/// relative error below 0.13, of which each step leaves the cube.
#[inline(always)]
fn reciprocal(x: f32) -> f32 {
    const GUESS: u32 = 0x7ef3_11c3;
    let mut y = f32::from_bits(GUESS.wrapping_sub(x.to_bits()));
    for _ in 0..2 {
        let error = (-x).mul_add(y, 1.0);
        y = y.mul_add(error.mul_add(error, error), y);
    }
    y
}

/// Φ(x) and the normal density at x.
#[inline(always)]
fn normal(x: f32) -> [f32; 2] {
    let a = x.abs();
    let power = exp(-0.5 * a * a);
    // Beyond, the exponential is 0.
    let bounded = if a > 20.0 { 20.0 } else { a };
    let t = reciprocal(bounded.mul_add(SLOPE, 1.0));
    let mut tail = E[8];
    for index in (0..8).rev() {
        tail = tail.mul_add(t, E[index]);
    }
    let tail = tail * power;
    [if x > 0.0 { 1.0 - tail } else { tail }, DENSITY * power]
}

/// x·Φ(x). NaN stays NaN, −∞ becomes 0.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let [distribution, _] = normal(x);
    let y = x * distribution;
    if x < -1e4 { 0.0 } else { y }
}

/// Φ(x) + x·φ(x).
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    let [distribution, density] = normal(x);
    let product = x * density;
    // At ±∞ the product is NaN where its limit is 0.
    distribution + if x.abs() > 1e4 { 0.0 } else { product }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Activation;
    use crate::kernels::activation::smooth_derivative;

    /// Compared with f64: the error is below 3e-7 of the larger of |value| and |x|·1e-7 on the negative side, where GELU tends to 0.
    #[test]
    fn agrees_with_double_precision() {
        for (order, function) in [(0, gelu as fn(f32) -> f32), (1, gelu_slope)] {
            let exact = smooth_derivative(Activation::Gelu, order).unwrap();
            for step in -14_000..=14_000 {
                let x = step as f32 * 1e-3;
                let (found, expected) = (f64::from(function(x)), exact(f64::from(x)));
                let error = (found - expected).abs();
                assert!(error <= 4e-7 * expected.abs().max(0.5), "order {order} at {x}: {found} against {expected}");
            }
        }
        // In the negative tail the error is relative to the value, up to the rounding of the exponent −x²/2.
        let exact = smooth_derivative(Activation::Gelu, 0).unwrap();
        for x in [-1.0f32, -3.0, -6.0, -9.0] {
            let expected = exact(f64::from(x));
            assert!((f64::from(gelu(x)) / expected - 1.0).abs() < 1e-5, "at {x}");
        }
    }

    #[test]
    fn reciprocals_are_those_of_a_division() {
        for step in 0..=90_000 {
            let x = 1.0 + step as f32 * 1e-4;
            assert!((reciprocal(x) * x - 1.0).abs() < 2e-7, "at {x}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, 0.0].map(gelu), [f32::INFINITY, 0.0, 0.0]);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(gelu_slope), [1.0, 0.0]);
        assert!((gelu_slope(0.0) - 0.5).abs() < 1e-7);
        assert!(gelu(f32::NAN).is_nan() && gelu_slope(f32::NAN).is_nan());
    }
}
