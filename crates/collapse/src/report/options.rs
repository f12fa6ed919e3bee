//! Options of a report.

use serde::{Deserialize, Serialize};

use crate::convention::{CdnvConvention, Precision, Truncation, Weighting};
use crate::memory;
use crate::{ClassMoments, Result, Scatter};

/// Options of a report: conventions, and geometric complexities.
///
/// ```
/// use collapse::{ReportOptions, Weighting};
/// let options = ReportOptions::default().with_weighting(Weighting::SampleWeighted).with_gc(2.5);
/// let restored: ReportOptions = serde_json::from_str(&serde_json::to_string(&options)?)?;
/// assert_eq!(restored, options);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReportOptions {
    pub(super) class_count: Option<usize>,
    pub(super) weighting: Weighting,
    pub(super) cdnv: CdnvConvention,
    pub(super) truncation: Truncation,
    pub(super) scatter: Scatter,
    pub(super) projected: bool,
    pub(super) precision: Precision,
    pub(super) memory_limit: Option<u64>,
    pub(super) gc_per_sample: Option<Vec<f64>>,
    pub(super) gc: Option<f64>,
    pub(super) gc_std_error: Option<f64>,
    pub(super) gc_per_class: Option<Vec<f64>>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            class_count: None,
            weighting: Weighting::default(),
            cdnv: CdnvConvention::default(),
            truncation: Truncation::default(),
            scatter: Scatter::Full,
            projected: false,
            precision: Precision::default(),
            memory_limit: None,
            gc_per_sample: None,
            gc: None,
            gc_std_error: None,
            gc_per_class: None,
        }
    }
}

impl ReportOptions {
    /// Sets the number of classes; by default it is the head's, or the largest label plus one.
    pub fn with_class_count(mut self, class_count: impl Into<Option<usize>>) -> Self {
        self.class_count = class_count.into();
        self
    }

    /// Sets the weighting of classes. CDNV and geometric collapse (always means over pairs of classes), VCI and RankMe
    /// (always sample-weighted) do not use it.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// Sets the convention of the CDNV.
    pub fn with_cdnv_convention(mut self, cdnv: CdnvConvention) -> Self {
        self.cdnv = cdnv;
        self
    }

    /// Sets the truncation of Σ_B⁺.
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Sets the scatter. [`Scatter::Full`] (default) also gives VCI and RankMe. It takes 2·p² numbers of memory.
    pub fn with_scatter(mut self, scatter: Scatter) -> Self {
        self.scatter = scatter;
        self
    }

    /// Takes NC1 from the K×K scatter of the samples' projections on the class means, which the second pass computes anyway.
    ///
    /// It sets [`Scatter::Trace`]: no p×p matrix is made, and there are no VCI and RankMe. All other measures are the same, NC1 to
    /// about 1e-5 of its value. The p×rank products of [`Scatter::Trace`] alone are not computed. Where there are more classes than
    /// features, or the eigenvalues of Σ_B spread over more than a factor of 10⁵, they are computed nevertheless.
    ///
    /// **Definition** with the rows μ_c − μ_G in M, Σ_B = MᵀDM and DMMᵀ = UΛU⁻¹, the projection of d on an eigenvector of Σ_B is a
    /// linear function of t = M d, so tr(Σ_W Σ_B⁺) is the trace of a product with the scatter of t.
    ///
    /// ```
    /// use collapse::{ReportOptions, report_slice};
    /// let (features, labels) = ([-1.0f64, 0.0, 1.0, 0.0, 0.0, 8.0, 0.0, 12.0], [0, 0, 1, 1]);
    /// let full = report_slice(&features, 2, &labels, None, &ReportOptions::default())?;
    /// let light = report_slice(&features, 2, &labels, None, &ReportOptions::default().with_projected_scatter())?;
    /// let (full, light) = (full.variability.nc1.unwrap(), light.variability.nc1.unwrap());
    /// assert!((light / full - 1.0).abs() < 1e-12);
    /// # Ok::<(), collapse::Error>(())
    /// ```
    pub fn with_projected_scatter(mut self) -> Self {
        self.projected = true;
        self.scatter = Scatter::Trace;
        self
    }

