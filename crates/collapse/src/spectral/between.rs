//! The spectrum of the between-class covariance, and its truncated inverse.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use super::eigen::{eigen, parallelism};
use crate::between::Between;
use crate::convention::Truncation;
use crate::{Error, Result};

impl Between {
    /// Blocks of the rows √w_c (μ_c − μ_G), row-major. Σ_B is the sum of AᵀA over the blocks A.
    pub(crate) fn scaled(&self) -> impl Iterator<Item = Vec<f64>> {
        const ROWS: usize = 256;
        let blocks = self.centred.chunks(ROWS * self.width).zip(self.weights.chunks(ROWS));
        blocks.map(move |(rows, weights)| {
            let mut scaled = Vec::with_capacity(rows.len());
            for (row, weight) in rows.chunks_exact(self.width).zip(weights) {
                let scale = weight.sqrt();
                scaled.extend(row.iter().map(|value| scale * value));
            }
            scaled
        })
    }

    /// The eigenvalues of Σ_B that the truncation keeps, descending, and their unit eigenvectors as columns [width, rank].
    ///
    /// With fewer classes than features the K×K Gram matrix is decomposed instead of the p×p covariance: its non-zero
    /// spectrum is the same.
    pub(crate) fn spectrum(&self, operation: &'static str, truncation: Truncation) -> Result<(Vec<f64>, Mat<f64>)> {
        let (count, width) = (self.classes.len(), self.width);
        let (values, kept) = self.decomposition(operation, truncation)?;
        if count > width {
            return Ok((values, kept));
        }
        let rows = MatRef::from_row_major_slice(&self.centred, count, width);
        let mut basis = Mat::<f64>::zeros(width, values.len());
        matmul(basis.as_mut(), Accum::Replace, rows.transpose(), kept.as_ref(), 1.0, parallelism(count.min(width)));
        Ok((values, basis))
    }

    /// The same eigenvalues, and for each eigenvector q the coefficients of the rows μ_c − μ_G of which it is the sum, as columns
    /// [classes, rank]; the eigenvectors themselves with more classes than features.
    pub(crate) fn decomposition(
        &self,
        operation: &'static str,
        truncation: Truncation,
    ) -> Result<(Vec<f64>, Mat<f64>)> {
        let (count, width) = (self.classes.len(), self.width);
        let rows = MatRef::from_row_major_slice(&self.centred, count, width);
        let roots: Vec<f64> = self.weights.iter().map(|weight| weight.sqrt()).collect();
        let mut gram = Mat::<f64>::zeros(count.min(width), count.min(width));
        let par = parallelism(gram.nrows());
        if count <= width {
            matmul(gram.as_mut(), Accum::Replace, rows, rows.transpose(), 1.0, par);
            (0..count).for_each(|j| (0..count).for_each(|i| gram[(i, j)] *= roots[i] * roots[j]));
        } else {
            for rows in self.scaled() {
                let rows = MatRef::from_row_major_slice(&rows, rows.len() / width, width);
                matmul(gram.as_mut(), Accum::Add, rows.transpose(), rows, 1.0, par);
            }
        }
        let (mut values, vectors) = eigen(operation, gram.as_ref())?;
        drop(gram);
        let largest = values.first().copied().unwrap_or(0.0);
        if largest <= 0.0 {
            return Err(Error::Vanishing { operation, what: "the between-class covariance" });
        }
        values.truncate(width.min(self.rank));
        match truncation {
            Truncation::Relative(share) => values.retain(|&value| value > share * largest),
            Truncation::Rank => {
                if values.iter().any(|&value| value <= 0.0) {
                    return Err(Error::Vanishing { operation, what: "an eigenvalue within the truncation rank" });
                }
            }
        }
        let mut kept = vectors.subcols(0, values.len()).to_owned();
        if count <= width {
            for (column, value) in values.iter().enumerate() {
                let scale = 1.0 / value.sqrt();
                (0..count).for_each(|row| kept[(row, column)] *= scale * roots[row]);
            }
        }
        Ok((values, kept))
    }
}

/// tr(Bᵀ S B · diag(1/λ)) for a symmetric row-major S with a valid lower triangle, strip by strip of its rows.
///
/// Row i is read at columns j ≤ i only; entries left of the diagonal block are counted twice.
pub(crate) fn weighted_trace(products: &[f64], width: usize, basis: MatRef<'_, f64>, values: &[f64]) -> f64 {
    const STRIP: usize = 256;
    let strips = products.par_chunks(STRIP * width).enumerate().map(|(index, strip)| {
        let (first, height) = (index * STRIP, strip.len() / width);
        let rows = MatRef::from_row_major_slice(strip, height, width);
        let block = Mat::from_fn(height, height, |i, j| rows[(i.max(j), first + i.min(j))]);
        let mut image = Mat::<f64>::zeros(height, basis.ncols());
        matmul(image.as_mut(), Accum::Replace, block.as_ref(), basis.subrows(first, height), 1.0, Par::Seq);
        matmul(image.as_mut(), Accum::Add, rows.subcols(0, first), basis.subrows(0, first), 2.0, Par::Seq);
        let dot =
            |column: usize| (0..height).map(|row| image[(row, column)] * basis[(first + row, column)]).sum::<f64>();
        values.iter().enumerate().map(|(column, value)| dot(column) / value).sum::<f64>()
    });
    // Collected before the sum, so that its order does not depend on the threads.
    strips.collect::<Vec<f64>>().into_iter().sum()
}
