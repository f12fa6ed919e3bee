//! Confusion matrix of one task.

use std::fmt;

use serde::{Deserialize, Serialize};
use statistics::wilson_interval;

use super::{bounded, percent};
use crate::{Error, Head, Interval, Result, Task};

/// Ceiling of the number of classes: the matrix takes 8 bytes per pair of classes, 0.8 GB at the ceiling.
const MOST_CLASSES: usize = 10_000;

/// Confusion matrix of a head on one task.
///
/// It is meant for a task with many queries, such as all classes with all remaining samples as queries.
///
/// ```
/// use fewshot::{Confusion, Episode, LabelledFeatures, NearestMean, Task};
/// let features = LabelledFeatures::from_f32(vec![0.0, 4.0, 1.0, 3.0, 1.5], 1, vec![8, 9, 8, 9, 9])?;
/// let episode = Episode::new(vec![8, 9], vec![vec![0], vec![1]], vec![vec![2], vec![3, 4]])?;
/// let confusion = Confusion::of(&NearestMean, &Task::new(&features, &episode)?)?;
/// assert_eq!(confusion.counts, [[1, 0], [1, 1]]);
/// assert_eq!(confusion.recall(), [Some(1.0), Some(0.5)]);
/// assert_eq!(confusion.to_string(), "ncm: 67 % (21 to 94 %)");
/// # fewshot::Result::Ok(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Name of the head.
    pub head: String,
    /// The label of each class, in the order of rows and columns.
    pub classes: Vec<u32>,
    /// Number of queries: `counts[true class][predicted class]`.
    pub counts: Vec<Vec<u64>>,
    /// The share of queries that are predicted correctly.
    pub accuracy: f64,
    /// Standard error over queries of these classes with this support: √(accuracy (1 − accuracy)/queries).
    ///
    /// **Conventions** where no or every query is predicted correctly, it is the posterior standard deviation of the
    /// accuracy under a uniform prior, about 1/queries.
    pub standard_error: f64,
    /// Number of queries.
    pub queries: u64,
    /// Wilson's 95 % interval (1927); it lies within 0 to 1 and its width is never zero.
    pub wilson: Interval,
}

impl Confusion {
    /// Confusion matrix of the predictions of a head on a task.
    ///
    /// **Errors** those of the head; [`Error::InvalidSetting`] for more than 10,000 classes.
    pub fn of(head: &impl Head, task: &Task<'_>) -> Result<Self> {
        let way = task.way();
        if way > MOST_CLASSES {
            let (value, expected) = (way as f64, "at most 10,000");
            return Err(Error::InvalidSetting {
                setting: "the number of classes of a confusion matrix",
                value,
                expected,
            });
        }
        let mut counts = vec![vec![0u64; way]; way];
        let episode = task.episode();
        for (predicted, &class) in head.scores(task)?.predictions().into_iter().zip(episode.query_classes()) {
            counts[class][predicted] += 1;
        }
        let queries = task.query_count() as u64;
        let correct: u64 = (0..way).map(|class| counts[class][class]).sum();
        let accuracy = correct as f64 / queries as f64;
        Ok(Self {
            head: head.name(),
            classes: episode.classes().to_vec(),
            counts,
            accuracy,
            standard_error: if correct == 0 || correct == queries {
                bounded::ACCURACY.standard_error_of_constant(accuracy, task.query_count())
            } else {
                (accuracy * (1.0 - accuracy) / queries as f64).sqrt()
            },
            queries,
            wilson: wilson_interval(correct, queries, 0.95)?,
        })
    }

    /// The share of each class's queries that are predicted correctly; none for a class without queries.
    pub fn recall(&self) -> Vec<Option<f64>> {
        let share = |(class, row): (usize, &Vec<u64>)| {
            let queries: u64 = row.iter().sum();
            (queries > 0).then(|| row[class] as f64 / queries as f64)
        };
        self.counts.iter().enumerate().map(share).collect()
    }
}

impl fmt::Display for Confusion {
    /// The accuracy with its interval: `ncm: 66.7 % (60.1 to 72.7 %)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.head)?;
        percent::accuracy(f, self.accuracy, &self.wilson)
    }
}