    /// Sets the precision in which deviations are multiplied.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Limits the memory beyond the input, in bytes. Without a limit, large sizes are compared with the available memory.
    pub fn with_memory_limit(mut self, memory_limit: impl Into<Option<u64>>) -> Self {
        self.memory_limit = memory_limit.into();
        self
    }

    /// Sets the geometric complexity of each sample `[n]`. It gives both geometric collapses and the Poincaré constant.
    pub fn with_gc_per_sample(mut self, gc_per_sample: impl Into<Option<Vec<f64>>>) -> Self {
        self.gc_per_sample = gc_per_sample.into();
        self
    }

    /// Sets the geometric complexity as one number; by default it is the mean of the per-sample values over the samples that
    /// take part.
    pub fn with_gc(mut self, gc: impl Into<Option<f64>>) -> Self {
        self.gc = gc.into();
        self
    }

    /// Sets the standard error of the geometric complexity; by default that of the mean of the per-sample values, or 0 without them.
    ///
    /// The standard errors of every geometric collapse are those of the class means and of this, taken as independent. It counts as an
    /// error of a factor that the complexities of all classes share, and is not used where only those of classes are given.
    ///
    /// ```
    /// use collapse::{ReportOptions, report_slice};
    /// let (features, labels) = ([-1.0f64, 1.0, 8.0, 12.0], [0, 0, 1, 1]);
    /// let error = |of_gc: f64| {
    ///     let options = ReportOptions::default().with_gc(2.0).with_gc_std_error(of_gc);
    ///     report_slice(&features, 1, &labels, None, &options).map(|report| report.geometric.mixture_std_error.unwrap())
    /// };
    /// // Geometric collapse is 2/d² = 0.02 here, of which an error of GC by half is 0.01.
    /// assert!((error(1.0)? - error(0.0)?.hypot(0.01)).abs() < 1e-15);
    /// # Ok::<(), collapse::Error>(())
    /// ```
    pub fn with_gc_std_error(mut self, gc_std_error: impl Into<Option<f64>>) -> Self {
        self.gc_std_error = gc_std_error.into();
        self
    }

    /// Sets the geometric complexity of each class `[K]`; by default these are the class means of the per-sample values.
    pub fn with_gc_per_class(mut self, gc_per_class: impl Into<Option<Vec<f64>>>) -> Self {
        self.gc_per_class = gc_per_class.into();
        self
    }

    /// An error when a scatter matrix and the copy of it that VCI needs exceed the memory.
    pub(super) fn require_scatter(&self, width: usize) -> Result<()> {
        if self.scatter() != Scatter::Full {
            return Ok(());
        }
        let bytes = (width as u128).pow(2) * 16;
        let request = memory::Request {
            operation: "report",
            what: format!("two {width}×{width} covariance matrices of {width} features"),
            total: bytes,
            added: bytes,
            avoid: "use ReportOptions::with_scatter(Scatter::Trace), which leaves out VCI and RankMe, or raise the limit",
        };
        request.check(self.memory_limit)
    }

    /// An error when copies of the class means (centred twice, and a basis of Σ_B) and the Gram matrix exceed the memory.
    pub(super) fn require_means(&self, moments: &ClassMoments) -> Result<()> {
        let (classes, width) = (moments.classes().len() as u128, moments.feature_count() as u128);
        let smaller = classes.min(width);
        let bytes = (4 * classes * width + 2 * smaller * smaller) * 8;
        let request = memory::Request {
            operation: "report",
            what: format!("four copies of {classes} class means of {width} features and their Gram matrix"),
            total: bytes,
            added: bytes,
            avoid: "measure fewer classes or features at a time, call the single measures, or raise the limit",
        };
        request.check(self.memory_limit)
    }

    /// The scatter that is accumulated. Without the feature `faer` nothing reads the full one.
    pub(super) fn scatter(&self) -> Scatter {
        if cfg!(feature = "faer") { self.scatter } else { Scatter::Trace }
    }
}
