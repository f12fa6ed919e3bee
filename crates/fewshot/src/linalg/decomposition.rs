//! Eigenvectors and singular values by faer on one thread, so results do not depend on the number of threads.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef, Par};

use crate::{Error, Result};

/// A = Σⱼ `values[j]` vⱼ vⱼᵀ with vⱼ = `vectors[j*size..][..size]`.
pub(crate) struct Eigen {
    pub(crate) values: Vec<f64>,
    pub(crate) vectors: Vec<f64>,
}

/// Eigenvalues, ascending, and eigenvectors of a symmetric matrix.
pub(crate) fn eigen(matrix: &[f64], size: usize, operation: &'static str) -> Result<Eigen> {
    let matrix = MatRef::from_row_major_slice(matrix, size, size);
    let mut values = faer::diag::Diag::zeros(size);
    let mut vectors = Mat::zeros(size, size);
    let scratch = self_adjoint_evd_scratch::<f64>(size, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    self_adjoint_evd(
        matrix,
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| Error::Decomposition { operation, rows: size, columns: size })?;
    Ok(Eigen {
        values: finite(&values).ok_or(Error::Decomposition { operation, rows: size, columns: size })?,
        vectors: vectors.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<_>>()).collect(),
    })
}

/// Singular values, descending, and left singular vectors uⱼ = `vectors[j*rows..][..rows]` (thin decomposition).
pub(crate) fn singular_values(matrix: &[f64], rows: usize, columns: usize, operation: &'static str) -> Result<Eigen> {
    let matrix = MatRef::from_row_major_slice(matrix, rows, columns);
    let rank = rows.min(columns);
    let mut values = faer::diag::Diag::zeros(rank);
    let (mut left, mut right) = (Mat::zeros(rows, rank), Mat::zeros(columns, rank));
    let thin = ComputeSvdVectors::Thin;
    let scratch = svd_scratch::<f64>(rows, columns, thin, thin, Par::Seq, Default::default());
    svd(
        matrix,
        values.as_mut(),
        Some(left.as_mut()),
        Some(right.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| Error::Decomposition { operation, rows, columns })?;
    Ok(Eigen {
        values: finite(&values).ok_or(Error::Decomposition { operation, rows, columns })?,
        vectors: left.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<_>>()).collect(),
    })
}

/// The values; none where one is NaN or infinite, which some decompositions return without convergence.
fn finite(values: &faer::diag::Diag<f64>) -> Option<Vec<f64>> {
    let values: Vec<f64> = values.column_vector().iter().copied().collect();
    values.iter().all(|value| value.is_finite()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_with_a_nan_does_not_converge() {
        for size in [3, 60] {
            let mut matrix = vec![1.0; size * size];
            matrix[size] = f64::NAN;
            let failed = eigen(&matrix, size, "test");
            assert!(
                matches!(failed, Err(Error::Decomposition { operation: "test", rows, columns }) if rows == size && columns == size)
            );
            let failed = singular_values(&matrix, size, size, "test");
            assert!(matches!(failed, Err(Error::Decomposition { operation: "test", .. })));
        }
    }

    #[test]
    fn a_hand_worked_matrix_is_decomposed() -> Result<()> {
        // [[2, 1], [1, 2]] has the eigenvalues 1 and 3 with vectors (1, −1)/√2 and (1, 1)/√2.
        let found = eigen(&[2.0, 1.0, 1.0, 2.0], 2, "test")?;
        assert!((found.values[0] - 1.0).abs() < 1e-14 && (found.values[1] - 3.0).abs() < 1e-14);
        assert!((found.vectors[0] + found.vectors[1]).abs() < 1e-14);
        assert!((found.vectors[2] - found.vectors[3]).abs() < 1e-14);
        Ok(())
    }

    #[test]
    fn singular_values_of_a_tall_matrix() -> Result<()> {
        // Columns (3, 0, 0) and (0, 0, 4): singular values 4 and 3, left vectors ±e₃ and ±e₁.
        let found = singular_values(&[3.0, 0.0, 0.0, 0.0, 0.0, 4.0], 3, 2, "test")?;
        assert!((found.values[0] - 4.0).abs() < 1e-14 && (found.values[1] - 3.0).abs() < 1e-14);
        assert!((found.vectors[2].abs() - 1.0).abs() < 1e-14 && (found.vectors[3].abs() - 1.0).abs() < 1e-14);
        Ok(())
    }
}
