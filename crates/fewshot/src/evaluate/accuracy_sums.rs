//! Sums over episodes of what the heads predicted correctly, added in the order of the episodes.

use std::collections::BTreeMap;

use statistics::{RunningMean, bootstrap_means, mean_with_resamples};

use super::bounded::{ACCURACY, of_varying};
use super::difference::{Column, Difference};
use super::evaluation::{ClassAccuracy, Evaluation, HeadAccuracy, WayAccuracy};
use crate::checksum::EpisodesChecksum;
use crate::{Error, Head, Interval, IntervalSettings, Result};

/// Numbers of queries and of correct predictions in one episode.
pub(super) struct EpisodeCounts {
    /// The label of each class.
    pub(super) classes: Vec<u32>,
    /// Number of queries of each class.
    pub(super) queries: Vec<u32>,
    /// Number of correct predictions: `[head][class]`.
    pub(super) correct: Vec<Vec<u32>>,
    /// SHA-256 of the episode.
    pub(super) checksum: [u8; 32],
}

/// Accuracies of one head so far.
#[derive(Default)]
struct HeadSums {
    per_episode: Vec<f64>,
    by_class: BTreeMap<u32, ClassSums>,
    by_way: BTreeMap<usize, RunningMean>,
}

/// Accuracies on the queries of one class so far.
#[derive(Default)]
struct ClassSums {
    accuracy: RunningMean,
    queries: u64,
}

/// Accuracies of all heads so far.
pub(super) struct AccuracySums {
    names: Vec<String>,
    heads: Vec<HeadSums>,
    checksum: EpisodesChecksum,
    settings: IntervalSettings,
}

impl AccuracySums {
    pub(super) fn new<H: Head>(heads: &[H], settings: &IntervalSettings) -> Result<Self> {
        settings.check()?;
        let names: Vec<String> = heads.iter().map(Head::name).collect();
        if names.is_empty() {
            return Err(Error::NoHeads);
        }
        if let Some((_, head)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(Error::DuplicateHead { head: head.clone() });
        }
        let heads = names.iter().map(|_| HeadSums::default()).collect();
        Ok(Self { names, heads, checksum: EpisodesChecksum::default(), settings: *settings })
    }

    /// Adds episodes in order, and returns the first error among them.
    pub(super) fn add_all(&mut self, episodes: Vec<Result<EpisodeCounts>>) -> Result<()> {
        for episode in episodes {
            let episode = episode?;
            self.checksum.push(&episode.checksum);
            for (head, correct) in self.heads.iter_mut().zip(&episode.correct) {
                head.add(&episode, correct);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Evaluation> {
        let Self { names, heads, checksum, settings } = self;
        let columns: Vec<&[f64]> = heads.iter().map(|head| head.per_episode.as_slice()).collect();
        let resampled = bootstrap_means(&columns, &settings)?;
        let column = |((head, &per_episode), resampled)| Column { head, per_episode, resampled };
        let by_head: Vec<Column<'_>> = names
            .iter()
            .map(String::as_str)
            .zip(&columns)
            .zip(resampled.iter().map(Vec::as_slice))
            .map(column)
            .collect();
        let mut differences = Vec::new();
        for (position, first) in by_head.iter().enumerate() {
            for second in &by_head[position + 1..] {
                differences.push(Difference::between(first, second, &settings)?);
            }
        }
        let episodes = columns.first().map_or(0, |column| column.len());
        let heads: Result<Vec<HeadAccuracy>> = names
            .into_iter()
            .zip(heads)
            .zip(resampled)
            .map(|((name, head), resampled)| head.finish(name, resampled, &settings))
            .collect();
        Ok(Evaluation { episodes, episodes_checksum: checksum.finish(), settings, heads: heads?, differences })
    }
}

impl HeadSums {
    fn add(&mut self, episode: &EpisodeCounts, correct: &[u32]) {
        let accuracy = f64::from(correct.iter().sum::<u32>()) / f64::from(episode.queries.iter().sum::<u32>());
        self.per_episode.push(accuracy);
        self.by_way.entry(episode.classes.len()).or_default().push(accuracy);
        for ((&class, &queries), &correct) in episode.classes.iter().zip(&episode.queries).zip(correct) {
            if queries > 0 {
                let sums = self.by_class.entry(class).or_default();
                sums.accuracy.push(f64::from(correct) / f64::from(queries));
                sums.queries += u64::from(queries);
            }
        }
    }

    fn finish(self, head: String, resampled: Vec<f64>, settings: &IntervalSettings) -> Result<HeadAccuracy> {
        let level = settings.level;
        let by_class = self.by_class.into_iter().map(|(class, ClassSums { accuracy, queries })| ClassAccuracy {
            class,
            episodes: accuracy.count(),
            queries,
            accuracy: accuracy.mean(),
            standard_error: standard_error(&accuracy),
            student: student(&accuracy, level),
        });
        let by_way = self.by_way.into_iter().map(|(way, accuracy)| WayAccuracy {
            way,
            episodes: accuracy.count(),
            chance: 1.0 / way as f64,
            accuracy: accuracy.mean(),
            standard_error: standard_error(&accuracy),
            student: student(&accuracy, level),
        });
        Ok(HeadAccuracy {
            head,
            accuracy: ACCURACY.widen_constant(mean_with_resamples(&self.per_episode, resampled, settings)?),
            by_class: by_class.collect(),
            by_way: by_way.collect(),
            per_episode: self.per_episode,
        })
    }
}

/// The standard error of an accuracy; none for a single episode.
fn standard_error(accuracy: &RunningMean) -> Option<f64> {
    let constant = || ACCURACY.standard_error_of_constant(accuracy.mean(), accuracy.count());
    Some(of_varying(accuracy.standard_error()?).unwrap_or_else(constant))
}

/// The t-interval of an accuracy; none for a single episode.
fn student(accuracy: &RunningMean, level: f64) -> Option<Interval> {
    match of_varying(accuracy.standard_error()?) {
        Some(_) => accuracy.student_interval(level),
        None => Some(ACCURACY.interval_of_constant(accuracy.mean(), accuracy.count(), level)),
    }
}
