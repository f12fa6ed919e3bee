//! The nearest class mean after a feature transform (SimpleShot).

use super::{Head, Scores};
use crate::linalg::{Row, dot, squared_distances};
use crate::{Error, Result, Task};

/// The transform of every feature vector before class means are taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureTransform {
    /// No transform (UN).
    Unnormalised,
    /// x / ‖x‖ (L2N).
    L2,
    /// (x − b) / ‖x − b‖ (CL2N), where b is the mean feature of the base (training) classes.
    CentredL2,
}

/// The nearest class mean in Euclidean distance between transformed features.
///
/// **Definition** score_c(x) = −‖τ(x) − m_c‖², where τ is the transform and m_c the mean of τ over the support of class
/// c.
///
/// **Conventions** b must be attached with [`crate::LabelledFeatures::with_base_mean`]; it is never computed from the
/// episode. A zero vector stays zero. Class means are not normalised again.
///
/// **Errors** [`Error::MissingBaseMean`].
///
/// **Source** Wang, Chao, Weinberger, van der Maaten, SimpleShot, 2019 (arXiv 1911.04623), section 3.
///
/// ```
/// use fewshot::{Episode, FeatureTransform, Head, LabelledFeatures, SimpleShot, Task};
/// let features = LabelledFeatures::from_f32(vec![2.0, 0.0, 0.0, 5.0, 3.0, 4.0], 2, vec![0, 1, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![], vec![2]])?;
/// // (3, 4) becomes (0.6, 0.8): squared distances 0.8 to (1, 0) and 0.4 to (0, 1).
/// let scores = SimpleShot::new(FeatureTransform::L2).scores(&Task::new(&features, &episode)?)?;
/// assert!((scores.values()[0] + 0.8).abs() < 1e-15 && (scores.values()[1] + 0.4).abs() < 1e-15);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimpleShot {
    transform: FeatureTransform,
}

impl SimpleShot {
    /// The head with this transform.
    pub fn new(transform: FeatureTransform) -> Self {
        Self { transform }
    }

    fn apply(&self, rows: &mut [f64], task: &Task<'_>) -> Result<()> {
        if self.transform == FeatureTransform::Unnormalised {
            return Ok(());
        }
        if self.transform == FeatureTransform::CentredL2 {
            let base = task.base_mean().ok_or_else(|| Error::MissingBaseMean { head: self.name() })?;
            for row in rows.chunks_exact_mut(task.dimension()) {
                row.iter_mut().zip(base).for_each(|(value, base)| *value -= base);
            }
        }
        for row in rows.chunks_exact_mut(task.dimension()) {
            let norm = dot(row, row).sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|value| *value /= norm);
            }
        }
        Ok(())
    }

    fn class_means(&self, task: &Task<'_>) -> Result<Vec<f64>> {
        let dimension = task.dimension();
        let mut support = task.support_matrix();
        self.apply(&mut support, task)?;
        let mut means = vec![0.0; task.way() * dimension];
        for (row, &class) in support.chunks_exact(dimension).zip(task.support_classes()) {
            Row::F64(row).add_to(&mut means[class * dimension..][..dimension]);
        }
        for (mean, shots) in means.chunks_exact_mut(dimension).zip(task.shots()) {
            mean.iter_mut().for_each(|value| *value /= shots as f64);
        }
        Ok(means)
    }
}

impl Head for SimpleShot {
    fn name(&self) -> String {
        let transform = match self.transform {
            FeatureTransform::Unnormalised => "un",
            FeatureTransform::L2 => "l2n",
            FeatureTransform::CentredL2 => "cl2n",
        };
        format!("simpleshot:{transform}")
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let means = self.class_means(task)?;
        let mut queries = task.query_matrix();
        self.apply(&mut queries, task)?;
        let mut scores = vec![0.0; task.query_count() * task.way()];
        for (query, scores) in queries.chunks_exact(task.dimension()).zip(scores.chunks_exact_mut(task.way())) {
            squared_distances(Row::F64(query), &means, scores);
        }
        scores.iter_mut().for_each(|score| *score = -*score);
        Scores::new(task, scores)
    }
}
