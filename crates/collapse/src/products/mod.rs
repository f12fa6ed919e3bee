//! Sums of products of tile rows: the kernel of scatter matrices, distances and projections.
//!
//! Double-precision tiles are multiplied and summed in f64. Single-precision tiles are multiplied in f32 over stretches of at
//! most 512 terms, and the stretches are summed in f64: the error is that of a few hundred roundings in f32 for any number of
//! samples. The products are our own because both operands are then packed once and used by all threads, and the sums are widened
//! in registers; a library's product would write them in f32 first, to be read again.

mod panels;
mod vectors;

use rayon::prelude::*;

use crate::features::{Element, sealed::Sealed};
pub(crate) use panels::Panels;
pub(crate) use vectors::Number;
use vectors::{BLOCK, Products};

impl Sealed for f64 {
    fn holds_products(_: f64, _: usize) -> bool {
        true
    }
}

impl Sealed for f32 {
    fn holds_products(squares: f64, numbers: usize) -> bool {
        // No partial sum of products exceeds the sum of all squares. Below the lower limit f32 products would underflow.
        squares == 0.0 || (squares < f64::from(f32::MAX) && squares / numbers as f64 > 1e-28)
    }
}

/// Panels of one strip of a scatter matrix: few enough to balance threads, enough to use what is in a core's cache.
const STRIP: usize = 4;

/// Adds the inner products of all vectors of `left` with all of `right` to `target`, row-major.
pub(crate) fn add_products<T: Number>(target: &mut [f64], left: &Panels<T>, right: &Panels<T>) {
    Products { target, stride: right.vectors(), left, rows: 0..left.panels(), right, lower: false }.add();
}

/// Adds the inner products of all rows of `left` `[m, width]` with all rows of `right` `[n, width]` to `target` `[m, n]`.
///
/// A few panels of `right` are packed at a time.
pub(crate) fn add_row_products<T: Number>(target: &mut [f64], left: &[T], right: &[T], width: usize) {
    let (stride, left) = (right.len() / width, Panels::of_rows(left, width));
    let mut packed = Panels::new(width);
    for (index, rows) in right.chunks(BLOCK * T::PANEL * width).enumerate() {
        packed.replace_by_rows(rows);
        let target = &mut target[index * BLOCK * T::PANEL..];
        Products { target, stride, left: &left, rows: 0..left.panels(), right: &packed, lower: false }.add();
    }
}

/// Adds `tile`ᵀ·`tile` to the lower triangle of `products` (row-major, `width`²); the upper triangle may be overwritten.
///
/// Strips are independent and each is summed in order of the rows, so the bits do not depend on the threads.
pub(crate) fn add_scatter<T: Element>(products: &mut [f64], width: usize, tile: &[T]) {
    if tile.len() < width {
        return;
    }
    let columns = Panels::of_columns(tile, width);
    let strip = |(index, target): (usize, &mut [f64])| {
        let rows = index * STRIP..columns.panels().min((index + 1) * STRIP);
        Products { target, stride: width, left: &columns, rows, right: &columns, lower: true }.add();
    };
    // The last strips are the longest. They are started first, so that the threads finish together.
    products.par_chunks_mut(STRIP * T::PANEL * width).enumerate().rev().with_max_len(1).for_each(strip);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Element>(count: usize) -> Vec<T> {
        (0..count).map(|at| T::narrow(((at * 7919 + 13) % 1009) as f64 / 500.0 - 1.0)).collect()
    }

    /// Sums in f64 of products of numbers that f32 holds with few digits: exact up to rounding in the last place.
    fn products<T: Element>(left: &[T], right: &[T], width: usize) -> Vec<f64> {
        let product = |left: &[T], right: &[T]| left.iter().zip(right).map(|(a, b)| a.wide() * b.wide()).sum::<f64>();
        let rows = left.chunks_exact(width);
        rows.flat_map(|row| right.chunks_exact(width).map(move |other| product(row, other))).collect()
    }

    /// Both products agree with their definition at sizes around one, two and three registers, panels and stretches.
    fn agree<T: Element>() {
        let tolerance = 600.0 * T::EPSILON;
        for (rows, columns, width) in [(1, 1, 1), (7, 9, 3), (25, 47, 8), (50, 49, 511), (49, 33, 513), (97, 450, 1100)]
        {
            let (left, right) = (numbers::<T>(rows * width), numbers::<T>(columns * width));
            let mut target = vec![1.0; rows * columns];
            add_row_products(&mut target, &left, &right, width);
            for (sum, expected) in target.iter().zip(products(&left, &right, width)) {
                assert!((sum - 1.0 - expected).abs() <= tolerance * width as f64, "{sum} {expected} at width {width}");
            }
            // The same rows as samples of `columns` features.
            let tile = numbers::<T>(width * columns);
            let transposed: Vec<T> =
                (0..columns).flat_map(|column| tile.iter().skip(column).step_by(columns).copied()).collect();
            let mut scatter = vec![1.0; columns * columns];
            add_scatter(&mut scatter, columns, &tile);
            let expected = products(&transposed, &transposed, width);
            for row in 0..columns {
                for column in 0..=row {
                    let at = row * columns + column;
                    assert!((scatter[at] - 1.0 - expected[at]).abs() <= tolerance * width as f64, "{row} {column}");
                }
            }
        }
    }

    #[test]
    fn products_agree_with_their_definition() {
        agree::<f32>();
        agree::<f64>();
    }

    #[test]
    fn a_sum_has_the_same_bits_in_every_block() {
        let width = 700;
        let rows = numbers::<f32>(100 * width);
        let mut all = vec![0.0; 100 * 100];
        add_row_products(&mut all, &rows, &rows, width);
        for (row, column) in [(0, 0), (3, 99), (98, 17), (50, 50)] {
            let mut one = [0.0];
            add_row_products(&mut one, &rows[row * width..][..width], &rows[column * width..][..width], width);
            assert_eq!(one[0], all[row * 100 + column]);
            assert_eq!(all[column * 100 + row], all[row * 100 + column]);
        }
    }

    #[test]
    fn other_vector_units_give_the_same_sums() {
        use pulp::Simd;
        let (rows, width) = (100, 700);
        let panels = Panels::of_rows(&numbers::<f32>(rows * width), width);
        let mut expected = vec![0.0; rows * rows];
        add_products(&mut expected, &panels, &panels);
        let sums = |add: &dyn Fn(Products<'_, f32>)| {
            let mut target = vec![0.0; rows * rows];
            let (left, right) = (&panels, &panels);
            add(Products { target: &mut target, stride: rows, left, rows: 0..left.panels(), right, lower: false });
            target
        };
        // One number at a time, and there products may be rounded before they are added.
        let plain = sums(&|products| Simd::vectorize(pulp::Scalar, products));
        assert!(plain.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
        #[cfg(target_arch = "x86_64")]
        if let Some(half_as_wide) = pulp::x86::V3::try_new() {
            assert_eq!(sums(&|products| Simd::vectorize(half_as_wide, products)), expected);
        }
    }
}
