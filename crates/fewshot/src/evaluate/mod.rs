//! Accuracy of heads over episodes; all heads use the same episodes.

mod accuracy_sums;
mod across_models;
mod bounded;
mod confusion;
mod difference;
mod evaluation;
mod paired;
mod percent;

pub use across_models::{AcrossModels, HeadAcrossModels, across_models};
pub use confusion::Confusion;
pub use difference::Difference;
pub use evaluation::{ClassAccuracy, Evaluation, HeadAccuracy, WayAccuracy};
pub use paired::compare_on_same_episodes;

use rayon::prelude::*;

use crate::checksum::episode_checksum;
use crate::{Episode, EpisodeSampler, Error, FeatureView, Head, IntervalSettings, Result, Task};
use accuracy_sums::{AccuracySums, EpisodeCounts};

/// Number of episodes that are evaluated in parallel before their counts are added in order.
const CHUNK: usize = 1024;

/// Ceiling of the number of episodes: their accuracies take 8 bytes per episode and head.
const MOST_EPISODES: usize = 100_000_000;

/// Evaluates heads on the first `episodes` episodes of a sampler, with 95 % intervals.
///
/// Episodes are evaluated in parallel on rayon's threads.
///
/// **Errors** [`Error::NoHeads`]; [`Error::DuplicateHead`]; [`Error::Statistic`] for fewer than two episodes;
/// [`Error::InvalidSetting`] for more than 100 million (their accuracies take 8 bytes per episode and head);
/// [`Error::InEpisode`] for the first episode in which a head failed.
///
/// ```
/// use fewshot::{EpisodeSampler, FeatureView, HeadKind, evaluate};
/// // Two classes on a line, at 0 and 1, each with values up to 0.09 above.
/// let values: Vec<f32> = (0..40).map(|i| (i % 2) as f32 + 0.01 * (i % 10) as f32).collect();
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let features = FeatureView::from_f32(&values, 1, &labels)?;
/// let sampler = EpisodeSampler::fixed(&labels, 2, 5, 15, 1)?;
/// let heads: [HeadKind; 2] = ["ncm".parse()?, "ridge:1".parse()?];
/// let evaluation = evaluate(features, &sampler, 100, &heads)?;
/// // All predictions in 100 of 100 episodes are correct: the interval still has a width.
/// assert_eq!(evaluation.head("ncm")?.accuracy.mean, 1.0);
/// assert_eq!(evaluation.heads[0].to_string(), "ncm: 100.0 % (96.4 to 100.0 %)");
/// assert_eq!(evaluation.differences[0].difference.mean, 0.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn evaluate<'a, H: Head>(
    features: impl Into<FeatureView<'a>>,
    sampler: &EpisodeSampler,
    episodes: usize,
    heads: &[H],
) -> Result<Evaluation> {
    evaluate_with(features, sampler, episodes, heads, &IntervalSettings::default())
}

/// [`evaluate`] with given settings of the intervals.
pub fn evaluate_with<'a, H: Head>(
    features: impl Into<FeatureView<'a>>,
    sampler: &EpisodeSampler,
    episodes: usize,
    heads: &[H],
    settings: &IntervalSettings,
) -> Result<Evaluation> {
    let features = features.into();
    check_episodes(episodes)?;
    let mut sums = AccuracySums::new(heads, settings)?;
    let mut done = 0;
    while done < episodes {
        let chunk = done..episodes.min(done + CHUNK);
        let counts: Vec<Result<EpisodeCounts>> = chunk
            .clone()
            .into_par_iter()
            .map(|index| evaluate_episode(features, &sampler.episode(index as u64), index, heads))
            .collect();
        sums.add_all(counts)?;
        done = chunk.end;
    }
    sums.finish()
}

/// [`evaluate_with`] on given episodes, such as those of a [`crate::TaskListReader`]. At most 1024 episodes are in memory
/// at a time.
///
/// **Errors** those of [`evaluate`] and of the iterator.
///
/// ```
/// use fewshot::{EpisodeSampler, IntervalSettings, LabelledFeatures, NearestMean, evaluate, evaluate_episodes};
/// # let values: Vec<f32> = (0..40).map(|i| (i % 2) as f32 + 0.3 * (i % 7) as f32).collect();
/// # let features = LabelledFeatures::from_f32(values, 1, (0..40).map(|i| i % 2).collect())?;
/// let sampler = EpisodeSampler::fixed(features.labels(), 2, 5, 15, 1)?;
/// let episodes = sampler.episodes().take(100).map(Ok);
/// let given = evaluate_episodes(&features, episodes, &[NearestMean], &IntervalSettings::default())?;
/// assert_eq!(given, evaluate(&features, &sampler, 100, &[NearestMean])?);
/// # fewshot::Result::Ok(())
/// ```
pub fn evaluate_episodes<'a, H: Head>(
    features: impl Into<FeatureView<'a>>,
    episodes: impl IntoIterator<Item = Result<Episode>>,
    heads: &[H],
    settings: &IntervalSettings,
) -> Result<Evaluation> {
    let features = features.into();
    let mut sums = AccuracySums::new(heads, settings)?;
    let mut episodes = episodes.into_iter();
    let mut done = 0;
    loop {
        let chunk: Vec<Episode> = episodes.by_ref().take(CHUNK).collect::<Result<_>>()?;
        if chunk.is_empty() {
            return sums.finish();
        }
        check_episodes(done + chunk.len())?;
        let counts: Vec<Result<EpisodeCounts>> = chunk
            .par_iter()
            .enumerate()
            .map(|(offset, episode)| evaluate_episode(features, episode, done + offset, heads))
            .collect();
        sums.add_all(counts)?;
        done += chunk.len();
    }
}

fn check_episodes(episodes: usize) -> Result<()> {
    if episodes > MOST_EPISODES {
        let (value, expected) = (episodes as f64, "at most 100 million");
        return Err(Error::InvalidSetting { setting: "the number of episodes", value, expected });
    }
    Ok(())
}

/// Runs every head on one episode and counts its correct predictions.
fn evaluate_episode<H: Head>(
    features: FeatureView<'_>,
    episode: &Episode,
    index: usize,
    heads: &[H],
) -> Result<EpisodeCounts> {
    let in_episode = |head: &str| {
        let head = head.to_owned();
        move |source: Error| Error::InEpisode { episode: index as u64, head, source: Box::new(source) }
    };
    let task = Task::new(features, episode).map_err(in_episode("(any)"))?;
    let mut queries = vec![0u32; episode.way()];
    episode.query_classes().iter().for_each(|&class| queries[class] += 1);
    let mut correct = Vec::with_capacity(heads.len());
    for head in heads {
        let scores = head.scores(&task).map_err(|source| in_episode(&head.name())(source))?;
        let mut counts = vec![0u32; episode.way()];
        for (predicted, &class) in scores.predictions().into_iter().zip(episode.query_classes()) {
            counts[class] += u32::from(predicted == class);
        }
        correct.push(counts);
    }
    Ok(EpisodeCounts { classes: episode.classes().to_vec(), queries, correct, checksum: episode_checksum(episode) })
}

#[cfg(test)]
mod tests;
