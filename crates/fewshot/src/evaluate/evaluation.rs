//! The result of an evaluation: accuracies of heads, in total and by class and way.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::percent;
use crate::{Error, Interval, IntervalSettings, MeanEstimate, Result};

/// The accuracies of heads over the same episodes.
///
/// **Conventions** the accuracy of an episode is the share of its queries that are predicted correctly. The mean is over
/// episodes with equal weights, whatever their size. Results depend on the features, the episodes and the settings, and
/// not on the number of threads. `Display` writes one line per head and per difference.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of episodes.
    pub episodes: usize,
    /// SHA-256 of the episodes; equal for evaluations on the same episodes.
    pub episodes_checksum: String,
    /// Settings of the intervals.
    pub settings: IntervalSettings,
    /// The heads, in the order of the call.
    pub heads: Vec<HeadAccuracy>,
    /// The difference of every pair of heads (earlier − later), paired by episode.
    pub differences: Vec<Difference>,
}

/// The accuracy of one head.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadAccuracy {
    /// Name of the head.
    pub head: String,
    /// Mean accuracy over the episodes.
    ///
    /// **Conventions** where all n episodes have the same accuracy (such as 100 %), the sample variance is zero. Both
    /// intervals are then exact: at most a share 1 − (α/2)^(1/n) of all episodes has another accuracy, α = 1 − level.
    /// For 0 % and 100 % this is the interval of Clopper and Pearson. The standard error is then the posterior standard
    /// deviation of that share under a uniform prior, about 1/n.
    pub accuracy: MeanEstimate,
    /// The accuracy on each class, by ascending label.
    pub by_class: Vec<ClassAccuracy>,
    /// The accuracy on the episodes of each way, by ascending way.
    pub by_way: Vec<WayAccuracy>,
    /// The accuracy of every episode. Needed by [`crate::compare_on_same_episodes`] and [`crate::across_models`].
    #[serde(default)]
    pub per_episode: Vec<f64>,
}

/// The accuracy of a head on the queries of one class (its recall).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// The label.
    pub class: u32,
    /// Number of episodes with queries of the class.
    pub episodes: usize,
    /// Number of queries of the class in all episodes.
    pub queries: u64,
    /// Mean over these episodes of the share of the class's queries that are predicted correctly.
    pub accuracy: f64,
    /// Standard error over these episodes, as for [`HeadAccuracy::accuracy`]; none for a single episode.
    pub standard_error: Option<f64>,
    /// Student's t-interval, as for [`HeadAccuracy::accuracy`]; none for a single episode.
    pub student: Option<Interval>,
}

/// The accuracy of a head on the episodes of one way.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayAccuracy {
    /// Number of classes per episode.
    pub way: usize,
    /// Number of episodes with this way.
    pub episodes: usize,
    /// Accuracy of guessing: 1/way.
    pub chance: f64,
    /// Mean accuracy over these episodes.
    pub accuracy: f64,
    /// Standard error over these episodes, as for [`HeadAccuracy::accuracy`]; none for a single episode.
    pub standard_error: Option<f64>,
    /// Student's t-interval, as for [`HeadAccuracy::accuracy`]; none for a single episode.
    pub student: Option<Interval>,
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

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} episodes", self.episodes)?;
        self.heads.iter().try_for_each(|head| write!(f, "\n{head}"))?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n{difference}"))
    }
}

impl fmt::Display for HeadAccuracy {
    /// The accuracy ± half of the t-interval: `ncm: 87.2 ± 0.6 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.head)?;
        percent::accuracy(f, self.accuracy.mean, &self.accuracy.student)
    }
}

impl fmt::Display for ClassAccuracy {
    /// The accuracy ± half of the t-interval: `class 3: 87.2 ± 0.6 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {}: ", self.class)?;
        accuracy_with_optional_interval(f, self.accuracy, self.student.as_ref())
    }
}

impl fmt::Display for WayAccuracy {
    /// The accuracy ± half of the t-interval: `5-way: 87.2 ± 0.6 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-way: ", self.way)?;
        accuracy_with_optional_interval(f, self.accuracy, self.student.as_ref())
    }
}

fn accuracy_with_optional_interval(
    f: &mut fmt::Formatter<'_>,
    accuracy: f64,
    interval: Option<&Interval>,
) -> fmt::Result {
    match interval {
        Some(interval) => percent::accuracy(f, accuracy, interval),
        None => write!(f, "{:.1} % (one episode)", 100.0 * accuracy),
    }
}
