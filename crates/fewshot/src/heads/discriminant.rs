//! Linear discriminant analysis with a pooled, shrunk covariance.

use super::linear::LinearClassifier;
use super::{Head, Scores};
use crate::linalg::{ShrunkCovariance, dot};
use crate::{Error, Result, Task};

/// Shrinkage γ of the covariance towards a multiple of the identity.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shrinkage {
    /// This γ, between 0 and 1.
    Fixed(f64),
    /// γ by the formula of Ledoit and Wolf (2004), from the pooled residuals of each task.
    LedoitWolf,
}

/// Linear discriminant analysis: the Gaussian classifier with one covariance for all classes.
///
/// **Definition** with class means m_c, class shares π_c and the pooled covariance S = (1/s) Σᵢ rᵢrᵢᵀ of the
/// residuals rᵢ = xᵢ − m_{yᵢ}, Σ = (1 − γ) S + γ (tr S/p) I and
/// score_c(x) = (x − x̄)ᵀ Σ⁻¹ (m_c − x̄) − ½ (m_c − x̄)ᵀ Σ⁻¹ (m_c − x̄) + ln π_c.
///
/// **Conventions** divisor s. For a fixed γ the predictions equal those of scikit-learn's
/// `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=γ)`. With `shrinkage="auto"` scikit-learn shrinks each class
/// separately; here one γ is computed from the pooled residuals. Where s ≤ p, Σ is inverted through the s×s Gram matrix.
///
/// **Errors** of `scores`: [`Error::Undefined`] where no class varies (one shot); [`Error::NotPositiveDefinite`] where γ
/// is too small for a rank-deficient S.
///
/// **Source** Friedman, Regularized discriminant analysis, JASA 1989; Ledoit and Wolf, Journal of Multivariate
/// Analysis 2004.
///
/// ```
/// use fewshot::{Discriminant, Episode, Head, LabelledFeatures, Shrinkage, Task};
/// let features = LabelledFeatures::from_f32(vec![0.0, 2.0, 10.0, 12.0, 5.0, 7.5], 1, vec![0, 0, 1, 1, 0, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0, 1], vec![2, 3]], vec![vec![4], vec![5]])?;
/// // Means 1 and 11 around 6, variance 1: at x = 5 the scores are 5 − 12.5 + ln ½ and −5 − 12.5 + ln ½.
/// let scores = Discriminant::new(Shrinkage::Fixed(0.0))?.scores(&Task::new(&features, &episode)?)?;
/// assert!((scores.values()[0] - scores.values()[1] - 10.0).abs() < 1e-12);
/// assert_eq!(scores.predictions(), [0, 1]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discriminant {
    shrinkage: Shrinkage,
}

impl Discriminant {
    /// The head with this shrinkage.
    ///
    /// **Errors** [`Error::InvalidShrinkage`] for a γ outside of 0 to 1.
    pub fn new(shrinkage: Shrinkage) -> Result<Self> {
        match shrinkage {
            Shrinkage::Fixed(value) if !(0.0..=1.0).contains(&value) => Err(Error::InvalidShrinkage { value }),
            _ => Ok(Self { shrinkage }),
        }
    }

    fn fit(&self, task: &Task<'_>) -> Result<LinearClassifier> {
        const OPERATION: &str = "linear discriminant";
        let dimension = task.dimension();
        let mut means = task.class_means();
        let mut residuals = task.support_matrix();
        for (row, &class) in residuals.chunks_exact_mut(dimension).zip(task.support_classes()) {
            row.iter_mut().zip(&means[class * dimension..]).for_each(|(value, mean)| *value -= mean);
        }
        let covariance = ShrunkCovariance::new(&residuals, dimension);
        if covariance.mean_variance == 0.0 {
            let reason =
                "no class varies within its support, so its covariance is zero; use two or more shots".to_owned();
            return Err(Error::Undefined { quantity: OPERATION, reason });
        }
        let shrinkage = match self.shrinkage {
            Shrinkage::Fixed(value) => value,
            Shrinkage::LedoitWolf => covariance.ledoit_wolf(),
        };
        let shares: Vec<f64> = task.shots().iter().map(|&shots| shots as f64 / task.support_count() as f64).collect();
        let centre = weighted_mean(&means, &shares, dimension);
        for mean in means.chunks_exact_mut(dimension) {
            mean.iter_mut().zip(&centre).for_each(|(value, centre)| *value -= centre);
        }
        let mut weights = means.clone();
        covariance.solve(shrinkage, &mut weights, OPERATION)?;
        let rows = weights.chunks_exact(dimension).zip(means.chunks_exact(dimension)).zip(&shares);
        let bias = rows.map(|((row, mean), share)| share.ln() - 0.5 * dot(mean, row) - dot(&centre, row)).collect();
        Ok(LinearClassifier { weights, bias })
    }
}

impl Head for Discriminant {
    fn name(&self) -> String {
        match self.shrinkage {
            Shrinkage::Fixed(value) => format!("lda:{value}"),
            Shrinkage::LedoitWolf => "lda:auto".to_owned(),
        }
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        self.fit(task)?.scores(task)
    }
}

fn weighted_mean(means: &[f64], shares: &[f64], dimension: usize) -> Vec<f64> {
    let mut total = vec![0.0; dimension];
    for (mean, share) in means.chunks_exact(dimension).zip(shares) {
        total.iter_mut().zip(mean).for_each(|(total, value)| *total += share * value);
    }
    total
}
