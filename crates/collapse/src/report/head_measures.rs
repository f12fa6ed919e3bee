//! The part of a report that needs a head.

use serde::{Deserialize, Serialize};

use super::record::Gaps;
use crate::convention::Weighting;
use crate::{Agreement, ClassMoments, Head, bias_collapse, self_duality, simplex_of_head, zero_sum};

/// The part of a report that needs a head. In JSON its fields are on the level of the other measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeadReport {
    /// NC3: the head's rows against the centred class means.
    #[serde(flatten)]
    pub duality: DualityMeasures,
    /// NC2 of the head's rows.
    #[serde(flatten)]
    pub simplex: HeadSimplexMeasures,
    /// ‖W μ_G + b‖.
    pub bias_collapse: Option<f64>,
    /// NC0: the sum of the head's rows.
    #[serde(flatten)]
    pub zero_sum: ZeroSumMeasures,
    /// NC4: the head's decisions against the nearest mean's.
    #[serde(flatten)]
    pub agreement: AgreementMeasures,
}

/// NC3: the head's rows against the centred class means; see [`crate::self_duality()`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DualityMeasures {
    /// ‖W/‖W‖ − M/‖M‖‖. JSON: `self_duality`.
    #[serde(rename = "self_duality")]
    pub difference: Option<f64>,
    /// The square of `difference`. JSON: `self_duality_squared`.
    #[serde(rename = "self_duality_squared")]
    pub difference_squared: Option<f64>,
    /// ‖WMᵀ/‖WMᵀ‖ − ETF‖. JSON: `duality_etf_error`.
    #[serde(rename = "duality_etf_error")]
    pub product_error: Option<f64>,
    /// Mean cos(w_c, m_c).
    pub alignment: Option<f64>,
}

/// The head's rows against a simplex; see [`crate::simplex_of_head()`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeadSimplexMeasures {
    /// Variation of the norms of the head's rows. JSON: `head_equinorm`.
    #[serde(rename = "head_equinorm")]
    pub equinorm: Option<f64>,
    /// Mean |cos + 1/(K−1)| of the head's rows. JSON: `head_equiangularity`.
    #[serde(rename = "head_equiangularity")]
    pub equiangularity: Option<f64>,
    /// ETF error of the head's rows. JSON: `head_etf_error`.
    #[serde(rename = "head_etf_error")]
    pub etf_error: Option<f64>,
}

/// NC0: the sum of the head's rows; see [`crate::zero_sum()`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ZeroSumMeasures {
    /// ‖Σ_c w_c‖. JSON: `nc0`.
    #[serde(rename = "nc0")]
    pub norm: Option<f64>,
    /// ‖Σ_c w_c‖/(√K ‖W‖). JSON: `nc0_relative`.
    #[serde(rename = "nc0_relative")]
    pub relative: Option<f64>,
}

/// NC4: the head's decisions against the nearest mean's; see [`crate::Agreement`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgreementMeasures {
    /// Share of samples on which head and nearest mean agree. JSON: `ncc_agreement`.
    #[serde(rename = "ncc_agreement")]
    pub share: f64,
    /// Binomial standard error of the share, with the means and the head taken as exact. JSON: `ncc_agreement_std_error`.
    #[serde(rename = "ncc_agreement_std_error")]
    pub std_error: f64,
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
            duality: DualityMeasures {
                difference: duality.map(|duality| duality.difference),
                difference_squared: duality.map(|duality| duality.difference_squared),
                product_error: duality.map(|duality| duality.product_error),
                alignment: duality.map(|duality| duality.alignment),
            },
            simplex: HeadSimplexMeasures {
                equinorm: geometry.map(|geometry| geometry.equinorm),
                equiangularity: geometry.map(|geometry| geometry.equiangularity),
                etf_error: geometry.map(|geometry| geometry.etf_error),
            },
            bias_collapse: bias.map(|bias| bias.norm),
            zero_sum: ZeroSumMeasures { norm: sum.map(|sum| sum.norm), relative: sum.map(|sum| sum.relative) },
            agreement: AgreementMeasures {
                share: agreement.agreement,
                std_error: agreement.std_error,
                head_accuracy: agreement.head_accuracy,
            },
        }
    }
}
