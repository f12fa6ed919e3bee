//! Ridge regression on one-hot targets as a classifier.

mod choice;
#[cfg(feature = "faer")]
mod leave_one_out;
mod penalty;

pub use choice::{PenaltyCandidate, PenaltyChoice};
pub use penalty::{Penalty, PenaltyScale};

use super::linear::LinearClassifier;
use super::{Head, Scores};
use crate::linalg::{Cholesky, Row, centre, dot, gram, scatter};
use crate::{Result, Task};

/// Treatment of the bias.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// The bias is not penalised: features and targets are centred by their support means.
    #[default]
    Free,
    /// The bias is the weight of a constant feature 1 and penalised like the others; nothing is centred.
    Penalised,
}

/// Ridge regression on one-hot targets: least squares with an L2 penalty.
///
/// **Definition** with the support features X `[s, p]` and one-hot targets T `[s, w]`, B = (XcᵀXc + λI)⁻¹ XcᵀTc and
/// score(x) = (x − x̄)B + t̄, where Xc = X − x̄ and Tc = T − t̄ ([`Bias::Free`]); with [`Bias::Penalised`] X gets a
/// column of ones and x̄ = t̄ = 0.
///
/// **Conventions** λ adds to a sum over samples, not to their mean, as in scikit-learn's `RidgeClassifier(alpha=λ)`,
/// which has the same predictions. Where s ≤ p, the s×s dual system (XcXcᵀ + λI) is solved, otherwise the p×p primal
/// system; both give the same scores.
///
/// **Errors** of `scores`: [`crate::Error::NotPositiveDefinite`] where λ is below the rounding error of the features;
/// [`crate::Error::Decomposition`] with a leave-one-out penalty.
///
/// ```
/// use fewshot::{Episode, Head, LabelledFeatures, Penalty, Ridge, Task};
/// // X = (−1, 1), T = identity, λ = 2: x̄ = 0, t̄ = ½, B = (2 + 2)⁻¹ (−1, 1) = (−¼, ¼).
/// let features = LabelledFeatures::from_f32(vec![-1.0, 1.0, 1.0], 1, vec![0, 1, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![], vec![2]])?;
/// let scores = Ridge::new(Penalty::fixed(2.0)?).scores(&Task::new(&features, &episode)?)?;
/// assert_eq!(scores.values(), [0.25, 0.75]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    penalty: Penalty,
    bias: Bias,
}

impl Ridge {
    /// Ridge regression with an unpenalised bias.
    pub fn new(penalty: Penalty) -> Self {
        Self { penalty, bias: Bias::Free }
    }

    /// Sets the treatment of the bias.
    pub fn with_bias(self, bias: Bias) -> Self {
        Self { bias, ..self }
    }

    /// The penalty λ of this head on a task; with leave-one-out, also the error of every candidate.
    ///
    /// ```
    /// # use fewshot::{Episode, LabelledFeatures, Penalty, PenaltyScale, Ridge, Task};
    /// # let features = LabelledFeatures::from_f32(vec![-1.0, 1.0, 1.0], 1, vec![0, 1, 1])?;
    /// # let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![], vec![2]])?;
    /// let scaled = Penalty::scaled(0.1, PenaltyScale::Gram)?;
    /// // tr(XcXcᵀ)/s = (1 + 1)/2 = 1.
    /// assert_eq!(Ridge::new(scaled).penalty_on(&Task::new(&features, &episode)?)?.lambda, 0.1);
    /// # fewshot::Result::Ok(())
    /// ```
    pub fn penalty_on(&self, task: &Task<'_>) -> Result<PenaltyChoice> {
        let design = Design::new(task, self.bias);
        let products = design.products();
        self.choose(&design, &products)
    }

    fn choose(&self, design: &Design, products: &Products) -> Result<PenaltyChoice> {
        match self.penalty.resolve(products.trace, design.samples()) {
            penalty::Resolved::Given(lambda) => Ok(PenaltyChoice { lambda, candidates: Vec::new() }),
            #[cfg(feature = "faer")]
            penalty::Resolved::Candidates(candidates) => leave_one_out::choose(design, products, &candidates),
        }
    }

    fn fit(&self, task: &Task<'_>) -> Result<LinearClassifier> {
        let design = Design::new(task, self.bias);
        let products = design.products();
        let lambda = self.choose(&design, &products)?.lambda;
        if lambda == 0.0 {
            // λ = 0 only where all support samples are equal: the scores are the class shares.
            return Ok(LinearClassifier {
                weights: vec![0.0; task.way() * task.dimension()],
                bias: design.target_mean,
            });
        }
        let coefficients = design.solve(products, lambda)?;
        Ok(design.classifier(coefficients))
    }
}

