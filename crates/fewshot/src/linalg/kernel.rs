//! Inner loops over feature rows: eight partial sums in f64, with the same bits on every machine.
//!
//! The loops are plain Rust. `pulp` dispatches to the widest vector unit at run time. Every sum has eight lanes and no
//! multiply-add is fused, so the vector width changes the speed and not the result.

use statistics::{Widen, row_sums, vectorized};

/// One row of features in its own precision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Row<'_> {
    pub(crate) fn to_vec(self) -> Vec<f64> {
        match self {
            Row::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Row::F64(values) => values.to_vec(),
        }
    }

    pub(crate) fn copy_to(self, target: &mut [f64]) {
        match self {
            Row::F32(values) => target.iter_mut().zip(values).for_each(|(to, &from)| *to = f64::from(from)),
            Row::F64(values) => target.copy_from_slice(values),
        }
    }

    /// Adds the row to `sum`.
    pub(crate) fn add_to(self, sum: &mut [f64]) {
        self.add_scaled_to(1.0, sum);
    }

    /// Adds `scale` times the row to `sum`.
    pub(crate) fn add_scaled_to(self, scale: f64, sum: &mut [f64]) {
        match self {
            Row::F32(row) => add_scaled(row, scale, sum),
            Row::F64(row) => add_scaled(row, scale, sum),
        }
    }
}

/// ⟨a, b⟩ of two rows of equal length.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut product = [0.0];
    dots(Row::F64(a), b, &mut product);
    product[0]
}

/// ⟨row, r⟩ for each row r of the matrix `rows`.
pub(crate) fn dots(row: Row<'_>, rows: &[f64], products: &mut [f64]) {
    match row {
        Row::F32(row) => row_sums(row, rows, products, product),
        Row::F64(row) => row_sums(row, rows, products, product),
    }
}

/// ‖row − r‖² for each row r of the matrix `rows`, from the differences themselves: nothing cancels.
pub(crate) fn squared_distances(row: Row<'_>, rows: &[f64], distances: &mut [f64]) {
    match row {
        Row::F32(row) => row_sums(row, rows, distances, squared_difference),
        Row::F64(row) => row_sums(row, rows, distances, squared_difference),
    }
}

#[inline(always)]
fn product(a: f64, b: f64) -> f64 {
    a * b
}

#[inline(always)]
fn squared_difference(a: f64, b: f64) -> f64 {
    (a - b) * (a - b)
}

/// Adds `scale` times the row to `sum`.
fn add_scaled<T: Widen>(row: &[T], scale: f64, sum: &mut [f64]) {
    vectorized(
        #[inline(always)]
        || {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += scale * value.widen();
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, purpose: &str) -> Vec<f64> {
        // Rounded to f32, so that both precisions hold the same numbers.
        let draws = streams::standard_normal(&mut streams::stream(3, purpose, 0), count);
        draws.iter().map(|&value| f64::from(value as f32)).collect()
    }

    #[test]
    fn every_length_and_number_of_rows_agrees_with_the_plain_sum() {
        for dimension in [1, 3, 7, 8, 9, 16, 31, 64] {
            for count in 1..10 {
                let row = numbers(dimension, "row");
                let narrow: Vec<f32> = row.iter().map(|&value| value as f32).collect();
                let rows = numbers(dimension * count, "rows");
                let (mut products, mut distances) = (vec![0.0; count], vec![0.0; count]);
                dots(Row::F64(&row), &rows, &mut products);
                squared_distances(Row::F64(&row), &rows, &mut distances);
                for (r, other) in rows.chunks_exact(dimension).enumerate() {
                    let product: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                    let distance: f64 = row.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum();
                    assert!((products[r] - product).abs() < 1e-13 * dimension as f64);
                    assert!((distances[r] - distance).abs() < 1e-13 * dimension as f64);
                }
                let wide = (products.clone(), distances.clone());
                dots(Row::F32(&narrow), &rows, &mut products);
                squared_distances(Row::F32(&narrow), &rows, &mut distances);
                assert_eq!(wide, (products, distances), "f32 rows give the same bits");
            }
        }
    }

    #[test]
    fn a_row_in_a_block_of_four_has_the_bits_of_a_single_row() {
        let (row, rows) = (numbers(37, "row"), numbers(37 * 5, "rows"));
        let mut together = [0.0; 5];
        dots(Row::F64(&row), &rows, &mut together);
        for (r, other) in rows.chunks_exact(37).enumerate() {
            assert_eq!(together[r], dot(&row, other));
        }
    }
}
