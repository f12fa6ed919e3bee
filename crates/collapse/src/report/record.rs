//! The record of a report: every measure as a number, with conventions, counts, and the reasons of those that are undefined.

use serde::{Deserialize, Serialize};

use crate::convention::{CdnvConvention, Weighting};
use crate::quantiles::Quantiles;
use crate::{Agreement, ClassMoments, ExcludedPairs, Head, Result};
use crate::{bias_collapse, self_duality, simplex_of_head, zero_sum};

/// A measure that is undefined for these data, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefined {
    /// The field of the report that is `None`.
    pub measure: String,
    /// The error's message.
    pub reason: String,
}

/// All measures of one set of labelled features, with their conventions and counts. A measure that is undefined for
/// these data is `None`, and `undefined` gives the reason.
///
/// Classes of one sample are left out of all sums, together with their samples: every measure is the same as if these
/// samples had not been given. Only the measures of a head alone (its simplex geometry and NC0) and `bias_collapse`
/// use all rows of the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CollapseReport {
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
    /// Weighting of the measures that have one.
    pub weighting: Weighting,
    /// Mean CDNV, the NC of the paper.
    pub cdnv: f64,
    /// Standard error of the mean CDNV over samples with fixed class counts: the linearized (infinitesimal jackknife) error
    /// of means and variances. `None` in forms other than the halved one with divisor n.
    pub cdnv_std_error: Option<f64>,
    /// Mean over pairs of the CDNV from unbiased variances and squared distances (halved form); see
    /// [`crate::cdnv_unbiased()`].
    #[serde(default)]
    pub cdnv_unbiased: Option<f64>,
    /// Standard error of `cdnv_unbiased`, linearized like `cdnv_std_error`, with divisors n − 1.
    #[serde(default)]
    pub cdnv_unbiased_std_error: Option<f64>,
    /// Largest CDNV over pairs.
    pub cdnv_max: f64,
    /// Quantiles of the CDNV over pairs.
    pub cdnv_quantiles: Quantiles,
    /// Convention of the CDNV.
    pub cdnv_convention: CdnvConvention,
    /// Pairs averaged in the CDNV.
    pub pairs: u64,
    /// Pairs excluded from the CDNV.
    pub excluded_pairs: ExcludedPairs,
    /// Mean over pairs of 1/‖μ_i − μ_j‖². With [`CollapseReport::mean_variance`] it gives the decomposition
    /// log NC ≈ log mean(1/d²) + log mean(Var), which is exact when all classes have the same variance.
    #[serde(default)]
    pub mean_inverse_squared_distance: Option<f64>,
    /// Standard error of the mean of 1/d² over samples.
    #[serde(default)]
    pub mean_inverse_squared_distance_std_error: Option<f64>,
    /// Mean over classes of Var_i (divisor n).
    #[serde(default)]
    pub mean_variance: Option<f64>,
    /// Directional CDNV.
    pub directional_cdnv: Option<f64>,
    /// Geometric collapse, mixture form.
    pub geometric_collapse: Option<f64>,
    /// Standard error of the mixture form from the class means, with the complexity taken as exact.
    pub geometric_collapse_std_error: Option<f64>,
    /// Geometric collapse, pairwise form.
    pub pairwise_geometric_collapse: Option<f64>,
    /// Standard error of the pairwise form from the class means, with the complexities taken as exact.
    pub pairwise_geometric_collapse_std_error: Option<f64>,
    /// Mixture form from unbiased squared distances; see [`crate::geometric_collapse_unbiased()`].
    #[serde(default)]
    pub geometric_collapse_unbiased: Option<f64>,
    /// Standard error of the unbiased mixture form, with the complexity taken as exact.
    #[serde(default)]
    pub geometric_collapse_unbiased_std_error: Option<f64>,
    /// Pairwise form from unbiased squared distances; see [`crate::pairwise_geometric_collapse_unbiased()`].
    #[serde(default)]
    pub pairwise_geometric_collapse_unbiased: Option<f64>,
    /// Standard error of the unbiased pairwise form, with the complexities taken as exact.
    #[serde(default)]
    pub pairwise_geometric_collapse_unbiased_std_error: Option<f64>,
    /// Largest Var_i/GC_i.
    pub poincare_constant: Option<f64>,
    /// NC1: tr(Σ_W Σ_B⁺)/K. It, VCI and RankMe need the crate feature `faer`.
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
    /// RankMe of the features, uncentred, sample-weighted.
    pub rank_me: Option<f64>,
    /// NC2: coefficient of variation of the norms of class means.
    pub equinorm: Option<f64>,
    /// NC2: mean |cos + 1/(K−1)|.
    pub equiangularity: Option<f64>,
    /// NC2: largest |cos + 1/(K−1)|.
    pub equiangularity_max: Option<f64>,
    /// Mean cosine of class means.
    pub cosine_mean: Option<f64>,
    /// Standard deviation of the cosines.
    pub cosine_std: Option<f64>,
    /// NC2: ETF error of class means.
    pub etf_error: Option<f64>,
    /// Hyperspherical uniformity: mean log inverse distance.
    pub log_energy: Option<f64>,
    /// Excess of the energy over that of the simplex.
    pub log_energy_excess: Option<f64>,
    /// Error of the nearest-mean rule on the samples of which the means were computed.
    pub nearest_mean_error: f64,
    /// Binomial standard error of the nearest-mean error, with the means taken as exact.
    pub nearest_mean_std_error: f64,
    /// Measures of a head; in JSON its fields are at the level of the others.
    #[serde(flatten)]
    pub head: Option<HeadReport>,
    /// Measures that are undefined for these data, with the reasons.
    pub undefined: Vec<Undefined>,
}

