//! Dense symmetric eigenproblems in f64, by faer, with a fixed split over threads so that the bits never change.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, MatMut, MatRef, Par};

use crate::{Error, Result};

/// Parts into which faer splits its work; a constant, because its sums depend on it.
const PARTS: usize = 2;
/// Orders below which splitting costs more than it brings.
const SERIAL: usize = 256;

pub(crate) fn parallelism(size: usize) -> Par {
    if size < SERIAL { Par::Seq } else { Par::rayon(PARTS) }
}

/// Eigenvalues, descending, of a symmetric matrix of which the lower triangle is read.
pub(crate) fn eigenvalues(operation: &'static str, matrix: MatRef<'_, f64>) -> Result<Vec<f64>> {
    decompose(operation, matrix, None)
}

/// The same with unit eigenvectors, as columns in the same order.
pub(crate) fn eigen(operation: &'static str, matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let size = matrix.nrows();
    let mut vectors = Mat::<f64>::zeros(size, size);
    let values = decompose(operation, matrix, Some(vectors.as_mut()))?;
    // faer sorts ascending; the columns are swapped in place.
    for left in 0..size / 2 {
        let (head, tail) = vectors.as_mut().split_at_col_mut(size - 1 - left);
        head.col_mut(left).iter_mut().zip(tail.col_mut(0).iter_mut()).for_each(|(a, b)| std::mem::swap(a, b));
    }
    Ok((values, vectors))
}

fn decompose(operation: &'static str, matrix: MatRef<'_, f64>, vectors: Option<MatMut<'_, f64>>) -> Result<Vec<f64>> {
    let size = matrix.nrows();
    let par = parallelism(size);
    let mut values = Diag::<f64>::zeros(size);
    let compute = if vectors.is_some() { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let scratch = self_adjoint_evd_scratch::<f64>(size, compute, par, Default::default());
    let memory = &mut MemBuffer::new(scratch);
    self_adjoint_evd(matrix, values.as_mut(), vectors, par, MemStack::new(memory), Default::default())
        .map_err(|_| Error::Decomposition { operation, size })?;
    Ok(values.column_vector().iter().rev().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenpairs_come_largest_first_and_rebuild_the_matrix() {
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
            let alone = eigenvalues("test", matrix.as_ref()).unwrap();
            assert!(alone.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-11 * size as f64));
        }
    }
}
