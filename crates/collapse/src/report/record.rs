//! The record of a report: every measure as a number, with conventions, counts, and the reasons of those that are undefined.

use serde::{Deserialize, Serialize};

use super::head_measures::HeadReport;
use super::measures::{
    CdnvMeasures, Counts, DistanceAndVariance, GeometricMeasures, NearestMeanMeasures, SimplexMeasures,
    VariabilityMeasures,
};
use crate::Result;
use crate::convention::Weighting;

/// A measure that is undefined for these data, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefined {
    /// The measure that is `None`, by its name in JSON.
    pub measure: String,
    /// The error's message.
    pub reason: String,
}

impl Undefined {
    /// The measure with this name in JSON, and the reason why it has no value.
    pub fn new(measure: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { measure: measure.into(), reason: reason.into() }
    }
}

/// All measures of one set of labelled features, with their conventions and counts. A measure that is undefined for
/// these data is `None`, and `undefined` gives the reason.
///
/// Classes of one sample are left out of all sums, together with their samples: every measure is the same as if these
/// samples had not been given. Only the measures of a head alone (its simplex geometry and NC0) and `bias_collapse`
/// use all rows of the head.
///
/// In JSON all measures are on one level, such as `cdnv`, `cdnv_std_error` and `head_etf_error`. The docs of a field give its
/// name in JSON where it is another one.
///
/// ```
/// use collapse::{CollapseReport, ReportOptions, report_slice};
/// let report = report_slice(&[-1.0f64, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &ReportOptions::default())?;
/// let json = serde_json::to_value(&report)?;
/// assert_eq!((json["samples"].as_u64(), json["cdnv"].as_f64()), (Some(4), Some(report.cdnv.mean)));
/// let restored: CollapseReport = serde_json::from_value(json)?;
/// assert_eq!(restored, report);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CollapseReport {
    /// Samples, features and classes.
    #[serde(flatten)]
    pub counts: Counts,
    /// Weighting of the measures that have one.
    pub weighting: Weighting,
    /// CDNV over the pairs of classes: the NC of the paper.
    #[serde(flatten)]
    pub cdnv: CdnvMeasures,
    /// The two factors of CDNV.
    #[serde(flatten)]
    pub factors: DistanceAndVariance,
    /// Geometric collapse.
    #[serde(flatten)]
    pub geometric: GeometricMeasures,
    /// NC1: within-class against between-class scatter.
    #[serde(flatten)]
    pub variability: VariabilityMeasures,
    /// RankMe of the features, uncentred, sample-weighted. It needs the crate feature `faer`.
    pub rank_me: Option<f64>,
    /// NC2: class means against a simplex.
    #[serde(flatten)]
    pub simplex: SimplexMeasures,
    /// The nearest-mean rule.
    #[serde(flatten)]
    pub nearest_mean: NearestMeanMeasures,
    /// NC3, NC4, and the other measures of a head.
    #[serde(flatten)]
    pub head: Option<HeadReport>,
    /// Measures that are undefined for these data, with the reasons.
    pub undefined: Vec<Undefined>,
}

/// The measures found to be undefined so far.
#[derive(Default)]
pub(super) struct Gaps(pub(super) Vec<Undefined>);

impl Gaps {
    pub(super) fn keep<T>(&mut self, measure: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(Undefined { measure: measure.into(), reason: error.to_string() })).ok()
    }
}
