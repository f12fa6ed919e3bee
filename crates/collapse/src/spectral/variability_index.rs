//! The variability collapse index (VCI).

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::cholesky_in_place;
use faer::linalg::cholesky::llt::factor::cholesky_in_place_scratch;
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatMut, MatRef};
use serde::{Deserialize, Serialize};

use super::eigen::{eigen, mirror, parallelism};
use super::variability::pooled;
use crate::between::Between;
use crate::convention::{Truncation, Weighting};
use crate::memory;
use crate::products::add_scatter;
use crate::{ClassMoments, Error, Result};

/// The variability collapse index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VariabilityIndex {
    /// 1 − tr(Σ_T⁺ Σ_B)/rank Σ_B, in `[0, 1]`; 0 is full collapse.
    pub vci: f64,
    /// Rank of Σ_B.
    pub rank: usize,
    /// Weights of the classes.
    pub weighting: Weighting,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Variability collapse index: one minus the share of the label variance that the best linear fit explains.
///
/// **Definition** 1 − tr(Σ_T⁻¹ Σ_B)/rank Σ_B, Σ_T = Σ_W + Σ_B. Invariant under invertible linear maps of the features.
///
/// **Conventions** Eigenvalues of Σ_T and Σ_B of at most 1e-10 of the largest count as zero. The index is undefined where
/// Σ_T is singular, as it always is with at most p samples: a linear fit then explains the labels exactly whatever the
/// features are. The definition is sample-weighted; the class-balanced form exists for equal counts only, where both
/// agree.
///
/// **Errors** [`Error::Singular`] where Σ_T is singular, and as of [`crate::variability()`].
///
/// **Source** J. Xu, H. Liu, ICML 2023 (arXiv 2306.03440). No standard error: see [`crate::TraceRatio`].
///
/// ```
/// use collapse::{ClassMoments, Scatter, Weighting, vci};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Full);
/// moments.update_slice(&[-1.0f64, 1.0, 9.0, 11.0], &[0, 0, 1, 1])?;
/// let index = vci(&moments, Weighting::SampleWeighted)?;
/// assert!((index.vci - (1.0 - 25.0 / 26.0)).abs() < 1e-14);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn vci(moments: &ClassMoments, weighting: Weighting) -> Result<VariabilityIndex> {
    let between = Between::new(INDEX, moments, weighting)?;
    let rank = between.spectrum(INDEX, Truncation::default())?.0.len();
    vci_with(moments, weighting, &between, rank)
}

const INDEX: &str = "variability collapse index";
const TOTAL: &str = "the total covariance";

/// VCI with a known rank of Σ_B.
pub(crate) fn vci_with(
    moments: &ClassMoments,
    weighting: Weighting,
    between: &Between,
    rank: usize,
) -> Result<VariabilityIndex> {
    let operation = INDEX;
    let products = pooled(operation, moments, weighting)?;
    let (samples, width) = (moments.measured_samples(), between.width);
    // Deviations from the global mean of N samples span at most N − 1 dimensions.
    let largest_rank = usize::try_from(samples.saturating_sub(1)).unwrap_or(usize::MAX);
    if largest_rank < width {
        return Err(Error::Singular { operation, what: TOTAL, rank: largest_rank, size: width });
    }
    let bytes = (width as u128).pow(2) * 8;
    let request = memory::Request {
        operation,
        what: format!("a copy of the scatter matrix of {width} features"),
        total: bytes,
        added: bytes,
        avoid: "use Scatter::Trace in a report, which leaves this index out, or fewer features",
    };
    request.check(None)?;
    let mut total = Total { products, between, samples: samples as f64, width, memory: Vec::new() };
    let fitted = match total.well_conditioned_fit() {
        Some(fitted) => fitted,
        None => total.fit_by_eigenvalues(operation)?,
    };
    let vci = (1.0 - fitted / rank as f64).clamp(0.0, 1.0);
    let singleton_classes = moments.singleton_count();
    Ok(VariabilityIndex { vci, rank, weighting, singleton_classes, samples })
}

/// Share of the largest eigenvalue below which an eigenvalue of Σ_T counts as zero.
const SINGULAR: f64 = 1e-10;

/// T = Σ_T, rebuilt in the same memory after a factor has overwritten it.
struct Total<'a> {
    products: &'a [f64],
    between: &'a Between,
    samples: f64,
    width: usize,
    memory: Vec<f64>,
}

impl Total<'_> {
    /// T = S/n + AᵀA, both triangles; the rows of A are the scaled class means.
    fn build(&mut self) {
        self.memory.clear();
        self.memory.extend(self.products.iter().map(|product| product / self.samples));
        self.between.scaled().for_each(|rows| add_scatter(&mut self.memory, self.width, &rows));
        mirror(&mut self.memory, self.width);
    }

    /// Replaces T by the Cholesky factor of T − `shift`·I; `None` if it has none.
    fn factor(&mut self, shift: f64) -> Option<()> {
        let (width, par) = (self.width, parallelism(self.width));
        (0..width).for_each(|at| self.memory[at * width + at] -= shift);
        let memory = &mut MemBuffer::new(cholesky_in_place_scratch::<f64>(width, par, Default::default()));
        let matrix = MatMut::from_column_major_slice_mut(&mut self.memory, width, width);
        cholesky_in_place(matrix, Default::default(), par, MemStack::new(memory), Default::default()).ok().map(|_| ())
    }

    /// tr(T⁻¹ AᵀA) by Cholesky, or `None` if an eigenvalue of T may count as zero. T − τI has a Cholesky factor only if
    /// the smallest eigenvalue of T is above τ, and the largest is at most tr T.
    fn well_conditioned_fit(&mut self) -> Option<f64> {
        let width = self.width;
        self.build();
        let trace: f64 = (0..width).map(|at| self.memory[at * width + at]).sum();
        self.factor(SINGULAR * trace)?;
        self.build();
        self.factor(0.0)?;
        let factor = MatRef::from_column_major_slice(&self.memory, width, width);
        let square = |mut rows: Vec<f64>| -> f64 {
            // Rows of A one after another are columns of Aᵀ.
            let classes = rows.len() / width;
            let image = MatMut::from_column_major_slice_mut(&mut rows, width, classes);
            solve_lower_triangular_in_place(factor, image, parallelism(width));
            rows.iter().map(|value| value * value).sum()
        };
        Some(self.between.scaled().map(square).sum())
    }

    /// tr(T⁻¹ AᵀA) by eigenvalues; an error if one of them counts as zero.
    fn fit_by_eigenvalues(&mut self, operation: &'static str) -> Result<f64> {
        let width = self.width;
        self.build();
        let (values, vectors) = eigen(operation, MatRef::from_column_major_slice(&self.memory, width, width))?;
        self.memory = Vec::new();
        let largest = values.first().copied().unwrap_or(0.0);
        let kept = values.iter().take_while(|&&value| value > SINGULAR * largest).count();
        if kept < width {
            return Err(Error::Singular { operation, what: TOTAL, rank: kept, size: width });
        }
        let share = |rows: Vec<f64>| -> f64 {
            let rows = MatRef::from_row_major_slice(&rows, rows.len() / width, width);
            let mut image = Mat::<f64>::zeros(rows.nrows(), kept);
            matmul(image.as_mut(), Accum::Replace, rows, vectors.subcols(0, kept), 1.0, parallelism(width));
            let square = |column: usize| image.col(column).iter().map(|value| value * value).sum::<f64>();
            (0..kept).map(|column| square(column) / values[column]).sum()
        };
        Ok(self.between.scaled().map(share).sum())
    }
}
