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
/// let sum = reductions::vectorized(#[inline(always)] || reductions::lane_sums(3, |at| [values[at], values[at].powi(2)]));
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
/// assert_eq!(reductions::lane_sums(16, |at| [values[at]]), [14.0]);
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

/// Sums of `term(a_i, b_i)` over the entries of one row with each row of a row-major matrix.
///
/// **Shapes** `row` `[n]`, `rows` `[m, n]`, `sums` `[m]`, which is overwritten.
///
/// **Definition** term i is added to lane i mod 8. The lanes l are added up as ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)).
///
/// ```
/// let mut products = [0.0; 2];
/// reductions::row_sums(&[1f32, 2.0], &[3.0, 4.0, 5.0, 6.0], &mut products, #[inline(always)] |a, b| a * b);
/// assert_eq!(products, [11.0, 17.0]);
/// ```
pub fn row_sums<T: Widen, U: Widen>(row: &[T], rows: &[U], sums: &mut [f64], term: impl Fn(f64, f64) -> f64 + Copy) {
    vectorized(
        #[inline(always)]
        || {
            let width = row.len();
            let mut at = 0;
            // Four rows of the matrix at a time: the sums stay in registers, and `row` is read once for all four.
            while at + 4 <= sums.len() {
                block::<T, U, 4>(row, &rows[at * width..][..4 * width], &mut sums[at..at + 4], term);
                at += 4;
            }
            while at < sums.len() {
                block::<T, U, 1>(row, &rows[at * width..][..width], &mut sums[at..at + 1], term);
                at += 1;
            }
        },
    );
}

#[inline(always)]
fn block<T: Widen, U: Widen, const ROWS: usize>(
    row: &[T],
    rows: &[U],
    sums: &mut [f64],
    term: impl Fn(f64, f64) -> f64,
) {
    let width = row.len();
    let (chunks, tail) = row.as_chunks::<LANES>();
    let others: [&[[U; LANES]]; ROWS] =
        std::array::from_fn(|r| &rows[r * width..][..width].as_chunks::<LANES>().0[..chunks.len()]);
    let mut lanes = [[0.0f64; LANES]; ROWS];
    for (k, chunk) in chunks.iter().enumerate() {
        let values: [f64; LANES] = std::array::from_fn(|lane| chunk[lane].widen());
        for r in 0..ROWS {
            let other = &others[r][k];
            for lane in 0..LANES {
                lanes[r][lane] += term(values[lane], other[lane].widen());
            }
        }
    }
    for r in 0..ROWS {
        let other = &rows[(r + 1) * width - tail.len()..(r + 1) * width];
        for (lane, (&value, &other)) in tail.iter().zip(other).enumerate() {
            lanes[r][lane] += term(value.widen(), other.widen());
        }
        let l = &lanes[r];
        sums[r] = ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_row_with_any_number_of_rows_are_plain_sums() {
        for (width, count) in [(1, 1), (7, 3), (8, 4), (19, 5), (64, 9)] {
            let row: Vec<f32> = (0..width).map(|at| at as f32 * 0.5 - 3.0).collect();
            let rows: Vec<f64> = (0..width * count).map(|at| (at % 11) as f64 - 4.0).collect();
            let mut sums = vec![f64::NAN; count];
            row_sums(&row, &rows, &mut sums, |a, b| (a - b) * (a - b));
            for (sum, other) in sums.iter().zip(rows.chunks_exact(width)) {
                // Multiples of 1/4 below 2⁵³ are added exactly.
                assert_eq!(*sum, row.iter().zip(other).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum::<f64>());
            }
        }
    }

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
