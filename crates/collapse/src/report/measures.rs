//! The parts of a report, one struct for each idea. In JSON the fields of all parts are on one level, under the names that
//! `rename` gives.

use serde::{Deserialize, Serialize};

use crate::ExcludedPairs;
use crate::convention::CdnvConvention;
use crate::quantiles::Quantiles;

/// Samples, features and classes of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Samples that took part: those of classes of at least two samples.
    pub samples: u64,
    /// Features p.
    pub features: usize,
    /// Classes that took part: those of at least two samples.
    pub classes: usize,
    /// Classes below the class count that have no samples.
    pub missing_classes: usize,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of classes of one sample, which are left out.
    #[serde(default)]
    pub left_out_samples: u64,
}

/// CDNV over the pairs of classes; see [`crate::cdnv()`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CdnvMeasures {
    /// Mean CDNV, the NC of the paper. JSON: `cdnv`.
    #[serde(rename = "cdnv")]
    pub mean: f64,
    /// Standard error of the mean CDNV over samples with fixed class counts: the linearized (infinitesimal jackknife) error
    /// of means and variances. `None` in forms other than the halved one with divisor n. JSON: `cdnv_std_error`.
    #[serde(rename = "cdnv_std_error")]
    pub std_error: Option<f64>,
    /// Mean over pairs of the CDNV from unbiased variances and squared distances (halved form); see
    /// [`crate::cdnv_unbiased()`]. JSON: `cdnv_unbiased`.
    #[serde(rename = "cdnv_unbiased", default)]
    pub unbiased: Option<f64>,
    /// Standard error of `unbiased`, linearized like `std_error`, with divisors n − 1. JSON: `cdnv_unbiased_std_error`.
    #[serde(rename = "cdnv_unbiased_std_error", default)]
    pub unbiased_std_error: Option<f64>,
    /// Largest CDNV over pairs. JSON: `cdnv_max`.
    #[serde(rename = "cdnv_max")]
    pub max: f64,
    /// Quantiles of the CDNV over pairs. JSON: `cdnv_quantiles`.
    #[serde(rename = "cdnv_quantiles")]
    pub quantiles: Quantiles,
    /// Convention of the CDNV. JSON: `cdnv_convention`.
    #[serde(rename = "cdnv_convention")]
    pub convention: CdnvConvention,
    /// Pairs averaged in the CDNV.
    pub pairs: u64,
    /// Pairs excluded from the CDNV.
    pub excluded_pairs: ExcludedPairs,
    /// CDNV with the variance along the axis between the two means only. JSON: `directional_cdnv`.
    #[serde(rename = "directional_cdnv")]
    pub directional: Option<f64>,
}

/// The two factors of CDNV: log NC ≈ log mean(1/d²) + log mean(Var), which is exact when all classes have the same variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DistanceAndVariance {
    /// Mean over pairs of 1/‖μ_i − μ_j‖².
    #[serde(default)]
    pub mean_inverse_squared_distance: Option<f64>,
    /// Standard error of the mean of 1/d² over samples.
    #[serde(default)]
    pub mean_inverse_squared_distance_std_error: Option<f64>,
    /// Mean over classes of Var_i (divisor n).
    #[serde(default)]
    pub mean_variance: Option<f64>,
}

