//! NC1, within-class against between-class variability: its forms, the signal-to-noise ratio and VCI.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::cholesky_in_place;
use faer::linalg::cholesky::llt::factor::cholesky_in_place_scratch;
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, MatMut, MatRef};
use serde::{Deserialize, Serialize};

use crate::between::{Between, weighted_trace};
use crate::convention::{Singletons, Truncation, Weighting};
use crate::memory;
use crate::products::add_scatter;
use crate::spectrum::{eigen, mirror, parallelism};
use crate::{ClassMoments, Error, Result};

/// Traces of the within-class and between-class covariances, and their ratios.
///
/// No standard error is given. From finite samples these are biased (the estimated means add Σ_c/n_c to Σ_B), and an
/// error bar without the bias would mislead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceRatio {
    /// tr Σ_W / tr Σ_B.
    pub ratio: f64,
    /// tr Σ_B / tr Σ_W, the signal-to-noise ratio; `None` when nothing varies within classes.
    pub signal_to_noise: Option<f64>,
    /// tr Σ_W / (tr Σ_W + tr Σ_B), the normalised within-class variance, in `[0, 1]`.
    pub within_share: f64,
    /// tr Σ_W.
    pub within: f64,
    /// tr Σ_B.
    pub between: f64,
    /// Weights of the classes.
    pub weighting: Weighting,
    /// Classes that took part: those of at least two samples.
    pub classes: usize,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Ratio of the traces of within-class and between-class covariance, in three forms.
///
/// **Definition** Σ_W = Σ w_c Σ_c and Σ_B = Σ w_c (μ_c − μ_G)(μ_c − μ_G)ᵀ over the classes of at least two samples,
/// with the weights of [`Weighting`]. Classes of one sample are left out of both, and of μ_G.
///
/// **Conventions** Class covariances have divisor n_c.
///
/// **Errors** [`Error::TooFewClasses`]; [`Error::Vanishing`] when all means coincide.
///
/// **Source** ratio: T. Tirer, H. Huang, J. Niles-Weed, ICML 2023; share: A. Rangamani et al., ICML 2023, Section 4.
///
/// ```
/// use collapse::{ClassMoments, Scatter, Weighting, trace_ratio};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// let traces = trace_ratio(&moments, Weighting::ClassBalanced)?;
/// assert_eq!((traces.within, traces.between, traces.ratio), (2.5, 25.0, 0.1));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn trace_ratio(moments: &ClassMoments, weighting: Weighting) -> Result<TraceRatio> {
    let operation = "trace ratio";
    let between = Between::new(operation, moments, weighting)?;
    let spread = between.trace();
    if spread <= 0.0 {
        return Err(Error::Vanishing { operation, what: "the between-class covariance" });
    }
    let within = between
        .classes
        .iter()
        .zip(&between.weights)
        .map(|(&class, weight)| weight * moments.square(class) / moments.count(class) as f64);
    let within: f64 = within.sum();
    Ok(TraceRatio {
        ratio: within / spread,
        signal_to_noise: (within > 0.0).then(|| spread / within),
        within_share: within / (within + spread),
        within,
        between: spread,
        weighting,
        classes: between.classes.len(),
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
    })
}

/// NC1: within-class variability relative to Σ_B.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Variability {
    /// tr(Σ_W Σ_B⁺)/K.
    pub nc1: f64,
    /// tr(Σ_W Σ_B⁺), without the division by the number of classes.
    pub trace: f64,
    /// Number of eigenvalues of Σ_B that were kept.
    pub rank: usize,
    /// The truncation of the inverse.
    pub truncation: Truncation,
    /// Weights of the classes.
    pub weighting: Weighting,
    /// Classes that took part, K: those of at least two samples.
    pub classes: usize,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Within-class variability relative to the between-class covariance (NC1).
