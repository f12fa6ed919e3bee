//! The nearest class mean in Euclidean distance (prototypical networks).

use super::{Head, Scores};
use crate::linalg::squared_distances;
use crate::{Result, Task};

/// Predicts the class whose support mean is nearest in Euclidean distance.
///
/// **Definition** score_c(x) = −‖x − m_c‖², where m_c is the mean support feature of class c.
///
/// **Source** Snell, Swersky, Zemel, Prototypical networks, NeurIPS 2017 (arXiv 1703.05175), equations 1 and 2; the
/// classifier of Galanti, György, Hutter, ICLR 2022 (arXiv 2112.15121).
///
/// ```
/// use fewshot::{Episode, Head, LabelledFeatures, NearestMean, Task};
/// let features = LabelledFeatures::from_f32(vec![0.0, 2.0, 7.0, 3.0, 5.0], 1, vec![0, 0, 1, 0, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0, 1], vec![2]], vec![vec![3], vec![4]])?;
/// let scores = NearestMean.scores(&Task::new(&features, &episode)?)?;
/// assert_eq!(scores.values(), [-4.0, -16.0, -16.0, -4.0]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearestMean;

impl Head for NearestMean {
    fn name(&self) -> String {
        "ncm".to_owned()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let means = task.class_means();
        let mut scores = vec![0.0; task.query_count() * task.way()];
        for (query, scores) in task.query_rows().zip(scores.chunks_exact_mut(task.way())) {
            squared_distances(query, &means, scores);
        }
        scores.iter_mut().for_each(|score| *score = -*score);
        Scores::new(task, scores)
    }
}
