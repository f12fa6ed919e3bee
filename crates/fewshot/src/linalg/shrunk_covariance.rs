//! A covariance shrunk towards a multiple of the identity; systems are solved in the smaller one of n and p.

use super::{Cholesky, Row, dot, dots, gram, scatter};
use crate::Result;

/// Σ = (1 − γ) S + γ (tr S / p) I with S = RᵀR/n of n centred rows R `[n, p]`.
pub(crate) struct ShrunkCovariance<'a> {
    rows: &'a [f64],
    dimension: usize,
    products: Vec<f64>,
    /// tr S / p.
    pub(crate) mean_variance: f64,
}

impl<'a> ShrunkCovariance<'a> {
    pub(crate) fn new(rows: &'a [f64], dimension: usize) -> Self {
        let samples = rows.len() / dimension;
        let products = if samples <= dimension { gram(rows, dimension) } else { scatter(rows, dimension) };
        let size = samples.min(dimension);
        let trace: f64 = (0..size).map(|i| products[i * size + i]).sum();
        Self { rows, dimension, products, mean_variance: trace / (samples * dimension) as f64 }
    }

    fn samples(&self) -> usize {
        self.rows.len() / self.dimension
    }

    /// The shrinkage γ with the least expected squared error, by Ledoit and Wolf (Journal of Multivariate Analysis,
    /// 2004), as scikit-learn's `ledoit_wolf_shrinkage` computes it: β/δ with pδ = ‖S‖² − (tr S)²/p and
    /// pβ = min(pδ, (Σᵢ ‖rᵢ‖⁴/n − ‖S‖²)/n).
    pub(crate) fn ledoit_wolf(&self) -> f64 {
        let (n, p) = (self.samples() as f64, self.dimension as f64);
        let squared_norm = dot(&self.products, &self.products) / (n * n);
        let fourth: f64 = self.rows.chunks_exact(self.dimension).map(|row| dot(row, row).powi(2)).sum();
        let spread = squared_norm - self.mean_variance.powi(2) * p;
        let noise = ((fourth / n - squared_norm) / n).clamp(0.0, spread.max(0.0));
        // Where all eigenvalues are equal, S equals its target and any γ gives the same Σ.
        if noise == 0.0 { 0.0 } else { noise / spread }
    }

    /// Replaces each row v of `vectors` by Σ⁻¹ v.
    pub(crate) fn solve(&self, shrinkage: f64, vectors: &mut [f64], operation: &'static str) -> Result<()> {
        let samples = self.samples();
        let (identity, share) = (shrinkage * self.mean_variance, (1.0 - shrinkage) / samples as f64);
        if samples > self.dimension || identity == 0.0 {
            return self.solve_primal(identity, share, vectors, operation);
        }
        if share == 0.0 {
            vectors.iter_mut().for_each(|value| *value /= identity);
            return Ok(());
        }
        // Woodbury: (aI + bRᵀR)⁻¹ v = (v − Rᵀ (a/b I + RRᵀ)⁻¹ R v)/a.
        let mut matrix = self.products.clone();
        (0..samples).for_each(|i| matrix[i * samples + i] += identity / share);
        let cholesky = Cholesky::new(matrix, samples, operation)?;
        let mut products = vec![0.0; samples];
        for vector in vectors.chunks_exact_mut(self.dimension) {
            dots(Row::F64(vector), self.rows, &mut products);
            cholesky.solve(&mut products);
            for (row, &weight) in self.rows.chunks_exact(self.dimension).zip(&products) {
                Row::F64(row).add_scaled_to(-weight, vector);
            }
            vector.iter_mut().for_each(|value| *value /= identity);
        }
        Ok(())
    }

    fn solve_primal(&self, identity: f64, share: f64, vectors: &mut [f64], operation: &'static str) -> Result<()> {
        let size = self.dimension;
        let mut matrix = if self.samples() <= size { scatter(self.rows, size) } else { self.products.clone() };
        matrix.iter_mut().for_each(|value| *value *= share);
        (0..size).for_each(|i| matrix[i * size + i] += identity);
        let cholesky = Cholesky::new(matrix, size, operation)?;
        vectors.chunks_exact_mut(size).for_each(|vector| cholesky.solve(vector));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::centre;

    #[test]
    fn primal_and_dual_solve_the_same_system() -> Result<()> {
        for (samples, dimension) in [(4, 9), (9, 4), (6, 6)] {
            let mut rows = streams::standard_normal(&mut streams::stream(1, "rows", 0), samples * dimension);
            centre(&mut rows, dimension);
            let covariance = ShrunkCovariance::new(&rows, dimension);
            for shrinkage in [0.1, 0.5, 1.0] {
                let right = streams::standard_normal(&mut streams::stream(2, "right", 0), dimension);
                let mut solved = right.clone();
                covariance.solve(shrinkage, &mut solved, "test")?;
                let identity = shrinkage * covariance.mean_variance;
                // Σ x, computed from the rows.
                let mut back: Vec<f64> = solved.iter().map(|value| identity * value).collect();
                for row in rows.chunks_exact(dimension) {
                    let weight = (1.0 - shrinkage) / samples as f64 * dot(row, &solved);
                    Row::F64(row).add_scaled_to(weight, &mut back);
                }
                back.iter().zip(&right).for_each(|(back, right)| assert!((back - right).abs() < 1e-12));
            }
        }
        Ok(())
    }

    #[test]
    fn unshrunk_rank_deficient_covariance_is_refused() {
        let rows = [1.0, 0.0, 0.0, -1.0, 0.0, 0.0];
        let covariance = ShrunkCovariance::new(&rows, 3);
        let refused = covariance.solve(0.0, &mut [1.0, 1.0, 1.0], "test");
        assert!(matches!(refused, Err(crate::Error::NotPositiveDefinite { .. })));
    }
}
