//! Ratios of the traces of the within-class and between-class covariances.

use serde::{Deserialize, Serialize};

use crate::between::Between;
use crate::convention::Weighting;
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
