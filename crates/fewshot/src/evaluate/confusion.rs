//! Which classes one long task confuses.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{Head, Interval, Result, Task};

/// How a head's predictions fall on the classes of one task.
///
/// Meant for a long task, such as every class with all remaining samples as queries.
///
/// ```
/// use fewshot::{Confusion, Episode, LabelledFeatures, NearestMean, Task};
/// let features = LabelledFeatures::from_f32(vec![0.0, 4.0, 1.0, 3.0, 1.5], 1, vec![8, 9, 8, 9, 9])?;
/// let episode = Episode::new(vec![8, 9], vec![vec![0], vec![1]], vec![vec![2], vec![3, 4]])?;
/// let confusion = Confusion::of(&NearestMean, &Task::new(&features, &episode)?)?;
/// assert_eq!(confusion.counts, [[1, 0], [1, 1]]);
/// assert_eq!(confusion.recall(), [Some(1.0), Some(0.5)]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// The head.
    pub head: String,
    /// The label of each class, in the order of rows and columns.
    pub classes: Vec<u32>,
    /// `counts[true class][predicted class]` in queries.
    pub counts: Vec<Vec<u64>>,
    /// The share of queries on the diagonal.
    pub accuracy: f64,
    /// √(accuracy (1 − accuracy)/queries): the error over queries of these classes with this support.
    pub standard_error: f64,
    /// How many queries.
    pub queries: u64,
    /// Wilson's 95 % interval (1927), which stays within 0 to 1.
    pub wilson: Interval,
}

impl Confusion {
    /// Runs a head on a task and counts.
    ///
    /// **Errors** those of the head.
    pub fn of(head: &impl Head, task: &Task<'_>) -> Result<Self> {
        let way = task.way();
        let mut counts = vec![vec![0u64; way]; way];
        let episode = task.episode();
        for (predicted, &class) in head.scores(task)?.predictions().into_iter().zip(episode.query_classes()) {
            counts[class][predicted] += 1;
        }
        let queries = task.query_count() as u64;
        let right: u64 = (0..way).map(|class| counts[class][class]).sum();
        let accuracy = right as f64 / queries as f64;
        Ok(Self {
            head: head.name(),
            classes: episode.classes().to_vec(),
            counts,
            accuracy,
            standard_error: (accuracy * (1.0 - accuracy) / queries as f64).sqrt(),
            queries,
            wilson: wilson(accuracy, queries as f64, 0.95),
        })
    }

    /// The share of each class's queries that are predicted right; none for a class without queries.
    pub fn recall(&self) -> Vec<Option<f64>> {
        let share = |(class, row): (usize, &Vec<u64>)| {
            let asked: u64 = row.iter().sum();
            (asked > 0).then(|| row[class] as f64 / asked as f64)
        };
        self.counts.iter().enumerate().map(share).collect()
    }
}

fn wilson(share: f64, count: f64, level: f64) -> Interval {
    let z = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
    let weight = 1.0 + z * z / count;
    let centre = (share + 0.5 * z * z / count) / weight;
    let half = z / weight * (share * (1.0 - share) / count + 0.25 * z * z / (count * count)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0), level }
}
