//! Functions applied element by element, in parallel blocks of a fixed size.

use rayon::prelude::*;

use super::Element;
use super::fresh::{self, WAKING};
use super::instruction_set::InstructionSet;
use crate::Activation;

/// Elements that one task handles: large enough to hide the scheduling, small enough to share a small tensor.
const BLOCK: usize = 1 << 14;

/// `function` of every element.
pub(crate) fn map<T: Copy + Send + Sync, F: Fn(T) -> T + Send + Sync>(x: &[T], function: F) -> Vec<T> {
    let set = InstructionSet::best();
    fresh::changed(x, BLOCK, |_, block| {
        set.vectorised(|| block.iter_mut().for_each(|value| *value = function(*value)));
    })
}

/// max(x, 0). NaN passes through: a diverged network must not look like a sparse one.
#[inline(always)]
pub(crate) fn positive_part<T: Element>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

/// x where `reference` is positive, 0 elsewhere: the derivative of [`positive_part`] at `reference`, applied to x.
#[inline(always)]
pub(crate) fn gate<T: Element>(x: T, reference: T) -> T {
    if reference > T::default() { x } else { T::default() }
}

/// [`positive_part`] of every element, in place.
pub(crate) fn rectify<T: Element>(x: &mut [T]) {
    let set = InstructionSet::best();
    let rectify =
        |block: &mut [T]| set.vectorised(|| block.iter_mut().for_each(|value| *value = positive_part(*value)));
    if x.len() <= WAKING {
        return rectify(x);
    }
    x.par_chunks_mut(BLOCK).for_each(rectify);
}

/// `function` of every pair of elements; `m` is repeated until it is as long as `x`.
pub(crate) fn zip_map<T: Copy + Send + Sync, F: Fn(T, T) -> T + Send + Sync>(x: &[T], m: &[T], function: F) -> Vec<T> {
    fresh::changed(x, BLOCK, |index, block| zip_block(index, block, m, &function))
}

/// [`zip_map`] in place.
pub(crate) fn zip_apply<T: Copy + Send + Sync, F: Fn(T, T) -> T + Send + Sync>(x: &mut [T], m: &[T], function: F) {
    fresh::for_each_block(x, BLOCK, |index, block| zip_block(index, block, m, &function));
}

/// One block of [`zip_map`].
fn zip_block<T: Copy>(index: usize, mut block: &mut [T], m: &[T], function: &impl Fn(T, T) -> T) {
    let mut start = (index * BLOCK) % m.len();
    while !block.is_empty() {
        let (now, later) = block.split_at_mut(block.len().min(m.len() - start));
        let other = &m[start..start + now.len()];
        InstructionSet::best().vectorised(|| now.iter_mut().zip(other).for_each(|(y, m)| *y = function(*y, *m)));
        (block, start) = (later, 0);
    }
}

/// The derivative of this order (0 to 3) of a smooth activation, on one number.
///
/// With s the logistic function: s′ = s(1−s), softplus′ = s, silu = x·s, tanh′ = 1 − tanh²; with φ the normal density:
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

    #[test]
    fn the_second_of_a_pair_is_repeated() {
        // Shorter than a block, of its length, and longer, with ends inside of blocks.
        for length in [3, BLOCK, BLOCK + 5] {
            let m: Vec<f64> = (0..length).map(|index| index as f64).collect();
            let mut x: Vec<f64> = (0..3 * length).map(|index| 0.5 * index as f64).collect();
            let expected: Vec<f64> = x.iter().enumerate().map(|(index, x)| x - (index % length) as f64).collect();
            assert_eq!(zip_map(&x, &m, |x, m| x - m), expected);
            zip_apply(&mut x, &m, |x, m| x - m);
            assert_eq!(x, expected);
        }
        assert!(zip_map(&[], &[], |x: f64, m| x - m).is_empty());
    }

    /// Each order against the central difference of the one before, which is good to about 1e-9.
    #[test]
    fn each_derivative_is_the_slope_of_the_one_before() {
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
    fn tails_neither_overflow_nor_lose_their_sign() {
        let softplus = smooth_derivative(Activation::Softplus, 0).unwrap();
        assert_eq!(softplus(1e3), 1e3);
        assert!(softplus(-700.0) > 0.0);
        assert_eq!(smooth_derivative(Activation::Gelu, 0).unwrap()(-40.0), 0.0);
        assert_eq!(smooth_derivative(Activation::Silu, 1).unwrap()(1e3), 1.0);
    }
}
