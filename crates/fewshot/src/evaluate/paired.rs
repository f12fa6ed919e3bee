//! Differences in accuracy, paired by episode.

use serde::Serialize;

use super::{Evaluation, mean_with, resampled_means};
use crate::{Error, IntervalSettings, MeanEstimate, Result};

/// How much more accurate one head (or model) is than another on the same episodes.
///
/// **Definition** the mean over episodes of the difference of the two accuracies in each. Pairing takes the difficulty
/// of the episodes out, so that the interval is narrower than those of the two accuracies suggest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The head whose accuracy is taken.
    pub first: String,
    /// The head whose accuracy is subtracted.
    pub second: String,
    /// first − second.
    pub difference: MeanEstimate,
}

impl Difference {
    /// From the accuracies of two heads and their means over common resamples.
    pub(super) fn between(
        heads: [(&String, &[f64]); 2],
        resampled: [&[f64]; 2],
        settings: &IntervalSettings,
    ) -> Result<Self> {
        let [(first, a), (second, b)] = heads;
        let resampled = subtract(resampled[0], resampled[1]);
        let difference = mean_with(&subtract(a, b), resampled, settings)?;
        Ok(Self { first: first.clone(), second: second.clone(), difference })
    }
}

/// The paired difference between head `first` of one evaluation and head `second` of another on the same episodes, for
/// example the same head on the features of two models.
///
/// **Errors** [`Error::DifferentEpisodes`], [`Error::UnknownHead`].
///
/// ```
/// use fewshot::{EpisodeSampler, LabelledFeatures, NearestMean, compare_on_same_episodes, evaluate};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let good: Vec<f32> = (0..60).map(|i| (i % 3) as f32 + 0.01 * (i % 7) as f32).collect();
/// let poor: Vec<f32> = (0..60).map(|i| (i % 3) as f32 + 0.9 * (i % 7) as f32).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 3, 5, 10, 1)?;
/// let run = |values| evaluate(&LabelledFeatures::from_f32(values, 1, labels.clone())?, &sampler, 50, &[NearestMean]);
/// let gain = compare_on_same_episodes((&run(good)?, "ncm"), (&run(poor)?, "ncm"))?;
/// assert!(gain.difference.student.low > 0.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn compare_on_same_episodes(first: (&Evaluation, &str), second: (&Evaluation, &str)) -> Result<Difference> {
    let ((left, left_head), (right, right_head)) = (first, second);
    if left.episodes_checksum != right.episodes_checksum {
        let (left, right) = (left.episodes_checksum.clone(), right.episodes_checksum.clone());
        return Err(Error::DifferentEpisodes { left, right });
    }
    let (a, b) = (left.head(left_head)?, right.head(right_head)?);
    let columns: [&[f64]; 2] = [&a.per_episode, &b.per_episode];
    let resampled = resampled_means(&columns, &left.settings);
    Difference::between([(&a.head, columns[0]), (&b.head, columns[1])], [&resampled[0], &resampled[1]], &left.settings)
}

fn subtract(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}
