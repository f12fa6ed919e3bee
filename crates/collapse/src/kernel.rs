//! Inner loops over rows of numbers: eight running sums in f64, the same bits on every machine.
//!
//! The loops are plain Rust. [`vectorized`] selects the vector instructions at run time. Each sum keeps its eight lanes and
//! no multiply is fused with an add, so wider registers change the speed and not the result.

use reductions::{LANES, lane_sums, vectorized};

use crate::features::Element;

/// Adds the sum of some rows to `sum`, four rows at a time.
pub(crate) fn add_rows<'a, E: Element>(sum: &mut [f64], rows: impl Iterator<Item = &'a [E]>) {
    let mut waiting: [&[E]; 4] = [&[]; 4];
    let mut count = 0;
    for row in rows {
        waiting[count] = row;
        count += 1;
        if count == 4 {
            add_four(sum, waiting);
            count = 0;
        }
    }
    for row in &waiting[..count] {
        vectorized(
            #[inline(always)]
            || sum.iter_mut().zip(*row).for_each(|(sum, &value)| *sum += value.wide()),
        );
    }
}

fn add_four<E: Element>(sum: &mut [f64], [first, second, third, fourth]: [&[E]; 4]) {
    vectorized(
        #[inline(always)]
        || {
            let rows = first.iter().zip(second).zip(third.iter().zip(fourth));
            for (sum, ((&a, &b), (&c, &d))) in sum.iter_mut().zip(rows) {
                *sum += (a.wide() + b.wide()) + (c.wide() + d.wide());
            }
        },
    );
}

/// ‖x − μ‖² in f64.
pub(crate) fn squared_distance<E: Element>(row: &[E], mean: &[f64]) -> f64 {
    let count = row.len().min(mean.len());
    let (row, mean) = (&row[..count], &mean[..count]);
    vectorized(
        #[inline(always)]
        || {
            lane_sums(
                count,
                #[inline(always)]
                |at| {
                    let deviation = row[at].wide() - mean[at];
                    [deviation * deviation]
                },
            )[0]
        },
    )
}

/// Writes x − μ, rounded once, of some rows x to `deviations`, one row after another.
pub(crate) fn deviate<E: Element, T: Element, const N: usize>(rows: [&[E]; N], mean: &[f64], deviations: &mut [T]) {
    let width = mean.len();
    vectorized(
        #[inline(always)]
        || {
            let whole = width / LANES * LANES;
            for start in (0..whole).step_by(LANES) {
                let mean = &mean[start..start + LANES];
                for (at, row) in rows.iter().enumerate() {
                    let row = &row[start..start + LANES];
                    let into = &mut deviations[at * width + start..][..LANES];
                    for lane in 0..LANES {
                        into[lane] = T::narrow(row[lane].wide() - mean[lane]);
                    }
                }
            }
            for (at, row) in rows.iter().enumerate() {
                for lane in whole..width {
                    deviations[at * width + lane] = T::narrow(row[lane].wide() - mean[lane]);
                }
            }
        },
    );
}

/// ‖d‖² in f64.
pub(crate) fn squared_length<T: Element>(row: &[T]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            lane_sums(
                row.len(),
                #[inline(always)]
                |at| [row[at].wide() * row[at].wide()],
            )[0]
        },
    )
}

/// Σ_j a_j t_j², Σ_j b_j t_j, Σ_j c_j t_j, Σ_j d_j t_j and Σ_j e_j t_j with t_j = own − `others[j]`.
pub(crate) fn along_axes(own: f64, others: &[f64], [a, b, c, d, e]: [&[f64]; 5]) -> [f64; 5] {
    let count = others.len();
    let (a, b, c, d, e) = (&a[..count], &b[..count], &c[..count], &d[..count], &e[..count]);
    vectorized(
        #[inline(always)]
        || {
            let (mut sums, whole) = ([[0.0f64; LANES]; 5], count / LANES * LANES);
            for start in (0..whole).step_by(LANES) {
                let mut along = [0.0; LANES];
                (0..LANES).for_each(|lane| along[lane] = own - others[start + lane]);
                (0..LANES).for_each(|lane| sums[0][lane] += a[start + lane] * along[lane] * along[lane]);
                for (sums, factors) in sums[1..].iter_mut().zip([b, c, d, e]) {
                    let factors = &factors[start..start + LANES];
                    (0..LANES).for_each(|lane| sums[lane] += factors[lane] * along[lane]);
                }
            }
            let mut rest = [0.0; 5];
            for at in whole..count {
                let along = own - others[at];
                rest[0] += a[at] * along * along;
                rest[1..].iter_mut().zip([b, c, d, e]).for_each(|(rest, factors)| *rest += factors[at] * along);
            }
            std::array::from_fn(|at| sums[at].iter().sum::<f64>() + rest[at])
        },
    )
}