/// The part of a report that needs a head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeadReport {
    /// NC3: ‖W/‖W‖ − M/‖M‖‖.
    pub self_duality: Option<f64>,
    /// The square of `self_duality`.
    pub self_duality_squared: Option<f64>,
    /// NC3: ‖WMᵀ/‖WMᵀ‖ − ETF‖.
    pub duality_etf_error: Option<f64>,
    /// Mean cos(w_c, m_c).
    pub alignment: Option<f64>,
    /// Variation of the norms of the head's rows.
    pub head_equinorm: Option<f64>,
    /// Mean |cos + 1/(K−1)| of the head's rows.
    pub head_equiangularity: Option<f64>,
    /// ETF error of the head's rows.
    pub head_etf_error: Option<f64>,
    /// ‖W μ_G + b‖.
    pub bias_collapse: Option<f64>,
    /// NC0: ‖Σ_c w_c‖.
    pub nc0: Option<f64>,
    /// ‖Σ_c w_c‖/(√K ‖W‖).
    pub nc0_relative: Option<f64>,
    /// NC4: share of samples on which head and nearest mean agree.
    pub ncc_agreement: f64,
    /// Binomial standard error of `ncc_agreement`, with the means and the head taken as exact.
    pub ncc_agreement_std_error: f64,
    /// Share of samples that the head classifies correctly.
    pub head_accuracy: f64,
}

impl HeadReport {
    pub(super) fn new(
        head: &Head,
        moments: &ClassMoments,
        weighting: Weighting,
        agreement: &Agreement,
        undefined: &mut Gaps,
    ) -> Self {
        let duality = undefined.keep("self_duality", self_duality(head, moments, weighting));
        let geometry = undefined.keep("head_etf_error", simplex_of_head(head));
        let bias = undefined.keep("bias_collapse", bias_collapse(head, moments, weighting));
        let sum = undefined.keep("nc0", zero_sum(head));
        Self {
            self_duality: duality.map(|duality| duality.difference),
            self_duality_squared: duality.map(|duality| duality.difference_squared),
            duality_etf_error: duality.map(|duality| duality.product_error),
            alignment: duality.map(|duality| duality.alignment),
            head_equinorm: geometry.map(|geometry| geometry.equinorm),
            head_equiangularity: geometry.map(|geometry| geometry.equiangularity),
            head_etf_error: geometry.map(|geometry| geometry.etf_error),
            bias_collapse: bias.map(|bias| bias.norm),
            nc0: sum.map(|sum| sum.norm),
            nc0_relative: sum.map(|sum| sum.relative),
            ncc_agreement: agreement.agreement,
            ncc_agreement_std_error: agreement.std_error,
            head_accuracy: agreement.head_accuracy,
        }
    }
}

/// The measures found to be undefined so far.
#[derive(Default)]
pub(super) struct Gaps(pub(super) Vec<Undefined>);

impl Gaps {
    pub(super) fn keep<T>(&mut self, measure: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(Undefined { measure: measure.into(), reason: error.to_string() })).ok()
    }
}