///
/// **Definition** tr(Σ_W Σ_B⁺)/K, Σ_B⁺ the pseudoinverse truncated by [`Truncation`]; never negative.
///
/// **Conventions** as of [`trace_ratio`]. With unequal class counts the class-balanced Σ_W is not in the moments
/// (they pool the scatter of all classes): [`crate::report()`] takes it from a second pass.
///
/// **Errors** [`Error::ScatterNotHeld`], [`Error::TooFewClasses`], [`Error::Vanishing`], [`Error::Decomposition`].
///
/// **Source** V. Papyan, X. Han, D. Donoho, PNAS 2020 (arXiv 2008.08186). No standard error: see [`TraceRatio`].
///
/// ```
/// use collapse::{ClassMoments, Scatter, Truncation, Weighting, variability};
/// let mut moments = ClassMoments::new(2, 2, Scatter::Full);
/// // Class 0 at (0, ±1), class 1 at (4 ± 1, 0): Σ_W = diag(1/2, 1/2), Σ_B = diag(4, 0).
/// moments.update_slice(&[0.0f64, 1.0, 0.0, -1.0, 3.0, 0.0, 5.0, 0.0], &[0, 0, 1, 1])?;
/// let variability = variability(&moments, Weighting::ClassBalanced, Truncation::default())?;
/// assert!((variability.nc1 - 0.5 / 4.0 / 2.0).abs() < 1e-15);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn variability(moments: &ClassMoments, weighting: Weighting, truncation: Truncation) -> Result<Variability> {
    let operation = "within-class variability";
    let products = pooled(operation, moments, weighting)?;
    let between = Between::new(operation, moments, weighting)?;
    let spectrum = between.spectrum(operation, truncation)?;
    variability_with(moments, truncation, &between, &spectrum, products)
}

/// NC1 from a known spectrum of Σ_B.
pub(crate) fn variability_with(
    moments: &ClassMoments,
    truncation: Truncation,
    between: &Between,
    (values, basis): &(Vec<f64>, Mat<f64>),
    products: &[f64],
) -> Result<Variability> {
    let trace = weighted_trace(products, between.width, basis.as_ref(), values) / moments.measured_samples() as f64;
    Ok(Variability::new(trace, values.len(), truncation, between, moments))
}

impl Variability {
    pub(crate) fn new(
        trace: f64,
        rank: usize,
        truncation: Truncation,
        between: &Between,
        moments: &ClassMoments,
    ) -> Self {
        let classes = between.classes.len();
        // The quantity is a sum of squares; rounding may make it slightly negative.
        let trace = trace.max(0.0);
        Self {
            nc1: trace / classes as f64,
            trace,
            rank,
            truncation,
            weighting: between.weighting,
            classes,
            singleton_classes: moments.singleton_count(),
            samples: moments.measured_samples(),
        }
    }
}

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
/// **Errors** [`Error::Singular`] where Σ_T is singular, and as of [`variability`].
///
/// **Source** J. Xu, H. Liu, ICML 2023 (arXiv 2306.03440). No standard error: see [`TraceRatio`].
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

/// The pooled scatter, if Σ_W in this weighting is a multiple of it.
pub(crate) fn pooled<'a>(
    operation: &'static str,
    moments: &'a ClassMoments,
    weighting: Weighting,
) -> Result<&'a [f64]> {
    moments.two_classes_with(operation, Singletons::LeftOut)?;
    let products = moments.products().ok_or(Error::ScatterNotHeld {
        operation,
        reason: "these moments hold variances only; accumulate them with Scatter::Full",
    })?;
    if weighting == Weighting::ClassBalanced && !equal_counts(moments) {
        return Err(Error::ScatterNotHeld {
            operation,
            reason: "class counts differ, and the pooled scatter is sample-weighted; use Weighting::SampleWeighted, or \
                     report(), which weights classes in a second pass",
        });
    }
    Ok(products)
}

/// Whether all classes of at least two samples have the same number of samples.
pub(crate) fn equal_counts(moments: &ClassMoments) -> bool {
    let mut counts = moments.counts().iter().filter(|&&count| count > 1);
    let first = counts.next();
    counts.all(|count| Some(count) == first)
}
