//! Scores that rank representations by how well they should transfer, from labelled features alone.

mod h_score;
mod log_me;
mod rank;
mod separation;

pub use h_score::{HScore, h_score};
pub use log_me::{LogMe, log_me};
pub use rank::{ScoreRank, rank_scores};
pub use separation::{Separation, separation};

use serde::Serialize;

use crate::class_rows::ClassRows;
use crate::{Error, LabelledFeatures, Result};

/// Every transfer score of one representation; of each, higher promises better transfer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransferScores {
    /// Log marginal evidence of a linear model of the labels.
    pub log_me: LogMe,
    /// Regularised H-score.
    pub h_score: HScore,
    /// Class separation by the class-distance normalised variance.
    pub separation: Separation,
}

/// All transfer scores of labelled features.
///
/// **Errors** [`Error::Undefined`] where the features do not vary or have fewer than two classes.
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
pub fn transfer_scores(features: &LabelledFeatures) -> Result<TransferScores> {
    Ok(TransferScores { log_me: log_me(features)?, h_score: h_score(features)?, separation: separation(features)? })
}

/// All rows in f64.
fn matrix(features: &LabelledFeatures) -> Vec<f64> {
    let dimension = features.dimension();
    let mut rows = vec![0.0; features.samples() * dimension];
    for (sample, row) in rows.chunks_exact_mut(dimension).enumerate() {
        features.view(sample).copy_to(row);
    }
    rows
}

fn classes(features: &LabelledFeatures, quantity: &'static str) -> Result<Vec<ClassRows>> {
    let classes = ClassRows::of(features.labels());
    if classes.len() < 2 {
        let reason = "there is a single class, but telling classes apart needs two".to_owned();
        return Err(Error::Undefined { quantity, reason });
    }
    Ok(classes)
}

#[cfg(test)]
mod tests;
