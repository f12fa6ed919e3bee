//! Multinomial logistic regression with an L2 penalty, fitted to convergence.

use super::lbfgs::{Settings, minimise};
use super::linear::LinearClassifier;
use super::{Head, Scores};
use crate::linalg::{Row, centre, dot, dots, eigen, gram};
use crate::{Error, Result, Task};

/// Multinomial logistic (softmax) regression on the support features.
///
/// **Definition** score(x) = W x + b, where the weights W `[w, p]` and biases b minimise
/// Σᵢ −ln softmax(W xᵢ + b)_{yᵢ} + (λ/2)‖W‖²_F. The biases are not penalised.
///
/// **Conventions** λ = 1/C of scikit-learn's `LogisticRegression(C)`, which has the same optimum. L-BFGS starts at zero.
/// It stops when the largest gradient component is at most 10⁻⁸ times the larger of 1 and its initial value. Where
/// s ≤ p, the problem is solved in the span of the support, which contains the optimum; the cost of a step then depends
/// on s, not on p. Needs the crate feature `faer`.
///
/// **Errors** of `scores`: [`Error::NotConverged`], [`Error::Decomposition`].
///
/// **Source** Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989.
///
/// ```
/// use fewshot::{Episode, Head, LabelledFeatures, Logistic, Task};
/// let features = LabelledFeatures::from_f32(vec![-1.0, 1.0, -0.5, 2.0], 1, vec![0, 1, 0, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![3]])?;
/// let scores = Logistic::new(1.0)?.scores(&Task::new(&features, &episode)?)?;
/// assert_eq!(scores.predictions(), [0, 1]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    lambda: f64,
}

impl Logistic {
    /// The head with the penalty λ.
    ///
    /// **Errors** [`Error::InvalidPenalty`] unless λ is positive and finite.
    pub fn new(lambda: f64) -> Result<Self> {
        if lambda > 0.0 && lambda.is_finite() {
            Ok(Self { lambda })
        } else {
            Err(Error::InvalidPenalty { value: lambda })
        }
    }

    fn fit(&self, task: &Task<'_>) -> Result<LinearClassifier> {
        let dimension = task.dimension();
        let mut features = task.support_matrix();
        // The unpenalised bias absorbs any shift of the features.
        let mean = centre(&mut features, dimension);
        let coordinates = Coordinates::new(features, dimension)?;
        let objective = Objective { coordinates: &coordinates, task, lambda: self.lambda };
        let start = vec![0.0; task.way() * (coordinates.rank + 1)];
        let solution = minimise("logistic regression", start, Settings::default(), |x, g| objective.evaluate(x, g))?;
        let (weights, bias) = solution.split_at(task.way() * coordinates.rank);
        let weights = coordinates.weights(weights, task.way());
        let bias = weights.chunks_exact(dimension).zip(bias).map(|(row, bias)| bias - dot(&mean, row)).collect();
        Ok(LinearClassifier { weights, bias })
    }
}

impl Head for Logistic {
    fn name(&self) -> String {
        format!("logistic:{}", self.lambda)
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        self.fit(task)?.scores(task)
    }
}

/// The support features in an orthonormal basis of their span; unchanged where s > p.
struct Coordinates {
    /// Z [s, rank].
    rows: Vec<f64>,
    rank: usize,
    features: Vec<f64>,
    dimension: usize,
    /// The vectors uⱼ/√lⱼ [rank, s] of X Xᵀ = U Λ Uᵀ; none without a change of basis.
    basis: Option<Vec<f64>>,
}

impl Coordinates {
    fn new(features: Vec<f64>, dimension: usize) -> Result<Self> {
        let samples = features.len() / dimension;
        if samples > dimension {
            return Ok(Self { rows: features.clone(), rank: dimension, features, dimension, basis: None });
        }
        let found = eigen(&gram(&features, dimension), samples, "logistic regression")?;
        let floor = found.values.iter().copied().fold(0.0, f64::max) * f64::EPSILON * samples as f64;
        let positive: Vec<usize> = (0..samples).filter(|&j| found.values[j] > floor).collect();
        let rank = positive.len();
        let (mut rows, mut basis) = (vec![0.0; samples * rank], vec![0.0; samples * rank]);
        for (column, &j) in positive.iter().enumerate() {
            let (vector, scale) = (&found.vectors[j * samples..][..samples], found.values[j].sqrt());
            for (i, value) in vector.iter().enumerate() {
                rows[i * rank + column] = value * scale;
                basis[column * samples + i] = value / scale;
            }
        }
        Ok(Self { rows, rank, features, dimension, basis: Some(basis) })
    }

    /// The weights of the features `[w, p]` from the weights of the coordinates `[w, rank]`.
    fn weights(&self, coordinates: &[f64], way: usize) -> Vec<f64> {
        let Some(basis) = &self.basis else { return coordinates.to_vec() };
        let samples = self.features.len() / self.dimension;
        let mut weights = vec![0.0; way * self.dimension];
        for (class, target) in weights.chunks_exact_mut(self.dimension).enumerate() {
            let mut sample_weights = vec![0.0; samples];
            for (column, direction) in basis.chunks_exact(samples).enumerate() {
                Row::F64(direction).add_scaled_to(coordinates[class * self.rank + column], &mut sample_weights);
            }
            for (row, weight) in self.features.chunks_exact(self.dimension).zip(sample_weights) {
                Row::F64(row).add_scaled_to(weight, target);
            }
        }
        weights
    }
}

struct Objective<'a> {
    coordinates: &'a Coordinates,
    task: &'a Task<'a>,
    lambda: f64,
}

impl Objective<'_> {
    /// The loss at `x` = (W row-major, then b); writes its gradient.
    fn evaluate(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (rank, way) = (self.coordinates.rank, self.task.way());
        let (weights, bias) = x.split_at(way * rank);
        let mut loss = 0.5 * self.lambda * dot(weights, weights);
        gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient = self.lambda * weight);
        gradient[way * rank..].fill(0.0);
        let mut logits = vec![0.0; way];
        for (sample, &class) in self.task.support_classes().iter().enumerate() {
            let row = Row::F64(&self.coordinates.rows[sample * rank..][..rank]);
            dots(row, weights, &mut logits);
            logits.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
            let highest = logits.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
            loss += highest + total.ln() - logits[class];
            for (c, logit) in logits.iter().enumerate() {
                let error = (logit - highest).exp() / total - if c == class { 1.0 } else { 0.0 };
                row.add_scaled_to(error, &mut gradient[c * rank..(c + 1) * rank]);
                gradient[way * rank + c] += error;
            }
        }
        loss
    }
}
