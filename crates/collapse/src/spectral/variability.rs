//! NC1: within-class variability relative to the between-class covariance.

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::between::weighted_trace;
use crate::between::Between;
use crate::convention::{Singletons, Truncation, Weighting};
use crate::{ClassMoments, Error, Result};

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
/// **Conventions** as of [`crate::trace_ratio()`]. With unequal class counts the class-balanced Σ_W is not in the moments
/// (they pool the scatter of all classes): [`crate::report()`] takes it from a second pass.
///
/// **Errors** [`Error::ScatterNotHeld`], [`Error::TooFewClasses`], [`Error::Vanishing`], [`Error::Decomposition`].
///
/// **Source** V. Papyan, X. Han, D. Donoho, PNAS 2020 (arXiv 2008.08186). No standard error: see [`crate::TraceRatio`].
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
