//! Dense symmetric eigenproblems in f64, by faer, with a fixed split over threads so that the bits never change.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Diag, Mat, MatRef, Par};

use crate::{Error, Result};

/// Parts into which faer splits its work; a constant, because its sums depend on it.
const PARTS: usize = 2;
/// Orders below which splitting costs more than it brings.
const SERIAL: usize = 256;

pub(crate) fn parallelism(size: usize) -> Par {
    if size < SERIAL { Par::Seq } else { Par::rayon(PARTS) }
}

/// Eigenvalues, descending, and optionally eigenvectors (columns in the same order) of a symmetric matrix of which
/// the lower triangle is read.
pub(crate) fn eigen(
    operation: &'static str,
    matrix: MatRef<'_, f64>,
    vectors: bool,
) -> Result<(Vec<f64>, Option<Mat<f64>>)> {
    let size = matrix.nrows();
    let par = parallelism(size);
    let mut values = Diag::<f64>::zeros(size);
    let mut basis = vectors.then(|| Mat::<f64>::zeros(size, size));
    let compute = if vectors { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let scratch = self_adjoint_evd_scratch::<f64>(size, compute, par, Default::default());
    self_adjoint_evd(
        matrix,
        values.as_mut(),
        basis.as_mut().map(|basis| basis.as_mut()),
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| Error::Decomposition { operation, size })?;
    let ascending: Vec<f64> = values.column_vector().iter().copied().collect();
    let basis = basis.map(|basis| Mat::from_fn(size, size, |row, column| basis[(row, size - 1 - column)]));
    Ok((ascending.into_iter().rev().collect(), basis))
}
