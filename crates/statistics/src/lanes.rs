//! Sums in eight interleaved lanes: vectorized, and with the same bits on every machine.
//!
//! The loops are plain Rust. `pulp` compiles each for several vector units and picks one at run time. Because every sum
//! keeps its eight lanes and no multiplication is fused with an addition, the width of the registers changes the speed
//! and not the result.

use pulp::{Arch, Simd, WithSimd};

/// The number of interleaved sums.
pub const LANES: usize = 8;

/// A number that is added up in f64.
pub trait Widen: Copy {
    /// The same number in f64, exactly.
    fn widen(self) -> f64;
}

impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Widen for f64 {
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
}

/// A closure that is compiled for each vector unit.
struct Body<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Body<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> R {
        (self.0)()
    }
}

/// Runs a closure with the widest vectors of this machine.
///
/// **Conventions** mark the closure and the functions that it calls `#[inline(always)]`: what is not inlined is compiled
/// for the vectors of every machine.
///
/// ```
/// let values = [1.0, 2.0, 3.0];
/// let sum = statistics::vectorized(#[inline(always)] || statistics::lane_sums(3, |at| [values[at], values[at].powi(2)]));
/// assert_eq!(sum, [6.0, 14.0]);
/// ```
#[inline]
pub fn vectorized<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Body(body))
}

/// N sums of `term(i)` over `0..count`.
///
/// **Definition** term i of the first ⌊count/8⌋·8 terms is added to lane i mod 8. The lanes are added up in ascending order,
/// then the sum of the remaining terms is added.
///
/// ```
/// // 1e16 + 1 is 1e16 in f64; in lanes of their own the ones are not lost.
/// let values = [1e16, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1e16, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// assert_eq!(statistics::lane_sums(16, |at| [values[at]]), [14.0]);
/// assert_eq!(values.iter().sum::<f64>(), 7.0);
/// ```
#[inline(always)]
pub fn lane_sums<const N: usize>(count: usize, term: impl Fn(usize) -> [f64; N]) -> [f64; N] {
    let mut sums = [[0.0f64; LANES]; N];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let terms = term(start + lane);
            for (sums, term) in sums.iter_mut().zip(terms) {
                sums[lane] += term;
            }
        }
    }
    let mut rest = [0.0f64; N];
    for at in whole..count {
        for (rest, term) in rest.iter_mut().zip(term(at)) {
            *rest += term;
        }
    }
    let mut totals = [0.0; N];
    for ((total, sums), rest) in totals.iter_mut().zip(sums).zip(rest) {
        *total = sums.iter().sum::<f64>() + rest;
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gives_the_plain_sum() {
        for count in [0, 1, 7, 8, 9, 19, 64] {
            let values: Vec<f32> = (0..count).map(|at| at as f32 * 0.25).collect();
            let found = vectorized(
                #[inline(always)]
                || lane_sums(count, |at| [values[at].widen(), 1.0]),
            );
            let expected: f64 = values.iter().map(|&value| f64::from(value)).sum();
            assert_eq!(found, [expected, count as f64]);
        }
    }
}
