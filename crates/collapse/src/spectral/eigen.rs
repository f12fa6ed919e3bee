//! Dense symmetric eigenproblems in f64, by faer. The split over threads is fixed, so the bits do not depend on it.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::tridiag::{tridiag_in_place, tridiag_in_place_scratch};
use faer::linalg::evd::{
    ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch, tridiagonal_self_adjoint_evd,
};
use faer::{Mat, MatMut, MatRef, Par};

use crate::{Error, Result};

/// Parts into which faer splits its work; a constant, because its sums depend on it.
const PARTS: usize = 2;
/// Below this order a split takes more time than it saves.
const SERIAL: usize = 256;

pub(crate) fn parallelism(size: usize) -> Par {
    if size < SERIAL { Par::Seq } else { Par::rayon(PARTS) }
}

/// Eigenvalues, descending, of the symmetric matrix whose row-major lower triangle `matrix` holds. The matrix is
/// overwritten, and nothing of its size is allocated.
pub(crate) fn eigenvalues_in_place(operation: &'static str, matrix: &mut [f64], size: usize) -> Result<Vec<f64>> {
    const BLOCK: usize = 32;
    mirror(matrix, size);
    let par = parallelism(size);
    let mut matrix = MatMut::from_column_major_slice_mut(matrix, size, size);
    let mut reflectors = Mat::<f64>::zeros(BLOCK.min(size.max(1)), size.saturating_sub(1));
    // This is enough for the eigenvalues of the tridiagonal matrix too, which need two vectors.
    let memory = &mut MemBuffer::new(tridiag_in_place_scratch::<f64>(size, par, Default::default()));
    tridiag_in_place(matrix.as_mut(), reflectors.as_mut(), par, MemStack::new(memory), Default::default());
    let (mut diagonal, mut below, mut values) =
        (Diag::<f64>::zeros(size), Diag::<f64>::zeros(size), Diag::<f64>::zeros(size));
    for at in 0..size {
        diagonal.column_vector_mut()[at] = matrix[(at, at)];
        if at + 1 < size {
            below.column_vector_mut()[at] = matrix[(at + 1, at)];
        }
    }
    let (stack, params) = (MemStack::new(memory), Default::default());
    tridiagonal_self_adjoint_evd(diagonal.as_ref(), below.as_ref(), values.as_mut(), None, par, stack, params)
        .map_err(|_| Error::Decomposition { operation, size })?;
    descending(operation, &values, size)
}

/// Eigenvalues, descending, and unit eigenvectors, as columns in the same order, of a symmetric matrix of which the
/// lower triangle is read.
pub(crate) fn eigen(operation: &'static str, matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let size = matrix.nrows();
    let par = parallelism(size);
    let mut vectors = Mat::<f64>::zeros(size, size);
    let mut values = Diag::<f64>::zeros(size);
    let scratch = self_adjoint_evd_scratch::<f64>(size, ComputeEigenvectors::Yes, par, Default::default());
    let memory = &mut MemBuffer::new(scratch);
    let (stack, params) = (MemStack::new(memory), Default::default());
    self_adjoint_evd(matrix, values.as_mut(), Some(vectors.as_mut()), par, stack, params)
        .map_err(|_| Error::Decomposition { operation, size })?;
    // faer sorts ascending; the columns are swapped in place.
    for left in 0..size / 2 {
        let (head, tail) = vectors.as_mut().split_at_col_mut(size - 1 - left);
        head.col_mut(left).iter_mut().zip(tail.col_mut(0).iter_mut()).for_each(|(a, b)| std::mem::swap(a, b));
    }
    Ok((descending(operation, &values, size)?, vectors))
}

/// Eigenvalues in descending order; an error when one is not finite, as for a matrix with a NaN.
fn descending(operation: &'static str, values: &Diag<f64>, size: usize) -> Result<Vec<f64>> {
    let values: Vec<f64> = values.column_vector().iter().rev().copied().collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(Error::Decomposition { operation, size })
    }
}

/// Copies the lower triangle of a square row-major matrix to the upper one, in blocks that fit the cache.
pub(crate) fn mirror(matrix: &mut [f64], size: usize) {
    const BLOCK: usize = 64;
    for first in (0..size).step_by(BLOCK) {
        for left in (0..=first).step_by(BLOCK) {
            for row in first..size.min(first + BLOCK) {
                for column in left..row.min(left + BLOCK) {
                    matrix[column * size + row] = matrix[row * size + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenpairs_are_sorted_descending_and_rebuild_the_matrix() {
        for size in [1, 2, 5, 300] {
            let draws =
                streams::standard_normal(&mut streams::stream(3, "collapse/tests/eigen", size as u64), size * size);
            let matrix = Mat::from_fn(size, size, |i, j| draws[i.max(j) * size + i.min(j)]);
            let (values, vectors) = eigen("test", matrix.as_ref()).unwrap();
            assert!(values.is_sorted_by(|a, b| a >= b));
            for (i, j) in [(0, 0), (size - 1, 0), (size / 2, size / 3)] {
                let rebuilt: f64 = (0..size).map(|k| values[k] * vectors[(i, k)] * vectors[(j, k)]).sum();
                assert!((rebuilt - matrix[(i, j)]).abs() < 1e-11 * size as f64);
            }
            let mut rows: Vec<f64> = (0..size * size)
                .map(|at| if at % size <= at / size { matrix[(at / size, at % size)] } else { 7.0 })
                .collect();
            let alone = eigenvalues_in_place("test", &mut rows, size).unwrap();
            assert!(alone.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-11 * size as f64));
        }
    }

    #[test]
    fn a_matrix_with_a_nan_is_an_error() {
        for size in [3, 80] {
            let mut rows = vec![1.0; size * size];
            rows[size] = f64::NAN;
            let matrix = MatRef::from_row_major_slice(&rows, size, size).to_owned();
            let failed = eigen("test", matrix.as_ref());
            assert!(matches!(failed, Err(Error::Decomposition { operation: "test", size: of }) if of == size));
            let failed = eigenvalues_in_place("test", &mut rows, size);
            assert!(matches!(failed, Err(Error::Decomposition { operation: "test", size: of }) if of == size));
        }
    }
}
