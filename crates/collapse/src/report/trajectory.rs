//! Reports along training.

#[cfg(feature = "candle")]
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

#[cfg(feature = "candle")]
use super::report;
use super::{CollapseReport, ReportOptions, report_slice};
use crate::features::Element;
use crate::{Error, Head, Result};

/// Reports of one network at several steps of its training.
///
/// ```
/// use collapse::{ReportOptions, Trajectory};
/// let mut path = Trajectory::new(ReportOptions::default());
/// for (step, spread) in [(0, 2f32), (100, 1.0)] {
///     path.record_slice(step, &[-spread, spread, 8.0, 12.0], 1, &[0, 0, 1, 1], None)?;
/// }
/// let cdnv = path.series(|report| Some(report.cdnv.mean));
/// assert!(cdnv[0].0 == 0 && cdnv[1].1 < cdnv[0].1);
/// # Ok::<(), collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    options: ReportOptions,
    points: Vec<(u64, CollapseReport)>,
}

impl Trajectory {
    /// An empty trajectory. All its reports use these options.
    pub fn new(options: ReportOptions) -> Self {
        Self { options, points: Vec::new() }
    }

    /// Measures the features of one checkpoint and stores the report with its step.
    ///
    /// **Errors** as of [`crate::report()`]; [`Error::Incompatible`] when the number of features or classes differs from the
    /// earlier checkpoints.
    #[cfg(feature = "candle")]
    pub fn record(
        &mut self,
        step: u64,
        features: &Tensor,
        labels: &[u32],
        head: Option<&Head>,
    ) -> Result<&CollapseReport> {
        self.insert(step, report(features, labels, head, &self.options)?)
    }

    /// Measures a slice of whole rows of `feature_count` features and stores the report with its step.
    ///
    /// **Errors** as of [`crate::report_slice`], and [`Error::Incompatible`] when the number of features or classes differs from
    /// the earlier checkpoints.
    pub fn record_slice<E: Element>(
        &mut self,
        step: u64,
        features: &[E],
        feature_count: usize,
        labels: &[u32],
        head: Option<&Head>,
    ) -> Result<&CollapseReport> {
        self.insert(step, report_slice(features, feature_count, labels, head, &self.options)?)
    }

    /// Stores a report with its step. Steps are accepted in any order; a repeated step replaces the earlier report.
    ///
    /// **Errors** [`Error::Incompatible`] when the number of features or classes differs from the earlier checkpoints.
    ///
    /// ```
    /// use collapse::{ReportOptions, Trajectory, report_slice};
    /// let mut path = Trajectory::new(ReportOptions::default());
    /// let options = ReportOptions::default().with_gc(2.0);
    /// path.insert(5, report_slice(&[-1.0, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &options)?)?;
    /// let other = report_slice(&[-1.0, 1.0, 8.0, 12.0, 0.0, 1.0], 1, &[0, 0, 1, 1, 2, 2], None, &options)?;
    /// assert!(path.insert(9, other).is_err() && path.points().len() == 1);
    /// # Ok::<(), collapse::Error>(())
    /// ```
    pub fn insert(&mut self, step: u64, report: CollapseReport) -> Result<&CollapseReport> {
        let shape = |of: &CollapseReport| (of.counts.features, of.counts.classes, of.counts.missing_classes);
        if let Some((first, earlier)) = self.points.first().filter(|(_, earlier)| shape(earlier) != shape(&report)) {
            let describe =
                |of: &CollapseReport| format!("{} features, {} classes", of.counts.features, of.counts.classes);
            return Err(Error::Incompatible {
                operation: "trajectory of reports",
                what: "the checkpoints' features",
                left: format!("{} at step {first}", describe(earlier)),
                right: format!("{} at step {step}", describe(&report)),
            });
        }
        let at = match self.points.binary_search_by_key(&step, |point| point.0) {
            Ok(at) => {
                self.points[at].1 = report;
                at
            }
            Err(at) => {
                self.points.insert(at, (step, report));
                at
            }
        };
        Ok(&self.points[at].1)
    }

    /// All reports, in order of their steps.
    pub fn points(&self) -> &[(u64, CollapseReport)] {
        &self.points
    }

    /// One measure along training, at the steps where it is defined.
    pub fn series(&self, measure: impl Fn(&CollapseReport) -> Option<f64>) -> Vec<(u64, f64)> {
        self.points.iter().filter_map(|(step, report)| Some((*step, measure(report)?))).collect()
    }
}
