//! All transfer scores of one representation.

use serde::{Deserialize, Serialize};

use super::{HScore, LogMe, Separation, h_score, log_me, separation};
use crate::{FeatureView, Result};

/// All transfer scores of one representation. A higher score predicts better transfer.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferScores {
    /// Log evidence of a Bayesian linear model of the labels.
    pub log_me: LogMe,
    /// H-score with a shrunk covariance.
    pub h_score: HScore,
    /// Class separation by the class-distance normalised variance.
    pub separation: Separation,
}

/// All transfer scores of labelled features. Needs the crate feature `faer`.
///
/// **Errors** [`crate::Error::Undefined`] where the features do not vary or have fewer than two classes.
///
/// ```
/// use fewshot::{LabelledFeatures, transfer_scores};
/// let noise = streams::standard_normal(&mut streams::stream(1, "docs/transfer", 0), 40);
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let at = |gap: f64| noise.iter().zip(&labels).map(|(e, &l)| e + gap * f64::from(l)).collect();
/// let near = transfer_scores(&LabelledFeatures::from_f64(at(1.0), 1, labels.clone())?)?;
/// let far = transfer_scores(&LabelledFeatures::from_f64(at(9.0), 1, labels.clone())?)?;
/// assert!(far.log_me.value > near.log_me.value);
/// assert!(far.h_score.value > near.h_score.value);
/// assert!(far.separation.value > near.separation.value);
/// # fewshot::Result::Ok(())
/// ```
pub fn transfer_scores<'a>(features: impl Into<FeatureView<'a>>) -> Result<TransferScores> {
    let features = features.into();
    Ok(TransferScores { log_me: log_me(features)?, h_score: h_score(features)?, separation: separation(features)? })
}
