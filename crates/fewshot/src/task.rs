//! The input of a head: an episode with the features of its samples.

use crate::linalg::Row;
use crate::{Episode, FeatureView, Result};

/// An episode with the features of its samples: the input of a head.
///
/// A head gets the support features with their classes, and the query features without their classes.
///
/// ```
/// use fewshot::{Episode, LabelledFeatures, Task};
/// let features = LabelledFeatures::from_f32(vec![0.0, 5.0, 1.0, 6.0], 1, vec![0, 1, 0, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![3]])?;
/// let task = Task::new(&features, &episode)?;
/// assert_eq!(task.query_matrix(), [1.0, 6.0]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    features: FeatureView<'a>,
    episode: &'a Episode,
}

impl<'a> Task<'a> {
    /// The task of `episode` on `features`, checked to fit each other.
    ///
    /// **Errors** those of [`Episode::check_against`].
    pub fn new(features: impl Into<FeatureView<'a>>, episode: &'a Episode) -> Result<Self> {
        let features = features.into();
        episode.check_against(features.labels())?;
        Ok(Self { features, episode })
    }

    /// Number of classes (w).
    pub fn way(&self) -> usize {
        self.episode.way()
    }

    /// Number of features per sample (p).
    pub fn dimension(&self) -> usize {
        self.features.dimension()
    }

    /// Number of support samples (s).
    pub fn support_count(&self) -> usize {
        self.episode.support().len()
    }

    /// Number of query samples (q).
    pub fn query_count(&self) -> usize {
        self.episode.query().len()
    }

    /// The class of each support sample, 0 … w−1.
    pub fn support_classes(&self) -> &'a [usize] {
        self.episode.support_classes()
    }

    /// Number of support samples of each class.
    pub fn shots(&self) -> Vec<usize> {
        self.episode.shots()
    }

    /// The support features `[s, p]`, row-major.
    pub fn support_matrix(&self) -> Vec<f64> {
        matrix(self.support_rows(), self.dimension())
    }

    /// The query features `[q, p]`, row-major.
    pub fn query_matrix(&self) -> Vec<f64> {
        matrix(self.query_rows(), self.dimension())
    }

    /// The mean feature of the base classes, where attached.
    pub fn base_mean(&self) -> Option<&'a [f64]> {
        self.features.base_mean()
    }

    /// The mean support feature of each class `[w, p]`, row-major.
    pub fn class_means(&self) -> Vec<f64> {
        let dimension = self.dimension();
        let mut means = vec![0.0; self.way() * dimension];
        for (row, &class) in self.support_rows().zip(self.support_classes()) {
            row.add_to(&mut means[class * dimension..][..dimension]);
        }
        for (mean, shots) in means.chunks_exact_mut(dimension).zip(self.shots()) {
            mean.iter_mut().for_each(|value| *value /= shots as f64);
        }
        means
    }

    pub(crate) fn episode(&self) -> &'a Episode {
        self.episode
    }

    pub(crate) fn support_rows(&self) -> impl ExactSizeIterator<Item = Row<'a>> + use<'a> {
        let features = self.features;
        self.episode.support().iter().map(move |&sample| features.row_slice(sample))
    }

    pub(crate) fn query_rows(&self) -> impl ExactSizeIterator<Item = Row<'a>> + use<'a> {
        let features = self.features;
        self.episode.query().iter().map(move |&sample| features.row_slice(sample))
    }
}

fn matrix<'a>(rows: impl ExactSizeIterator<Item = Row<'a>>, dimension: usize) -> Vec<f64> {
    let mut values = vec![0.0; rows.len() * dimension];
    for (row, target) in rows.zip(values.chunks_exact_mut(dimension)) {
        row.copy_to(target);
    }
    values
}
