//! Whether scores rank representations as their measured accuracy does.

use serde::Serialize;

use super::TransferScores;
use crate::{Error, IntervalSettings, RankCorrelation, RankStatistic, Result, rank_correlation};

/// How well one score ranks representations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreRank {
    /// `log_me`, `h_score` or `separation`.
    pub score: &'static str,
    /// The score of each representation.
    pub scores: Vec<f64>,
    /// The measured few-shot accuracy of each, which the score should predict.
    pub accuracies: Vec<f64>,
    /// Spearman's ρ between the two.
    pub spearman: RankCorrelation,
    /// Kendall's τ_b between the two.
    pub kendall: RankCorrelation,
}

/// Each transfer score beside the measured accuracy, over three or more representations (models, checkpoints).
///
/// **Errors** [`Error::UnequalLengths`], and those of [`rank_correlation`].
///
/// ```
/// use fewshot::{IntervalSettings, LabelledFeatures, rank_scores, transfer_scores};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let noise = streams::standard_normal(&mut streams::stream(2, "docs/rank", 0), 60);
/// let mut scores = Vec::new();
/// for gap in [0.5, 1.0, 2.0, 4.0] {
///     let values = noise.iter().zip(&labels).map(|(e, &l)| e + gap * f64::from(l)).collect();
///     scores.push(transfer_scores(&LabelledFeatures::from_f64(values, 1, labels.clone())?)?);
/// }
/// let ranks = rank_scores(&scores, &[0.4, 0.5, 0.8, 0.95], &IntervalSettings::default())?;
/// assert_eq!(ranks[2].score, "separation");
/// assert_eq!(ranks[2].spearman.coefficient, 1.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn rank_scores(
    scores: &[TransferScores],
    accuracies: &[f64],
    settings: &IntervalSettings,
) -> Result<Vec<ScoreRank>> {
    if scores.len() != accuracies.len() {
        let (left, right) = (scores.len(), accuracies.len());
        return Err(Error::UnequalLengths { statistic: "scores and accuracies", left, right });
    }
    let columns: [(&'static str, Vec<f64>); 3] = [
        ("log_me", scores.iter().map(|scores| scores.log_me.value).collect()),
        ("h_score", scores.iter().map(|scores| scores.h_score.value).collect()),
        ("separation", scores.iter().map(|scores| scores.separation.value).collect()),
    ];
    columns
        .into_iter()
        .map(|(score, values)| {
            Ok(ScoreRank {
                score,
                spearman: rank_correlation(&values, accuracies, RankStatistic::Spearman, settings)?,
                kendall: rank_correlation(&values, accuracies, RankStatistic::Kendall, settings)?,
                scores: values,
                accuracies: accuracies.to_vec(),
            })
        })
        .collect()
}