impl Head for Ridge {
    fn name(&self) -> String {
        let bias = if self.bias == Bias::Penalised { ":penalised-bias" } else { "" };
        format!("ridge:{}{bias}", self.penalty)
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        self.fit(task)?.scores(task)
    }
}

/// The regression problem of a task: features and targets, centred or with a column of ones.
struct Design {
    /// Features [s, columns].
    features: Vec<f64>,
    columns: usize,
    /// Targets [w, s]: one row per class.
    targets: Vec<f64>,
    way: usize,
    feature_mean: Vec<f64>,
    target_mean: Vec<f64>,
    bias: Bias,
}

/// The smaller one of XXᵀ and XᵀX.
struct Products {
    matrix: Vec<f64>,
    /// True for the Gram matrix XXᵀ (dual problem), false for the scatter matrix XᵀX (primal problem).
    dual: bool,
    trace: f64,
}

impl Design {
    fn new(task: &Task<'_>, bias: Bias) -> Self {
        let (samples, way, dimension) = (task.support_count(), task.way(), task.dimension());
        let mut targets = vec![0.0; way * samples];
        for (sample, &class) in task.support_classes().iter().enumerate() {
            targets[class * samples + sample] = 1.0;
        }
        let mut features = task.support_matrix();
        match bias {
            Bias::Free => {
                let feature_mean = centre(&mut features, dimension);
                let target_mean: Vec<f64> = task.shots().iter().map(|&shots| shots as f64 / samples as f64).collect();
                for (row, mean) in targets.chunks_exact_mut(samples).zip(&target_mean) {
                    row.iter_mut().for_each(|target| *target -= mean);
                }
                Self { features, columns: dimension, targets, way, feature_mean, target_mean, bias }
            }
            Bias::Penalised => {
                let mut augmented = Vec::with_capacity(features.len() + samples);
                for row in features.chunks_exact(dimension) {
                    augmented.extend_from_slice(row);
                    augmented.push(1.0);
                }
                let (feature_mean, target_mean) = (vec![0.0; dimension], vec![0.0; way]);
                Self { features: augmented, columns: dimension + 1, targets, way, feature_mean, target_mean, bias }
            }
        }
    }

    fn samples(&self) -> usize {
        self.features.len() / self.columns
    }

    fn products(&self) -> Products {
        let dual = self.samples() <= self.columns;
        let matrix = if dual { gram(&self.features, self.columns) } else { scatter(&self.features, self.columns) };
        let size = self.samples().min(self.columns);
        let trace = (0..size).map(|i| matrix[i * size + i]).sum();
        Products { matrix, dual, trace }
    }

    /// (XᵀT)ᵀ [w, columns]: per class, the sum of features weighted by `targets`.
    fn combine(&self, targets: &[f64]) -> Vec<f64> {
        let samples = self.samples();
        let mut sums = vec![0.0; self.way * self.columns];
        for (sum, targets) in sums.chunks_exact_mut(self.columns).zip(targets.chunks_exact(samples)) {
            for (row, &target) in self.features.chunks_exact(self.columns).zip(targets) {
                Row::F64(row).add_scaled_to(target, sum);
            }
        }
        sums
    }

    /// The coefficients Bᵀ [w, columns].
    fn solve(&self, products: Products, lambda: f64) -> Result<Vec<f64>> {
        let Products { mut matrix, dual, .. } = products;
        let size = self.samples().min(self.columns);
        (0..size).for_each(|i| matrix[i * size + i] += lambda);
        let cholesky = Cholesky::new(matrix, size, "ridge")?;
        if dual {
            let mut weights = self.targets.clone();
            weights.chunks_exact_mut(size).for_each(|row| cholesky.solve(row));
            Ok(self.combine(&weights))
        } else {
            let mut coefficients = self.combine(&self.targets);
            coefficients.chunks_exact_mut(size).for_each(|row| cholesky.solve(row));
            Ok(coefficients)
        }
    }

    fn classifier(&self, coefficients: Vec<f64>) -> LinearClassifier {
        match self.bias {
            Bias::Free => {
                let rows = coefficients.chunks_exact(self.columns);
                let bias = rows.zip(&self.target_mean).map(|(row, mean)| mean - dot(&self.feature_mean, row)).collect();
                LinearClassifier { weights: coefficients, bias }
            }
            Bias::Penalised => {
                let rows = || coefficients.chunks_exact(self.columns);
                let bias = rows().map(|row| row[self.columns - 1]).collect();
                LinearClassifier { weights: rows().flat_map(|row| &row[..self.columns - 1]).copied().collect(), bias }
            }
        }
    }
}

#[cfg(test)]
mod tests;
