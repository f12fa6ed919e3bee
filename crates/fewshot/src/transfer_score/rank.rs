//! Rank correlation of transfer scores with the measured accuracy.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::scores::TransferScores;
use statistics::rank_correlation;

use crate::{IntervalSettings, RankCorrelation, RankStatistic, Result};

/// A transfer score.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferScore {
    /// [`crate::LogMe`].
    LogMe,
    /// [`crate::HScore`].
    HScore,
    /// [`crate::Separation`].
    Separation,
}

/// Rank correlation of one transfer score with the measured accuracy.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRank {
    /// The score.
    pub score: TransferScore,
    /// Its value for each representation.
    pub scores: Vec<f64>,
    /// The measured few-shot accuracy of each representation.
    pub accuracies: Vec<f64>,
    /// Spearman's ρ between the two.
    pub spearman: RankCorrelation,
    /// Kendall's τ_b between the two.
    pub kendall: RankCorrelation,
}

impl fmt::Display for TransferScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransferScore::LogMe => "LogME",
            TransferScore::HScore => "H-score",
            TransferScore::Separation => "separation",
        })
    }
}

impl fmt::Display for ScoreRank {
    /// The score with both coefficients: `separation: Spearman's ρ 0.80 (0.35 to 0.96), p = 0.02; Kendall's τ …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.score, self.spearman, self.kendall)
    }
}

/// Rank correlations of all transfer scores with the measured accuracy, over three or more representations (models or
/// checkpoints). Needs the crate feature `faer`.
///
/// **Errors** [`Error::Statistic`](crate::Error::Statistic) where the lists differ in length, and as for [`rank_correlation`].
///
/// ```
/// use fewshot::{IntervalSettings, LabelledFeatures, TransferScore, rank_scores, transfer_scores};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let noise = streams::standard_normal(&mut streams::stream(2, "docs/rank", 0), 60);
/// let mut scores = Vec::new();
/// for gap in [0.5, 1.0, 2.0, 4.0] {
///     let values = noise.iter().zip(&labels).map(|(e, &l)| e + gap * f64::from(l)).collect();
///     scores.push(transfer_scores(&LabelledFeatures::from_f64(values, 1, labels.clone())?)?);
/// }
/// let ranks = rank_scores(&scores, &[0.4, 0.5, 0.8, 0.95], &IntervalSettings::default())?;
/// assert_eq!(ranks[2].score, TransferScore::Separation);
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
        return Err(statistics::Error::UnequalLengths { statistic: "scores and accuracies", left, right }.into());
    }
    let columns = [
        (TransferScore::LogMe, scores.iter().map(|scores| scores.log_me.value).collect::<Vec<_>>()),
        (TransferScore::HScore, scores.iter().map(|scores| scores.h_score.value).collect()),
        (TransferScore::Separation, scores.iter().map(|scores| scores.separation.value).collect()),
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