/// Geometric collapse in both forms, plug-in and unbiased; see [`crate::geometric_collapse()`]. All are `None` without a
/// geometric complexity in the options.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeometricMeasures {
    /// Mixture form. JSON: `geometric_collapse`.
    #[serde(rename = "geometric_collapse")]
    pub mixture: Option<f64>,
    /// Standard error of the mixture form, from those of the class means and of GC, taken as independent. JSON:
    /// `geometric_collapse_std_error`.
    #[serde(rename = "geometric_collapse_std_error")]
    pub mixture_std_error: Option<f64>,
    /// Pairwise form. JSON: `pairwise_geometric_collapse`.
    #[serde(rename = "pairwise_geometric_collapse")]
    pub pairwise: Option<f64>,
    /// Standard error of the pairwise form, in the same way. JSON:
    /// `pairwise_geometric_collapse_std_error`.
    #[serde(rename = "pairwise_geometric_collapse_std_error")]
    pub pairwise_std_error: Option<f64>,
    /// Mixture form from unbiased squared distances; see [`crate::geometric_collapse_unbiased()`]. JSON:
    /// `geometric_collapse_unbiased`.
    #[serde(rename = "geometric_collapse_unbiased", default)]
    pub mixture_unbiased: Option<f64>,
    /// Standard error of the unbiased mixture form, in the same way. JSON:
    /// `geometric_collapse_unbiased_std_error`.
    #[serde(rename = "geometric_collapse_unbiased_std_error", default)]
    pub mixture_unbiased_std_error: Option<f64>,
    /// Pairwise form from unbiased squared distances; see [`crate::pairwise_geometric_collapse_unbiased()`]. JSON:
    /// `pairwise_geometric_collapse_unbiased`.
    #[serde(rename = "pairwise_geometric_collapse_unbiased", default)]
    pub pairwise_unbiased: Option<f64>,
    /// Standard error of the unbiased pairwise form, in the same way. JSON:
    /// `pairwise_geometric_collapse_unbiased_std_error`.
    #[serde(rename = "pairwise_geometric_collapse_unbiased_std_error", default)]
    pub pairwise_unbiased_std_error: Option<f64>,
    /// Largest Var_i/GC_i; see [`crate::effective_poincare_constant()`].
    pub poincare_constant: Option<f64>,
}

/// NC1: within-class against between-class scatter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VariabilityMeasures {
    /// tr(Σ_W Σ_B⁺)/K. It and VCI need the crate feature `faer`.
    pub nc1: Option<f64>,
    /// tr(Σ_W Σ_B⁺).
    pub nc1_trace: Option<f64>,
    /// Number of eigenvalues of Σ_B that NC1 keeps.
    pub nc1_rank: Option<usize>,
    /// tr Σ_W / tr Σ_B.
    pub trace_ratio: Option<f64>,
    /// tr Σ_B / tr Σ_W.
    pub signal_to_noise: Option<f64>,
    /// tr Σ_W / (tr Σ_W + tr Σ_B).
    pub within_share: Option<f64>,
    /// tr Σ_W.
    pub trace_within: Option<f64>,
    /// tr Σ_B.
    pub trace_between: Option<f64>,
    /// Variability collapse index, sample-weighted; `None` where the total covariance is singular.
    pub vci: Option<f64>,
}

/// NC2: the centred class means against a simplex; see [`crate::simplex()`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SimplexMeasures {
    /// Coefficient of variation of the norms of class means.
    pub equinorm: Option<f64>,
    /// Mean |cos + 1/(K−1)|.
    pub equiangularity: Option<f64>,
    /// Largest |cos + 1/(K−1)|.
    pub equiangularity_max: Option<f64>,
    /// Mean cosine of class means.
    pub cosine_mean: Option<f64>,
    /// Standard deviation of the cosines.
    pub cosine_std: Option<f64>,
    /// ETF error of class means.
    pub etf_error: Option<f64>,
    /// Hyperspherical uniformity: mean log inverse distance.
    pub log_energy: Option<f64>,
    /// Excess of the energy over that of the simplex.
    pub log_energy_excess: Option<f64>,
}

/// The nearest-mean rule on the samples of which the means were computed; see [`crate::NearestMeanError`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearestMeanMeasures {
    /// Share of samples that are nearer to the mean of another class. JSON: `nearest_mean_error`.
    #[serde(rename = "nearest_mean_error")]
    pub error: f64,
    /// Binomial standard error of the error, with the means taken as exact. JSON: `nearest_mean_std_error`.
    #[serde(rename = "nearest_mean_std_error")]
    pub std_error: f64,
}
