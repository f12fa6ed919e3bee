//! Accuracy of heads over episodes, on the same episodes for every head.

mod confusion;
mod models;
mod paired;
mod tally;

pub use confusion::Confusion;
pub use models::{AcrossModels, HeadAcrossModels, across_models};
pub use paired::{Difference, compare_on_same_episodes};
pub use tally::{ClassAccuracy, WayAccuracy};

use rayon::prelude::*;
use serde::Serialize;

use crate::bootstrap::resampled_means;
use crate::checksum::{EpisodesChecksum, episode_checksum};
use crate::interval::mean_with;
use crate::{Episode, EpisodeSampler, Error, Head, IntervalSettings, LabelledFeatures, MeanEstimate, Result, Task};
use tally::{Outcome, Tally};

/// Episodes that are drawn and judged in parallel before their counts are added up, in order.
const CHUNK: usize = 1024;

/// The accuracies of heads over the same episodes.
///
/// **Conventions** an episode's accuracy is the share of its queries that are predicted right; the estimate is over
/// episodes, each of which counts once whatever its size. Numbers depend on the features, the episodes and the
/// settings, not on the number of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// How many episodes.
    pub episodes: usize,
    /// SHA-256 over the episodes: equal for evaluations on the same ones.
    pub episodes_checksum: String,
    /// How the intervals were made.
    pub settings: IntervalSettings,
    /// Each head, in the order in which it was given.
    pub heads: Vec<HeadAccuracy>,
    /// Each pair of heads (earlier − later), paired by episode.
    pub differences: Vec<Difference>,
}

/// The accuracy of one head.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadAccuracy {
    /// Its name.
    pub head: String,
    /// Mean accuracy over the episodes.
    pub accuracy: MeanEstimate,
    /// The accuracy on each class, by ascending label.
    pub by_class: Vec<ClassAccuracy>,
    /// The accuracy on the episodes of each number of classes, ascending.
    pub by_way: Vec<WayAccuracy>,
    /// The accuracy of every episode in turn. Not written with the rest.
    #[serde(skip)]
    pub per_episode: Vec<f64>,
}

impl Evaluation {
    /// The result of the head with this name.
    ///
    /// **Errors** [`Error::UnknownHead`].
    pub fn head(&self, name: &str) -> Result<&HeadAccuracy> {
        self.heads.iter().find(|head| head.head == name).ok_or_else(|| Error::UnknownHead {
            head: name.to_owned(),
            present: self.heads.iter().map(|head| head.head.clone()).collect(),
        })
    }
}

/// Evaluates heads on the first `episodes` episodes of a sampler, with 95 % intervals.
///
/// Episodes run in parallel on rayon's threads.
///
/// **Errors** [`Error::NoHeads`], [`Error::DuplicateHead`], [`Error::TooFewValues`] for fewer than two episodes, and
/// [`Error::InEpisode`] with the first episode in which a head failed.
///
/// ```
/// use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures, evaluate};
/// // Two classes on a line, 0 and 1 apart, with a spread of 0.09.
/// let values: Vec<f32> = (0..40).map(|i| (i % 2) as f32 + 0.01 * (i % 10) as f32).collect();
/// let features = LabelledFeatures::from_f32(values, 1, (0..40).map(|i| i % 2).collect())?;
/// let sampler = EpisodeSampler::fixed(features.labels(), 2, 5, 15, 1)?;
/// let heads: [HeadKind; 2] = ["ncm".parse()?, "ridge:1".parse()?];
/// let evaluation = evaluate(&features, &sampler, 100, &heads)?;
/// assert_eq!(evaluation.head("ncm")?.accuracy.mean, 1.0);
/// assert_eq!(evaluation.differences[0].difference.mean, 0.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn evaluate<H: Head>(
    features: &LabelledFeatures,
    sampler: &EpisodeSampler,
    episodes: usize,
    heads: &[H],
) -> Result<Evaluation> {
    evaluate_with(features, sampler, episodes, heads, &IntervalSettings::default())
}

/// [`evaluate`] with other settings of the intervals.
pub fn evaluate_with<H: Head>(
    features: &LabelledFeatures,
    sampler: &EpisodeSampler,
    episodes: usize,
    heads: &[H],
    settings: &IntervalSettings,
) -> Result<Evaluation> {
    let mut tally = Tally::new(heads, settings)?;
    let mut done = 0;
    while done < episodes {
        let chunk = done..episodes.min(done + CHUNK);
        let outcomes: Vec<Result<Outcome>> = chunk
            .clone()
            .into_par_iter()
            .map(|index| judge(features, &sampler.episode(index as u64), index, heads))
            .collect();
        tally.add_all(outcomes)?;
        done = chunk.end;
    }
    tally.finish()
}

/// [`evaluate_with`] on given episodes, such as those that a [`crate::TaskListReader`] streams; only a block of them is
/// in memory at a time.
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
pub fn evaluate_episodes<H: Head>(
    features: &LabelledFeatures,
    episodes: impl IntoIterator<Item = Result<Episode>>,
    heads: &[H],
    settings: &IntervalSettings,
) -> Result<Evaluation> {
    let mut tally = Tally::new(heads, settings)?;
    let mut episodes = episodes.into_iter();
    let mut done = 0;
    loop {
        let chunk: Vec<Episode> = episodes.by_ref().take(CHUNK).collect::<Result<_>>()?;
        if chunk.is_empty() {
            return tally.finish();
        }
        let outcomes: Vec<Result<Outcome>> = chunk
            .par_iter()
            .enumerate()
            .map(|(offset, episode)| judge(features, episode, done + offset, heads))
            .collect();
        tally.add_all(outcomes)?;
        done += chunk.len();
    }
}

/// Runs every head on one episode and counts what it got right.
fn judge<H: Head>(features: &LabelledFeatures, episode: &Episode, index: usize, heads: &[H]) -> Result<Outcome> {
    let within = |head: &str| {
        let head = head.to_owned();
        move |source: Error| Error::InEpisode { episode: index as u64, head, source: Box::new(source) }
    };
    let task = Task::new(features, episode).map_err(within("(any)"))?;
    let mut queries = vec![0u32; episode.way()];
    episode.query_classes().iter().for_each(|&class| queries[class] += 1);
    let mut correct = Vec::with_capacity(heads.len());
    for head in heads {
        let scores = head.scores(&task).map_err(|source| within(&head.name())(source))?;
        let mut counts = vec![0u32; episode.way()];
        for (predicted, &class) in scores.predictions().into_iter().zip(episode.query_classes()) {
            counts[class] += u32::from(predicted == class);
        }
        correct.push(counts);
    }
    Ok(Outcome { classes: episode.classes().to_vec(), queries, correct, checksum: episode_checksum(episode) })
}

#[cfg(test)]
mod tests;
