//! The exponential function in f32, in a form that the compiler vectorises.

/// Arguments below have the result 0, which would not be a normal number.
const LOWEST: f32 = -87.0;
/// Arguments above have the result ∞.
const HIGHEST: f32 = 88.0;

/// e to the power of x, with a relative error below 2e-7 (two units in the last place) for −87 ≤ x ≤ 88; 0 below, ∞ above. NaN stays
/// NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, of which the first has few digits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let bounded = if x < LOWEST { LOWEST } else { x };
    let bounded = if bounded > HIGHEST { HIGHEST } else { bounded };
    let rounded = bounded.mul_add(LOG2_E, ROUND);
    let integer = rounded - ROUND;
    let rest = integer.mul_add(-LN_2[1], integer.mul_add(-LN_2[0], bounded));
    // The Taylor polynomial of degree 7: the remainder for |rest| ≤ ln(2)/2 is below 6e-9.
    let mut power: f32 = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power.mul_add(rest, coefficient);
    }
    let scale = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let y = if x < LOWEST { 0.0 } else { power * scale };
    if x > HIGHEST { f32::INFINITY } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_double_precision() {
        for step in -86_999..=87_999 {
            let x = step as f32 * 1e-3;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2e-7, "at {x}: {found} against {expected}");
        }
    }

    #[test]
    fn limits() {
        let found = [f32::NEG_INFINITY, -1e4, -87.1, 0.0, 88.1, f32::INFINITY].map(exp);
        assert_eq!(found, [0.0, 0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]);
        assert!(exp(f32::NAN).is_nan());
    }
}
