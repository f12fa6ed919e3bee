//! RankMe: the effective rank of the features.

use serde::{Deserialize, Serialize};

use super::eigen::eigenvalues_in_place;
use crate::convention::Singletons;
use crate::memory;
use crate::products::add_scatter;
use crate::{ClassMoments, Error, Result};

/// The point around which the features' singular values are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centring {
    /// Around zero, as RankMe is defined.
    #[default]
    Uncentred,
    /// Around the mean over samples.
    Centred,
}

/// The effective rank of the features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankMe {
    /// exp of the entropy of the normalised singular values, between 1 and min(n, p) (up to the added 1e-7).
    pub rank_me: f64,
    /// The centre.
    pub centring: Centring,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Effective rank of the feature matrix.
///
/// **Definition** exp(−Σ_k p_k ln p_k), p_k = σ_k/Σ_l σ_l + 1e-7, σ the min(n, p) singular values of the n×p features.
///
/// **Conventions** Every sample has the same weight. Labels only decide which samples are left out: those of classes of one
/// sample, as in every measure. Give all rows the same label if there are no labels. Singular values are roots of eigenvalues
/// of the p×p second moments; those of at most p·2⁻⁵² of the largest eigenvalue are rounding errors and count as zero. For f32
/// features rounding of the scatter products limits small singular values to about 1e-4 of the largest.
///
/// **Errors** [`Error::ScatterNotHeld`], [`Error::NoSamples`], [`Error::Vanishing`], [`Error::Decomposition`].
///
/// **Source** Q. Garrido, R. Balestriero, L. Najman, Y. LeCun, ICML 2023 (arXiv 2210.02885), equation 1.
///
/// ```
/// use collapse::{Centring, ClassMoments, Scatter, rank_me};
/// let mut moments = ClassMoments::new(1, 2, Scatter::Full);
/// moments.update_slice(&[1.0f64, 0.0, 0.0, 1.0], &[0, 0])?;
/// assert!((rank_me(&moments, Centring::Uncentred)?.rank_me - 2.0).abs() < 1e-5);
/// assert!((rank_me(&moments, Centring::Centred)?.rank_me - 1.0).abs() < 1e-5);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn rank_me(moments: &ClassMoments, centring: Centring) -> Result<RankMe> {
    let bytes = (moments.feature_count() as u128).pow(2) * 8;
    let request = memory::Request {
        operation: "RankMe",
        what: format!("a copy of the scatter matrix of {} features", moments.feature_count()),
        total: bytes,
        added: bytes,
        avoid: "use report(), which works in the matrix itself, or fewer features",
    };
    request.check(None)?;
    rank_me_within(&mut moments.clone(), centring)
}

/// RankMe computed in the memory of the moments' scatter matrix, which is overwritten.
pub(crate) fn rank_me_within(moments: &mut ClassMoments, centring: Centring) -> Result<RankMe> {
    const ADDED: f64 = 1e-7;
    let operation = "RankMe";
    let samples = moments.measured_samples();
    if samples == 0 {
        return Err(Error::NoSamples { operation });
    }
    let mut second = moments.take_products().ok_or(Error::ScatterNotHeld {
        operation,
        reason: "these moments hold variances only; accumulate with Scatter::Full",
    })?;
    let width = moments.feature_count();
    let centre = match centring {
        Centring::Uncentred => vec![0.0; width],
        Centring::Centred => moments.global_mean(crate::Weighting::SampleWeighted)?,
    };
    for classes in moments.classes_with(Singletons::LeftOut).chunks(256) {
        let mut rows = Vec::with_capacity(classes.len() * width);
        for &class in classes {
            let scale = (moments.count(class) as f64).sqrt();
            let mean = moments.mean(class).unwrap_or_default();
            rows.extend(mean.iter().zip(&centre).map(|(mean, centre)| scale * (mean - centre)));
        }
        add_scatter(&mut second, width, &rows);
    }
    let values = eigenvalues_in_place(operation, &mut second, width)?;
    let largest = values.first().copied().unwrap_or(0.0);
    if largest <= 0.0 {
        return Err(Error::Vanishing { operation, what: "every feature (around the chosen centre)" });
    }
    let noise = width as f64 * f64::EPSILON * largest;
    let count = width.min(usize::try_from(samples).unwrap_or(usize::MAX));
    let singular: Vec<f64> =
        values.iter().take(count).map(|&value| if value > noise { value.sqrt() } else { 0.0 }).collect();
    let total: f64 = singular.iter().sum();
    let entropy: f64 = singular.iter().map(|value| value / total + ADDED).map(|share| -share * share.ln()).sum();
    Ok(RankMe { rank_me: entropy.exp(), centring, singleton_classes: moments.singleton_count(), samples })
}
