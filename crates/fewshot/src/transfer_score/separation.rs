//! Class separation by the class-distance normalised variance.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::classes;
use crate::linalg::{dot, squared_distances};
use crate::{Error, FeatureView, Result};

/// Class separation: minus the mean class-distance normalised variance (CDNV).
///
/// **Definition** minus the mean over pairs i ≠ j of V_ij = (Var_i + Var_j)/(2‖μ_i − μ_j‖²), where Var_i is the mean over
/// class i of ‖x − μ_i‖².
///
/// **Conventions** divisor n_i; pairs weigh equally. V_ij is undefined where two means coincide; such pairs are excluded
/// and counted.
///
/// **Source** Galanti, György, Hutter, ICLR 2022 (arXiv 2112.15121): definition of the CDNV, and a bound on the
/// nearest-mean error by a multiple of it.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// Minus the mean CDNV; higher is better.
    pub value: f64,
    /// The mean CDNV over pairs.
    pub mean_cdnv: f64,
    /// Number of pairs of classes in the mean.
    pub pairs: usize,
    /// Number of pairs excluded because their means coincide.
    pub coincident_pairs: usize,
    /// Number of samples (n).
    pub samples: usize,
}

impl fmt::Display for Separation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "separation {:.4}", self.value)
    }
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
pub fn separation<'a>(features: impl Into<FeatureView<'a>>) -> Result<Separation> {
    let features = features.into();
    const NAME: &str = "the class separation";
    let classes = classes(features, NAME)?;
    let dimension = features.dimension();
    let mut means = vec![0.0; classes.len() * dimension];
    let mut variances = Vec::with_capacity(classes.len());
    for (mean, class) in means.chunks_exact_mut(dimension).zip(&classes) {
        class.rows.iter().for_each(|&row| features.row_slice(row).add_to(mean));
        mean.iter_mut().for_each(|value| *value /= class.rows.len() as f64);
        let mut distance = [0.0];
        let mut total = 0.0;
        for &row in &class.rows {
            squared_distances(features.row_slice(row), mean, &mut distance);
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
