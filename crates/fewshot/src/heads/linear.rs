//! A linear classifier with one weight vector and one bias per class: the result of fitting a linear head.

use super::Scores;
use crate::linalg::dots;
use crate::{Result, Task};

/// score_c(x) = ⟨w_c, x⟩ + b_c, with the weights `[w, p]` row-major.
pub(super) struct LinearClassifier {
    pub(super) weights: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

impl LinearClassifier {
    pub(super) fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let mut scores = vec![0.0; task.query_count() * task.way()];
        for (query, scores) in task.query_rows().zip(scores.chunks_exact_mut(task.way())) {
            dots(query, &self.weights, scores);
            scores.iter_mut().zip(&self.bias).for_each(|(score, bias)| *score += bias);
        }
        Scores::new(task, scores)
    }
}
