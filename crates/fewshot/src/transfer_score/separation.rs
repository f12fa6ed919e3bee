//! Class separation by the class-distance normalised variance.

use serde::Serialize;

use super::classes;
use crate::linalg::{dot, squared_distances};
use crate::{Error, LabelledFeatures, Result};

/// How far classes lie apart, in units of their spread.
///
/// **Definition** minus the mean over pairs i ≠ j of the class-distance normalised variance
/// V_ij = (Var_i + Var_j)/(2‖μ_i − μ_j‖²), Var_i = mean over class i of ‖x − μ_i‖².
///
/// **Conventions** divisor n_i; classes weigh equally. Pairs whose means coincide have no V_ij: they are left out and
/// counted. No matrix is inverted, so n < p is no special case.
///
/// **Source** Galanti, György, Hutter, ICLR 2022 (arXiv 2112.15121), definition of the CDNV; used as a score for
/// few-shot accuracy because the nearest-mean error is bounded by a multiple of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Separation {
    /// Minus the mean variance; higher is better.
    pub value: f64,
    /// The mean class-distance normalised variance.
    pub mean_cdnv: f64,
    /// Pairs of classes in the mean.
    pub pairs: usize,
    /// Pairs left out because their means coincide.
    pub coincident_pairs: usize,
    /// How many samples (n).
    pub samples: usize,
}

/// The [`Separation`] of labelled features.
///
/// **Errors** [`Error::Undefined`] for a single class, or where all class means coincide.
///
/// ```
/// use fewshot::{LabelledFeatures, separation};
/// // Means 1 and 5, variances 1 and 4: (1 + 4)/(2·16).
/// let features = LabelledFeatures::from_f32(vec![0.0, 2.0, 3.0, 7.0], 1, vec![0, 0, 1, 1])?;
/// assert_eq!(separation(&features)?.mean_cdnv, 5.0 / 32.0);
/// # fewshot::Result::Ok(())
/// ```
pub fn separation(features: &LabelledFeatures) -> Result<Separation> {
    const NAME: &str = "the class separation";
    let classes = classes(features, NAME)?;
    let dimension = features.dimension();
    let mut means = vec![0.0; classes.len() * dimension];
    let mut variances = Vec::with_capacity(classes.len());
    for (mean, class) in means.chunks_exact_mut(dimension).zip(&classes) {
        class.rows.iter().for_each(|&row| features.view(row).add_to(mean));
        mean.iter_mut().for_each(|value| *value /= class.rows.len() as f64);
        let mut distance = [0.0];
        let mut total = 0.0;
        for &row in &class.rows {
            squared_distances(features.view(row), mean, &mut distance);
            total += distance[0];
        }
        variances.push(total / class.rows.len() as f64);
    }
    let (mut sum, mut pairs, mut coincident_pairs) = (0.0, 0, 0);
    for i in 0..classes.len() {
        for j in 0..i {
            let differ: Vec<f64> =
                (0..dimension).map(|k| means[i * dimension + k] - means[j * dimension + k]).collect();
            let distance = dot(&differ, &differ);
            if distance == 0.0 {
                coincident_pairs += 1;
            } else {
                sum += (variances[i] + variances[j]) / (2.0 * distance);
                pairs += 1;
            }
        }
    }
    if pairs == 0 {
        return Err(Error::Undefined { quantity: NAME, reason: "all class means coincide".to_owned() });
    }
    let mean_cdnv = sum / pairs as f64;
    Ok(Separation { value: -mean_cdnv, mean_cdnv, pairs, coincident_pairs, samples: features.samples() })
}
