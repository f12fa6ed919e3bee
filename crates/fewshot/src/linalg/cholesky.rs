//! Cholesky factorisation of small positive definite matrices.

use super::dot;
use crate::{Error, Result};

/// The factor L of a symmetric positive definite matrix A = L Lᵀ.
pub(crate) struct Cholesky {
    lower: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// Factorises a matrix, of which the lower triangle is read. Errors name `operation`.
    pub(crate) fn new(mut matrix: Vec<f64>, size: usize, operation: &'static str) -> Result<Self> {
        for i in 0..size {
            let (above, rest) = matrix.split_at_mut(i * size);
            let row = &mut rest[..size];
            for j in 0..i {
                let factor = &above[j * size..][..=j];
                row[j] = (row[j] - dot(&row[..j], &factor[..j])) / factor[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            // A pivot below the rounding error counts as zero; NaN is refused too.
            let threshold = row[i].abs() * f64::EPSILON * size as f64;
            if pivot.is_nan() || pivot <= threshold {
                return Err(Error::NotPositiveDefinite { operation, size, pivot: i });
            }
            row[i] = pivot.sqrt();
        }
        Ok(Self { lower: matrix, size })
    }

    /// Solves A x = b in place.
    pub(crate) fn solve(&self, b: &mut [f64]) {
        let size = self.size;
        for i in 0..size {
            let row = &self.lower[i * size..][..size];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        // Solves Lᵀ x = y column by column; columns of Lᵀ are rows of L.
        for i in (0..size).rev() {
            let row = &self.lower[i * size..][..size];
            b[i] /= row[i];
            let value = b[i];
            b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= l * value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_worked_system_is_solved() -> Result<()> {
        // [[4, 2], [2, 5]] x = [8, 12]  ⇒  x = [1, 2]; L = [[2, 0], [1, 2]].
        let cholesky = Cholesky::new(vec![4.0, 2.0, 2.0, 5.0], 2, "test")?;
        assert_eq!((cholesky.lower[0], cholesky.lower[2], cholesky.lower[3]), (2.0, 1.0, 2.0));
        let mut b = [8.0, 12.0];
        cholesky.solve(&mut b);
        assert_eq!(b, [1.0, 2.0]);
        Ok(())
    }

    #[test]
    fn singular_and_indefinite_matrices_are_refused() {
        for matrix in [vec![1.0, 1.0, 1.0, 1.0], vec![1.0, 2.0, 2.0, 1.0], vec![f64::NAN, 0.0, 0.0, 1.0]] {
            assert!(matches!(Cholesky::new(matrix, 2, "test"), Err(Error::NotPositiveDefinite { .. })));
        }
    }
}
