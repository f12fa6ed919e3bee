//! The difference between heads of two evaluations on the same episodes.

use statistics::bootstrap_means;

use super::difference::{Column, Difference};
use super::evaluation::Evaluation;
use crate::{Error, Result};

/// The difference between head `first_head` of one evaluation and head `second_head` of another on the same episodes, for
/// example the same head on the features of two models.
///
/// **Errors** [`Error::DifferentEpisodes`], [`Error::UnknownHead`], [`Error::Statistic`] where an evaluation was read
/// from a file without `per_episode`.
///
/// ```
/// use fewshot::{EpisodeSampler, FeatureView, NearestMean, compare_on_same_episodes, evaluate};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let good: Vec<f32> = (0..60).map(|i| (i % 3) as f32 + 0.01 * (i % 7) as f32).collect();
/// let poor: Vec<f32> = (0..60).map(|i| (i % 3) as f32 + 0.9 * (i % 7) as f32).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 3, 5, 10, 1)?;
/// let run = |values| evaluate(FeatureView::from_f32(values, 1, &labels)?, &sampler, 50, &[NearestMean]);
/// let gain = compare_on_same_episodes(&run(&good)?, "ncm", &run(&poor)?, "ncm")?;
/// assert!(gain.difference.student.low > 0.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn compare_on_same_episodes(
    first: &Evaluation,
    first_head: &str,
    second: &Evaluation,
    second_head: &str,
) -> Result<Difference> {
    if first.episodes_checksum != second.episodes_checksum {
        let (left, right) = (first.episodes_checksum.clone(), second.episodes_checksum.clone());
        return Err(Error::DifferentEpisodes { left, right });
    }
    let (a, b) = (first.head(first_head)?, second.head(second_head)?);
    if a.per_episode.len() != b.per_episode.len() {
        let (left, right) = (a.per_episode.len(), b.per_episode.len());
        return Err(statistics::Error::UnequalLengths { statistic: "a paired difference", left, right }.into());
    }
    let resampled = bootstrap_means(&[&a.per_episode, &b.per_episode], &first.settings)?;
    let left = Column { head: &a.head, per_episode: &a.per_episode, resampled: &resampled[0] };
    let right = Column { head: &b.head, per_episode: &b.per_episode, resampled: &resampled[1] };
    Difference::between(&left, &right, &first.settings)
}
