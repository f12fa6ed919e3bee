//! Heads: classifiers that are fitted to a support set and score queries.

mod cosine;
mod discriminant;
mod kind;
#[cfg(feature = "faer")]
mod lbfgs;
mod linear;
#[cfg(feature = "faer")]
mod logistic;
mod nearest_mean;
mod ridge;
mod simple_shot;

pub use cosine::Cosine;
pub use discriminant::{Discriminant, Shrinkage};
pub use kind::HeadKind;
#[cfg(not(feature = "faer"))]
pub(crate) use kind::NEEDS_FAER;
pub(crate) use kind::SYNTAX;
#[cfg(feature = "faer")]
pub use logistic::Logistic;
pub use nearest_mean::NearestMean;
pub use ridge::{Bias, Penalty, PenaltyCandidate, PenaltyChoice, PenaltyScale, Ridge};
pub use simple_shot::{FeatureTransform, SimpleShot};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Task};

/// A classifier that is fitted to the support set of a task and scores its queries.
///
/// Implement the two methods for a head of your own; it is then evaluated like the heads of this crate.
///
/// ```
/// use fewshot::{Head, Result, Scores, Task};
///
/// /// Predicts the class of the nearest support sample in the first feature.
/// struct FirstFeature;
///
/// impl Head for FirstFeature {
///     fn name(&self) -> String {
///         "first-feature".to_owned()
///     }
///     fn scores(&self, task: &Task<'_>) -> Result<Scores> {
///         let (support, queries) = (task.support_matrix(), task.query_matrix());
///         let mut scores = vec![f64::MIN; task.query_count() * task.way()];
///         for (query, scores) in queries.chunks(task.dimension()).zip(scores.chunks_mut(task.way())) {
///             for (sample, &class) in support.chunks(task.dimension()).zip(task.support_classes()) {
///                 scores[class] = scores[class].max(-(sample[0] - query[0]).abs());
///             }
///         }
///         Scores::new(task, scores)
///     }
/// }
/// # use fewshot::{Episode, LabelledFeatures};
/// # let features = LabelledFeatures::from_f32(vec![0.0, 5.0, 1.0, 6.0], 1, vec![0, 1, 0, 1])?;
/// # let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![3]])?;
/// let task = Task::new(&features, &episode)?;
/// assert_eq!(FirstFeature.scores(&task)?.predictions(), [0, 1]);
/// # Result::Ok(())
/// ```
pub trait Head: Send + Sync {
    /// Name of the head in results, unique within an evaluation.
    fn name(&self) -> String;

    /// Fits the head to the support and scores every query for every class; the highest score is the prediction.
    fn scores(&self, task: &Task<'_>) -> Result<Scores>;
}

impl<H: Head + ?Sized> Head for Box<H> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        (**self).scores(task)
    }
}

impl<H: Head + ?Sized> Head for &H {
    fn name(&self) -> String {
        (**self).name()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        (**self).scores(task)
    }
}

/// The score of every query for every class `[q, w]`; the class with the highest score is predicted.
///
/// **Conventions** ties go to the class with the lowest index in the episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Scores {
    values: Vec<f64>,
    way: usize,
}

/// Scores read from a file, before they are checked.
#[derive(Deserialize)]
struct Unchecked {
    values: Vec<f64>,
    way: usize,
}

impl TryFrom<Unchecked> for Scores {
    type Error = Error;

    fn try_from(Unchecked { values, way }: Unchecked) -> Result<Self> {
        let queries = values.len().checked_div(way).unwrap_or(0);
        Self::checked(values, queries, way)
    }
}

impl Scores {
    /// Scores of a task, row-major with one row per query.
    ///
    /// **Errors** [`Error::ScoreShape`], [`Error::NonFiniteScore`].
    pub fn new(task: &Task<'_>, values: Vec<f64>) -> Result<Self> {
        Self::checked(values, task.query_count(), task.way())
    }

    fn checked(values: Vec<f64>, queries: usize, way: usize) -> Result<Self> {
        if way == 0 || values.len() != queries * way {
            return Err(Error::ScoreShape { found: values.len(), queries, way });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFiniteScore { query: at / way, class: at % way, value: values[at] });
        }
        Ok(Self { values, way })
    }

    /// Iterates over the queries: the scores of one query for all classes.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.way)
    }

    /// All scores `[q, w]`, row-major.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The predicted class of each query, 0 … w−1.
    pub fn predictions(&self) -> Vec<usize> {
        self.rows().map(highest).collect()
    }
}

/// Index of the highest value; the first one in a tie.
fn highest(values: &[f64]) -> usize {
    let mut best = 0;
    for (position, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = position;
        }
    }
    best
}
