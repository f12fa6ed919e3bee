//! The class mean with the largest cosine.

use super::{Head, Scores};
use crate::linalg::{Row, dot, dots};
use crate::{Result, Task};

/// Predicts the class whose support mean has the largest cosine similarity with the query.
///
/// **Definition** score_c(x) = ⟨x, m_c⟩ / (‖x‖ ‖m_c‖), where m_c is the mean support feature of class c.
///
/// **Conventions** the cosine with a zero vector is 0.
///
/// **Source** Gidaris, Komodakis, Dynamic few-shot visual learning without forgetting, CVPR 2018, section 3.2, with
/// class means instead of learnt weights, and temperature 1.
///
/// ```
/// use fewshot::{Cosine, Episode, Head, LabelledFeatures, Task};
/// let features = LabelledFeatures::from_f32(vec![1.0, 0.0, 0.0, 2.0, 3.0, 4.0], 2, vec![0, 1, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![], vec![2]])?;
/// assert_eq!(Cosine.scores(&Task::new(&features, &episode)?)?.values(), [0.6, 0.8]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cosine;

impl Head for Cosine {
    fn name(&self) -> String {
        "cosine".to_owned()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let means = task.class_means();
        let norms: Vec<f64> = means.chunks_exact(task.dimension()).map(norm).collect();
        let mut scores = vec![0.0; task.query_count() * task.way()];
        for (query, scores) in task.query_rows().zip(scores.chunks_exact_mut(task.way())) {
            let query = query.to_vec();
            let query_norm = norm(&query);
            dots(Row::F64(&query), &means, scores);
            for (score, mean_norm) in scores.iter_mut().zip(&norms) {
                *score = if query_norm == 0.0 || *mean_norm == 0.0 { 0.0 } else { *score / (query_norm * mean_norm) };
            }
        }
        Scores::new(task, scores)
    }
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}
