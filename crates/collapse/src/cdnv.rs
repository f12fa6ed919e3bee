//! The class-distance normalised variance: variance within classes over squared distance between class means.

use serde::{Deserialize, Serialize};

use crate::convention::{CdnvConvention, CdnvForm, Singletons};
use crate::pairs::{ExcludedPairs, PairAverage, PairMatrix, Pairs};
use crate::quantiles::Quantiles;
use crate::{ClassMoments, Result};

/// The class-distance normalised variance over all pairs of classes.
///
/// Its mean over pairs is the quantity NC of Munn et al. (2024).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cdnv {
    /// Mean over pairs.
    pub mean: f64,
    /// Standard error of the mean. It needs third and fourth moments, hence a second pass over the samples: `None` when
    /// only class moments are given. [`crate::report()`] computes it.
    pub std_error: Option<f64>,
    /// Largest value over pairs.
    pub max: f64,
    /// The pair of classes with the largest value.
    pub max_pair: (usize, usize),
    /// Quantiles over pairs.
    pub quantiles: Quantiles,
    /// Values averaged: unordered pairs, or ordered ones in the ordered form.
    pub pairs: u64,
    /// Unordered pairs left out.
    pub excluded_pairs: ExcludedPairs,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
    /// The convention.
    pub convention: CdnvConvention,
}

/// Class-distance normalised variance of all pairs of classes.
///
/// **Definition** V_ij = (Var_i + Var_j) / (2 ‖μ_i − μ_j‖²) in the default convention, Var_i = E‖x − μ_i‖² with divisor
/// n; other forms by [`CdnvConvention`].
///
/// **Conventions** All pairs have the same weight, whatever the counts. Pairs with a missing or single-sample class or
/// with coincident means are excluded and counted. The plug-in distance is biased upwards by Var_i/n_i + Var_j/n_j, so
/// few samples make a CDNV look smaller than it is. [`crate::cdnv_unbiased()`] removes this bias.
///
/// **Errors** [`crate::Error::TooFewClasses`], [`crate::Error::NoPair`].
///
/// **Source** T. Galanti, A. György, M. Hutter, ICLR 2022 (arXiv 2112.15121), Definition 1; M. Munn, B. Dherin,
/// J. Gonzalvo, NeurIPS 2024 (arXiv 2405.15706).
///
/// ```
/// use collapse::{CdnvConvention, ClassMoments, Scatter, cdnv};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// let cdnv = cdnv(&moments, CdnvConvention::default())?;
/// assert_eq!(cdnv.mean, (1.0 + 4.0) / (2.0 * 100.0));
/// assert_eq!((cdnv.pairs, cdnv.excluded_pairs.total()), (1, 0));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn cdnv(moments: &ClassMoments, convention: CdnvConvention) -> Result<Cdnv> {
    cdnv_with(moments, convention, Singletons::LeftOut)
}

/// The CDNV with or without classes of one sample, whose variance with divisor n is 0.
pub(crate) fn cdnv_with(moments: &ClassMoments, convention: CdnvConvention, singletons: Singletons) -> Result<Cdnv> {
    cdnv_of(moments, &Pairs::new(CDNV, moments, singletons)?, convention)
}

/// The operation that errors name.
pub(crate) const CDNV: &str = "class-distance normalised variance";

/// The CDNV over these pairs of the moments' classes.
pub(crate) fn cdnv_of(moments: &ClassMoments, pairs: &Pairs, convention: CdnvConvention) -> Result<Cdnv> {
    let variances = variances(moments, pairs, convention);
    let halved = |i: usize, j: usize, squared: f64| [(variances[i] + variances[j]) / (2.0 * squared)];
    let unhalved = |i: usize, j: usize, squared: f64| [(variances[i] + variances[j]) / squared];
    let ordered = |i: usize, j: usize, squared: f64| [variances[i] / squared, variances[j] / squared];
    let (average, quantiles) = match convention.form {
        CdnvForm::Halved => summary(pairs, halved),
        CdnvForm::Unhalved => summary(pairs, unhalved),
        CdnvForm::Ordered => summary(pairs, ordered),
    }?;
    Ok(Cdnv {
        mean: average.mean,
        std_error: None,
        max: average.max,
        max_pair: (pairs.classes[average.max_pair.0], pairs.classes[average.max_pair.1]),
        quantiles,
        pairs: average.values,
        excluded_pairs: average.excluded,
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
        convention,
    })
}

fn summary<const N: usize>(
    pairs: &Pairs,
    values: impl Fn(usize, usize, f64) -> [f64; N] + Sync + Copy,
) -> Result<(PairAverage, Quantiles)> {
    let average = pairs.average(CDNV, values)?;
    let quantiles = pairs.quantiles(average.values, values);
    Ok((average, quantiles))
}

/// The CDNV of every pair as a K×K matrix; row i, column j holds V_ij (in the ordered form Var_i/d_ij²).
///
/// **Errors** [`crate::Error::TooFewClasses`], [`crate::Error::Memory`].
///
/// ```
/// use collapse::{CdnvConvention, ClassMoments, Scatter, cdnv_matrix};
/// let mut moments = ClassMoments::new(3, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 2, 2])?;
/// let matrix = cdnv_matrix(&moments, CdnvConvention::default())?;
/// assert_eq!(matrix.get(2, 0), Some(0.025));
/// assert_eq!(matrix.get(0, 1), None);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn cdnv_matrix(moments: &ClassMoments, convention: CdnvConvention) -> Result<PairMatrix> {
    let pairs = Pairs::new(CDNV, moments, Singletons::LeftOut)?;
    let variances = variances(moments, &pairs, convention);
    let mut matrix = PairMatrix::new(CDNV, moments.class_count(), &pairs.classes)?;
    let collect = |tile: crate::pairs::Tile| tile.pairs().filter(|pair| pair.2 > 0.0).collect::<Vec<_>>();
    pairs.visit(collect, |tile| {
        for (i, j, squared) in tile {
            let (forth, back) = match convention.form {
                CdnvForm::Halved => ((variances[i] + variances[j]) / (2.0 * squared), None),
                CdnvForm::Unhalved => ((variances[i] + variances[j]) / squared, None),
                CdnvForm::Ordered => (variances[i] / squared, Some(variances[j] / squared)),
            };
            matrix.set(i, j, forth);
            matrix.set(j, i, back.unwrap_or(forth));
        }
    });
    Ok(matrix)
}

/// Variances of the rows of `pairs`.
fn variances(moments: &ClassMoments, pairs: &Pairs, convention: CdnvConvention) -> Vec<f64> {
    let variance = |&class: &usize| moments.square(class) / convention.divisor.of(moments.count(class));
    pairs.classes.iter().map(variance).collect()
}
