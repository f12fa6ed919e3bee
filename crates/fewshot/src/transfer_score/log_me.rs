//! LogME: log evidence of a Bayesian linear model of the labels.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{classes, matrix};
use crate::linalg::singular_values;
use crate::{Error, FeatureView, Result};

/// LogME: maximum log evidence of the labels given the features.
///
/// **Definition** let y ∈ {0, 1}ⁿ be the one-hot target of a class, and F `[n, p]` the features. The model y = F w + ε,
/// w ~ N(0, α⁻¹I), ε ~ N(0, β⁻¹I) gives y ~ N(0, α⁻¹(FFᵀ + tI)) with t = α/β. The score is the mean over classes of
/// max over α, β of ln p(y | F)/n. For given t the best α is n/yᵀ(FFᵀ + tI)⁻¹y. The best t is found by a grid and
/// golden-section search over 10⁻¹² … 10¹² times the mean squared singular value of F.
///
/// **Conventions** features and targets are not centred, as in the paper. The definition holds for n < p too.
///
/// **Source** You, Liu, Wang, Long, LogME, ICML 2021 (arXiv 2102.11005), equation 2.
///
/// **Deviations** the paper updates α and β for a few steps from 1; here the evidence is maximised.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogMe {
    /// Mean over classes of the evidence per sample, in nats; higher is better.
    pub value: f64,
    /// The evidence per sample of each class, by ascending label.
    pub per_class: Vec<f64>,
    /// t = α/β of each class: noise over signal, in units of squared features.
    pub noise_ratio: Vec<f64>,
    /// Number of classes whose t is at the lower end of the search: the features fit their target without noise.
    pub noise_free: usize,
    /// Number of classes whose t is at the upper end: the features do not predict their target.
    pub without_signal: usize,
    /// Number of samples (n).
    pub samples: usize,
    /// Number of features per sample (p).
    pub dimension: usize,
}

impl fmt::Display for LogMe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogME {:.4} nats per sample", self.value)
    }
}

/// The [`LogMe`] of labelled features. Needs the crate feature `faer`.
///
/// **Errors** [`Error::Undefined`] for a single class or features that are all zero, [`Error::Decomposition`].
///
/// ```
/// use fewshot::{LabelledFeatures, log_me};
/// let features = LabelledFeatures::from_f32(vec![1.0, 0.0, 0.9, 0.1, 0.1, 1.0, 0.0, 0.8], 2, vec![0, 0, 1, 1])?;
/// let shuffled = LabelledFeatures::from_f32(vec![1.0, 0.0, 0.9, 0.1, 0.1, 1.0, 0.0, 0.8], 2, vec![0, 1, 0, 1])?;
/// assert!(log_me(&features)?.value > log_me(&shuffled)?.value);
/// # fewshot::Result::Ok(())
/// ```
pub fn log_me<'a>(features: impl Into<FeatureView<'a>>) -> Result<LogMe> {
    let features = features.into();
    const NAME: &str = "LogME";
    let classes = classes(features, NAME)?;
    let (samples, dimension) = (features.samples(), features.dimension());
    let found = singular_values(&matrix(features), samples, dimension, NAME)?;
    let floor = found.values[0] * f64::EPSILON * samples.max(dimension) as f64;
    let rank = found.values.iter().filter(|&&value| value > floor).count();
    if rank == 0 {
        return Err(Error::Undefined { quantity: NAME, reason: "all features are zero".to_owned() });
    }
    let squares: Vec<f64> = found.values[..rank].iter().map(|value| value * value).collect();
    let mut result = LogMe {
        value: 0.0,
        per_class: Vec::new(),
        noise_ratio: Vec::new(),
        noise_free: 0,
        without_signal: 0,
        samples,
        dimension,
    };
    for class in &classes {
        let project = |vector: &[f64]| class.rows.iter().map(|&row| vector[row]).sum::<f64>();
        let projections: Vec<f64> =
            found.vectors.chunks_exact(samples).take(rank).map(|vector| project(vector).powi(2)).collect();
        let unexplained = (class.rows.len() as f64 - projections.iter().sum::<f64>()).max(0.0);
        let unexplained = if rank == samples { 0.0 } else { unexplained };
        let profile = Profile { squares: &squares, projections, unexplained, samples };
        profile.maximise().record(&mut result);
    }
    result.value = result.per_class.iter().sum::<f64>() / classes.len() as f64;
    Ok(result)
}

/// The evidence of one target as a function of t, for the best α.
struct Profile<'a> {
    /// Squared singular values.
    squares: &'a [f64],
    /// (uⱼᵀy)².
    projections: Vec<f64>,
    /// ‖y⊥‖²: the part of ‖y‖² outside of the span of the features.
    unexplained: f64,
    samples: usize,
}

/// The maximum over t.
struct Maximum {
    evidence: f64,
    noise_ratio: f64,
    at_low: bool,
    at_high: bool,
}

impl Maximum {
    fn record(self, result: &mut LogMe) {
        result.per_class.push(self.evidence);
        result.noise_ratio.push(self.noise_ratio);
        result.noise_free += usize::from(self.at_low);
        result.without_signal += usize::from(self.at_high);
    }
}

impl Profile<'_> {
    /// ln p(y | t, best α)/n = −½ [ln 2π + 1 + ln(q/n) + (Σ ln(σⱼ² + t) + (n − r) ln t)/n],
    /// q = Σ (uⱼᵀy)²/(σⱼ² + t) + ‖y⊥‖²/t.
    fn evidence(&self, t: f64) -> f64 {
        let n = self.samples as f64;
        let outside = self.samples - self.squares.len();
        let mut quadratic = if outside > 0 { self.unexplained / t } else { 0.0 };
        let mut log_determinant = outside as f64 * t.ln();
        for (square, projection) in self.squares.iter().zip(&self.projections) {
            quadratic += projection / (square + t);
            log_determinant += (square + t).ln();
        }
        let log_2pi = (2.0 * std::f64::consts::PI).ln();
        -0.5 * (log_2pi + 1.0 + (quadratic / n).ln() + log_determinant / n)
    }

    /// The maximum over t: a grid over ln t, then golden-section search around its best point.
    fn maximise(&self) -> Maximum {
        const STEPS: usize = 120;
        let centre = (self.squares.iter().sum::<f64>() / self.squares.len() as f64).ln();
        let reach = 12.0 * std::f64::consts::LN_10;
        let at = |step: f64| (centre - reach + 2.0 * reach * step / STEPS as f64).exp();
        let mut best = 0;
        for step in 1..=STEPS {
            if self.evidence(at(step as f64)) > self.evidence(at(best as f64)) {
                best = step;
            }
        }
        let (mut low, mut high) = (best.saturating_sub(1) as f64, (best + 1).min(STEPS) as f64);
        let golden = 0.5 * (5f64.sqrt() - 1.0);
        while high - low > 1e-9 {
            let (left, right) = (high - golden * (high - low), low + golden * (high - low));
            if self.evidence(at(left)) >= self.evidence(at(right)) { high = right } else { low = left }
        }
        let step = 0.5 * (low + high);
        Maximum {
            evidence: self.evidence(at(step)),
            noise_ratio: at(step),
            at_low: step < 1e-6,
            at_high: step > STEPS as f64 - 1e-6,
        }
    }
}
