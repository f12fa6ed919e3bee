//! Linear algebra of heads and scores, in f64 and with a fixed order of operations.

mod cholesky;
#[cfg(feature = "faer")]
mod decomposition;
mod kernel;
mod shrunk_covariance;

pub(crate) use cholesky::Cholesky;
#[cfg(feature = "faer")]
pub(crate) use decomposition::{eigen, singular_values};
pub(crate) use kernel::{Row, dot, dots, squared_distances};
pub(crate) use shrunk_covariance::ShrunkCovariance;

/// The Gram matrix X Xᵀ [rows, rows] of the rows of X, each of length `dimension`.
pub(crate) fn gram(rows: &[f64], dimension: usize) -> Vec<f64> {
    let count = rows.len() / dimension;
    let mut gram = vec![0.0; count * count];
    for i in 0..count {
        let products = &mut gram[i * count..][..=i];
        dots(Row::F64(&rows[i * dimension..][..dimension]), &rows[..(i + 1) * dimension], products);
    }
    mirror_lower(&mut gram, count);
    gram
}

/// The scatter matrix Xᵀ X [dimension, dimension] of the rows of X.
pub(crate) fn scatter(rows: &[f64], dimension: usize) -> Vec<f64> {
    // XᵀX is the Gram matrix of the transpose.
    gram(&transpose(rows, dimension), rows.len() / dimension)
}

/// The transpose of a matrix with rows of length `dimension`.
pub(crate) fn transpose(rows: &[f64], dimension: usize) -> Vec<f64> {
    let count = rows.len() / dimension;
    let mut columns = vec![0.0; rows.len()];
    for (i, row) in rows.chunks_exact(dimension).enumerate() {
        for (j, &value) in row.iter().enumerate() {
            columns[j * count + i] = value;
        }
    }
    columns
}

/// Subtracts the mean row from every row, and returns the mean row.
pub(crate) fn centre(rows: &mut [f64], dimension: usize) -> Vec<f64> {
    let count = rows.len() / dimension;
    let mut mean = vec![0.0; dimension];
    for row in rows.chunks_exact(dimension) {
        Row::F64(row).add_to(&mut mean);
    }
    mean.iter_mut().for_each(|value| *value /= count as f64);
    for row in rows.chunks_exact_mut(dimension) {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
    }
    mean
}

fn mirror_lower(matrix: &mut [f64], size: usize) {
    for i in 0..size {
        for j in 0..i {
            matrix[j * size + i] = matrix[i * size + j];
        }
    }
}
