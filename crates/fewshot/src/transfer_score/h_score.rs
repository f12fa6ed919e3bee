//! The H-score with a shrunk covariance.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{classes, matrix};
use crate::linalg::{Row, ShrunkCovariance, centre, dot};
use crate::{Error, FeatureView, Result};

/// The H-score: variance of the class means relative to the (shrunk) covariance of the features.
///
/// **Definition** H = tr(Σ⁻¹ (1 − γ) Σ_z) with Σ = (1 − γ) S + γ (tr S/p) I, where S is the covariance of the features
/// and Σ_z that of their class means. Both have the divisor n, so classes weigh by their share of the samples. γ is the
/// shrinkage of Ledoit and Wolf.
///
/// **Conventions** the score is between 0 and min(p, k − 1). Where n ≤ p, Σ is inverted through the n×n Gram matrix.
///
/// **Source** Bao et al., An information-theoretic approach to transferability, ICIP 2019 (the score); Ibrahim,
/// Ponomareva, Mazumder, Newer is not always better, 2021 (arXiv 2110.06893; the shrinkage and the factor 1 − γ).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HScore {
    /// The score; higher is better.
    pub value: f64,
    /// The shrinkage γ.
    pub shrinkage: f64,
    /// Number of samples (n).
    pub samples: usize,
    /// Number of features per sample (p).
    pub dimension: usize,
    /// Number of classes (k).
    pub classes: usize,
}

impl fmt::Display for HScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "H-score {:.4}", self.value)
    }
}

/// The [`HScore`] of labelled features.
///
/// **Errors** [`Error::Undefined`] for a single class or features that do not vary; [`Error::NotPositiveDefinite`]
/// where the shrinkage is zero and the features are linearly dependent.
///
/// ```
/// use fewshot::{LabelledFeatures, h_score};
/// // One feature: shrinkage does not change S = σ², so H/(1 − γ) = between/total variance = 4/5.
/// let features = LabelledFeatures::from_f32(vec![1.0, 3.0, 5.0, 7.0], 1, vec![0, 0, 1, 1])?;
/// let score = h_score(&features)?;
/// assert!((score.value - (1.0 - score.shrinkage) * 4.0 / 5.0).abs() < 1e-15);
/// # fewshot::Result::Ok(())
/// ```
pub fn h_score<'a>(features: impl Into<FeatureView<'a>>) -> Result<HScore> {
    let features = features.into();
    const NAME: &str = "the H-score";
    let classes = classes(features, NAME)?;
    let (samples, dimension) = (features.samples(), features.dimension());
    let mut rows = matrix(features);
    centre(&mut rows, dimension);
    let covariance = ShrunkCovariance::new(&rows, dimension);
    if covariance.mean_variance == 0.0 {
        return Err(Error::Undefined { quantity: NAME, reason: "the features do not vary".to_owned() });
    }
    let shrinkage = covariance.ledoit_wolf();
    let mut means = vec![0.0; classes.len() * dimension];
    for (mean, class) in means.chunks_exact_mut(dimension).zip(&classes) {
        let scale = 1.0 / class.rows.len() as f64;
        class.rows.iter().for_each(|&row| Row::F64(&rows[row * dimension..][..dimension]).add_scaled_to(scale, mean));
    }
    let mut solved = means.clone();
    covariance.solve(shrinkage, &mut solved, NAME)?;
    let between: f64 = classes
        .iter()
        .zip(means.chunks_exact(dimension).zip(solved.chunks_exact(dimension)))
        .map(|(class, (mean, solved))| class.rows.len() as f64 / samples as f64 * dot(mean, solved))
        .sum();
    Ok(HScore { value: (1.0 - shrinkage) * between, shrinkage, samples, dimension, classes: classes.len() })
}
