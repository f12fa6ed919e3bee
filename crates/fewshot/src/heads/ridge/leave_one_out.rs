//! Leave-one-out errors of ridge regression in closed form: one decomposition serves all penalties.

use super::{Bias, Design, PenaltyCandidate, PenaltyChoice, Products};
use crate::Result;
use crate::linalg::{Row, dot, eigen};

/// Chooses the candidate with the smallest leave-one-out error, and the largest λ in a tie.
///
/// For a linear smoother T̂ = H T, the leave-one-out residual of sample i is (tᵢ − t̂ᵢ)/(1 − Hᵢᵢ).
pub(super) fn choose(design: &Design, products: &Products, candidates: &[f64]) -> Result<PenaltyChoice> {
    let smoother = Smoother::new(design, products)?;
    let error = |&lambda| PenaltyCandidate { lambda, mean_squared_error: smoother.mean_squared_error(design, lambda) };
    let candidates: Vec<PenaltyCandidate> = candidates.iter().map(error).collect();
    let mut best = PenaltyCandidate { lambda: f64::NAN, mean_squared_error: f64::INFINITY };
    for &candidate in &candidates {
        if candidate.mean_squared_error <= best.mean_squared_error {
            best = candidate;
        }
    }
    Ok(PenaltyChoice { lambda: best.lambda, candidates })
}

/// The smoother H(λ) = [11ᵀ/s] + Σⱼ lⱼ/(lⱼ + λ) uⱼuⱼᵀ; the first term exists only with an unpenalised bias.
struct Smoother {
    /// The eigenvalues lⱼ.
    values: Vec<f64>,
    /// The eigenvectors uⱼ [rank, s].
    vectors: Vec<f64>,
    /// Whether the uⱼ (and 1/√s with an unpenalised bias) span ℝˢ.
    complete: bool,
}

impl Smoother {
    fn new(design: &Design, products: &Products) -> Result<Self> {
        const OPERATION: &str = "leave-one-out ridge";
        let samples = design.samples();
        if !products.dual {
            let found = eigen(&products.matrix, design.columns, OPERATION)?;
            return Ok(Self::from_features(design, found.values, &found.vectors));
        }
        match design.bias {
            Bias::Penalised => {
                let found = eigen(&products.matrix, samples, OPERATION)?;
                Ok(Self { values: found.values, vectors: found.vectors, complete: true })
            }
            // The centred Gram matrix has the null vector 1. Without it, 1 − H has no cancellation against the 1/s of
            // the bias.
            Bias::Free => {
                let reduced = helmert_both_sides(&products.matrix, samples);
                let found = eigen(&reduced, samples - 1, OPERATION)?;
                let vectors =
                    found.vectors.chunks_exact(samples - 1).flat_map(|u| helmert_combination(u, samples)).collect();
                Ok(Self { values: found.values, vectors, complete: true })
            }
        }
    }

    /// uⱼ = X vⱼ / √lⱼ from the eigenvectors vⱼ of the scatter matrix.
    fn from_features(design: &Design, values: Vec<f64>, directions: &[f64]) -> Self {
        let floor = values.iter().copied().fold(0.0, f64::max) * f64::EPSILON * design.columns as f64;
        let mut positive = Vec::new();
        let mut vectors = Vec::new();
        for (&value, direction) in values.iter().zip(directions.chunks_exact(design.columns)) {
            if value > floor {
                positive.push(value);
                let scale = value.sqrt();
                vectors.extend(design.features.chunks_exact(design.columns).map(|row| dot(row, direction) / scale));
            }
        }
        Self { values: positive, vectors, complete: false }
    }

    fn mean_squared_error(&self, design: &Design, lambda: f64) -> f64 {
        let samples = design.samples();
        let mut unfitted = self.unfitted_diagonal(design, lambda);
        // 1 − Hᵢᵢ > 0 for every λ > 0. Where rounding makes it 0 or less, a tiny divisor makes the error huge.
        unfitted.iter_mut().for_each(|value| *value = value.max(f64::MIN_POSITIVE));
        let mut total = 0.0;
        for targets in design.targets.chunks_exact(samples) {
            let residuals = self.residuals(targets, lambda);
            total += residuals.iter().zip(&unfitted).map(|(r, d)| (r / d).powi(2)).sum::<f64>();
        }
        total / design.targets.len() as f64
    }

    /// 1 − Hᵢᵢ of every sample i.
    fn unfitted_diagonal(&self, design: &Design, lambda: f64) -> Vec<f64> {
        let samples = design.samples();
        let bias_share = if design.bias == Bias::Free { 1.0 / samples as f64 } else { 0.0 };
        let mut diagonal = vec![if self.complete { 0.0 } else { 1.0 - bias_share }; samples];
        for (value, vector) in self.values.iter().zip(self.vectors.chunks_exact(samples)) {
            let value = value.max(0.0);
            let share = if self.complete { lambda / (value + lambda) } else { -value / (value + lambda) };
            diagonal.iter_mut().zip(vector).for_each(|(d, u)| *d += share * u * u);
        }
        diagonal
    }

    /// t − H t for the targets t of one class.
    fn residuals(&self, targets: &[f64], lambda: f64) -> Vec<f64> {
        let samples = targets.len();
        let mut residuals = if self.complete { vec![0.0; samples] } else { targets.to_vec() };
        for (value, vector) in self.values.iter().zip(self.vectors.chunks_exact(samples)) {
            let value = value.max(0.0);
            let share = if self.complete { lambda / (value + lambda) } else { -value / (value + lambda) };
            Row::F64(vector).add_scaled_to(share * dot(vector, targets), &mut residuals);
        }
        residuals
    }
}

/// QᵀK with the Helmert basis Q, whose columns hₖ (k = 1 … s−1) are orthonormal and orthogonal to 1: k entries
/// 1/√(k(k+1)), then −k/√(k(k+1)).
fn helmert_rows(rows: &[f64], samples: usize) -> Vec<f64> {
    let columns = rows.len() / samples;
    let mut sum = rows[..columns].to_vec();
    let mut out = Vec::with_capacity((samples - 1) * columns);
    for k in 1..samples {
        let row = &rows[k * columns..][..columns];
        let scale = ((k * (k + 1)) as f64).sqrt();
        out.extend(sum.iter().zip(row).map(|(sum, value)| (sum - k as f64 * value) / scale));
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    out
}

/// QᵀKQ with the Helmert basis Q.
fn helmert_both_sides(matrix: &[f64], samples: usize) -> Vec<f64> {
    let half = helmert_rows(matrix, samples);
    helmert_rows(&crate::linalg::transpose(&half, samples), samples)
}

/// Q u with the Helmert basis Q.
fn helmert_combination(coefficients: &[f64], samples: usize) -> Vec<f64> {
    let mut out = vec![0.0; samples];
    let mut sum = 0.0;
    for k in (1..samples).rev() {
        let scaled = coefficients[k - 1] / ((k * (k + 1)) as f64).sqrt();
        out[k] = sum - k as f64 * scaled;
        sum += scaled;
    }
    out[0] = sum;
    out
}
