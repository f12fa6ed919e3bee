//! Adds up what heads got right, episode by episode and in order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Difference, EpisodesChecksum, Evaluation, HeadAccuracy, mean_with, resampled_means};
use crate::interval::{Interval, RunningMean};
use crate::{Error, Head, IntervalSettings, Result};

/// The accuracy of a head on the queries of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassAccuracy {
    /// The label.
    pub class: u32,
    /// Episodes in which the class had queries.
    pub episodes: usize,
    /// Queries of the class over all of them.
    pub queries: u64,
    /// Mean over these episodes of the share of the class's queries that are predicted right (recall).
    pub accuracy: f64,
    /// Its standard error over the episodes; none for a single one.
    pub standard_error: Option<f64>,
    /// Its t-interval; none for a single one.
    pub student: Option<Interval>,
}

/// The accuracy of a head on the episodes of one number of classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WayAccuracy {
    /// How many classes.
    pub way: usize,
    /// Episodes of that many.
    pub episodes: usize,
    /// What guessing gives: 1/way.
    pub chance: f64,
    /// Mean accuracy over these episodes.
    pub accuracy: f64,
    /// Its standard error; none for a single episode.
    pub standard_error: Option<f64>,
    /// Its t-interval; none for a single episode.
    pub student: Option<Interval>,
}

/// What every head got right in one episode.
pub(super) struct Outcome {
    pub(super) classes: Vec<u32>,
    /// Queries of each class.
    pub(super) queries: Vec<u32>,
    /// [head][class].
    pub(super) correct: Vec<Vec<u32>>,
    pub(super) checksum: [u8; 32],
}

#[derive(Default)]
struct HeadTally {
    per_episode: Vec<f64>,
    by_class: BTreeMap<u32, (RunningMean, u64)>,
    by_way: BTreeMap<usize, RunningMean>,
}

/// The running counts of an evaluation.
pub(super) struct Tally {
    names: Vec<String>,
    heads: Vec<HeadTally>,
    checksum: EpisodesChecksum,
    settings: IntervalSettings,
}

impl Tally {
    pub(super) fn new<H: Head>(heads: &[H], settings: &IntervalSettings) -> Result<Self> {
        settings.check()?;
        let names: Vec<String> = heads.iter().map(Head::name).collect();
        if names.is_empty() {
            return Err(Error::NoHeads);
        }
        if let Some((_, head)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(Error::DuplicateHead { head: head.clone() });
        }
        let heads = names.iter().map(|_| HeadTally::default()).collect();
        Ok(Self { names, heads, checksum: EpisodesChecksum::default(), settings: *settings })
    }

    /// Adds outcomes in order; the first error among them is returned.
    pub(super) fn add_all(&mut self, outcomes: Vec<Result<Outcome>>) -> Result<()> {
        for outcome in outcomes {
            let outcome = outcome?;
            self.checksum.push(&outcome.checksum);
            for (head, correct) in self.heads.iter_mut().zip(&outcome.correct) {
                head.add(&outcome, correct);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Evaluation> {
        let Self { names, heads, checksum, settings } = self;
        let columns: Vec<&[f64]> = heads.iter().map(|head| head.per_episode.as_slice()).collect();
        let resampled = resampled_means(&columns, &settings);
        let mut differences = Vec::new();
        for first in 0..heads.len() {
            for second in first + 1..heads.len() {
                let pair = [(&names[first], columns[first]), (&names[second], columns[second])];
                differences.push(Difference::between(pair, [&resampled[first], &resampled[second]], &settings)?);
            }
        }
        let episodes = columns.first().map_or(0, |column| column.len());
        let heads: Result<Vec<HeadAccuracy>> = names
            .into_iter()
            .zip(heads)
            .zip(resampled)
            .map(|((name, head), r)| head.finish(name, r, &settings))
            .collect();
        Ok(Evaluation { episodes, episodes_checksum: checksum.finish(), settings, heads: heads?, differences })
    }
}

impl HeadTally {
    fn add(&mut self, outcome: &Outcome, correct: &[u32]) {
        let right: u32 = correct.iter().sum();
        let asked: u32 = outcome.queries.iter().sum();
        let accuracy = f64::from(right) / f64::from(asked);
        self.per_episode.push(accuracy);
        self.by_way.entry(outcome.classes.len()).or_default().push(accuracy);
        for ((&class, &asked), &right) in outcome.classes.iter().zip(&outcome.queries).zip(correct) {
            if asked > 0 {
                let (running, queries) = self.by_class.entry(class).or_default();
                running.push(f64::from(right) / f64::from(asked));
                *queries += u64::from(asked);
            }
        }
    }

    fn finish(self, head: String, resampled: Vec<f64>, settings: &IntervalSettings) -> Result<HeadAccuracy> {
        let level = settings.level;
        let by_class = self.by_class.into_iter().map(|(class, (running, queries))| ClassAccuracy {
            class,
            episodes: running.count,
            queries,
            accuracy: running.mean,
            standard_error: running.standard_error(),
            student: running.student(level),
        });
        let by_way = self.by_way.into_iter().map(|(way, running)| WayAccuracy {
            way,
            episodes: running.count,
            chance: 1.0 / way as f64,
            accuracy: running.mean,
            standard_error: running.standard_error(),
            student: running.student(level),
        });
        Ok(HeadAccuracy {
            head,
            accuracy: mean_with(&self.per_episode, resampled, settings)?,
            by_class: by_class.collect(),
            by_way: by_way.collect(),
            per_episode: self.per_episode,
        })
    }
}