/// Σ_j f_j t_j with t_j = own − `others[j]`.
pub(crate) fn along_axis(own: f64, others: &[f64], factors: &[f64]) -> f64 {
    let count = others.len().min(factors.len());
    let (others, factors) = (&others[..count], &factors[..count]);
    vectorized(
        #[inline(always)]
        || {
            lane_sums(
                count,
                #[inline(always)]
                |at| [factors[at] * (own - others[at])],
            )[0]
        },
    )
}

/// Writes `scale`·left + right to `into`.
pub(crate) fn scaled_sum(into: &mut [f64], scale: f64, left: &[f64], right: &[f64]) {
    vectorized(
        #[inline(always)]
        || {
            for ((into, left), right) in into.iter_mut().zip(left).zip(right) {
                *into = scale * left + right;
            }
        },
    );
}

/// The highest value, and how many values lie at most `margin` below it.
pub(crate) fn near_highest(values: &[f64], margin: f64) -> (f64, usize) {
    vectorized(
        #[inline(always)]
        || {
            let mut tops = [f64::NEG_INFINITY; LANES];
            let whole = values.chunks_exact(LANES);
            let rest = whole.remainder();
            for chunk in whole {
                for lane in 0..LANES {
                    tops[lane] = if chunk[lane] > tops[lane] { chunk[lane] } else { tops[lane] };
                }
            }
            let top =
                tops.iter().chain(rest).fold(f64::NEG_INFINITY, |top, &value| if value > top { value } else { top });
            let floor = top - margin;
            let near: u64 = values.iter().map(|&value| u64::from(value >= floor)).sum();
            (top, near as usize)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_not_whole_lanes_lose_nothing() {
        for count in [0, 1, 7, 8, 9, 19] {
            let row: Vec<f32> = (0..count).map(|at| at as f32).collect();
            let mean = vec![1.0f64; count];
            let expected: f64 = (0..count).map(|at| (at as f64 - 1.0).powi(2)).sum();
            assert_eq!(squared_distance(&row, &mean), expected);
            let mut deviation = vec![0f32; count];
            deviate([&row[..]], &mean, &mut deviation);
            assert_eq!(squared_length(&deviation), expected);
            let (mut twice, other) = (vec![0f32; 2 * count], vec![3f32; count]);
            deviate([&row[..], &other], &mean, &mut twice);
            assert_eq!(twice, [&deviation[..], &vec![2f32; count]].concat());
        }
    }

    #[test]
    fn rows_add_up_in_any_number() {
        let rows = [[1f32, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0], [5.0, 50.0], [6.0, 60.0]];
        for count in 0..rows.len() {
            let mut sum = [0.5, 0.5];
            add_rows(&mut sum, rows[..count].iter().map(|row| &row[..]));
            let expected: f32 = rows[..count].iter().map(|row| row[0]).sum();
            assert_eq!(sum, [f64::from(expected) + 0.5, f64::from(10.0 * expected) + 0.5]);
        }
    }

    #[test]
    fn sums_along_axes_and_the_near_highest() {
        let factors: [&[f64]; 5] = [&[1.0, 10.0], &[3.0, 5.0], &[1.0, 1.0], &[7.0, 2.0], &[0.5, 8.0]];
        let sums = along_axes(2.0, &[1.0, 4.0], factors);
        assert_eq!(along_axis(2.0, &[1.0, 4.0], factors[4]), sums[4]);
        assert_eq!(sums, [1.0 + 40.0, 3.0 - 10.0, 1.0 - 2.0, 7.0 - 4.0, 0.5 - 16.0]);
        let values = [1.0, 5.0, 4.5, 0.0, -1.0, 2.0, 3.0, 4.0, 4.9];
        assert_eq!(near_highest(&values, 0.0), (5.0, 1));
        assert_eq!(near_highest(&values, 0.5), (5.0, 3));
    }
}
