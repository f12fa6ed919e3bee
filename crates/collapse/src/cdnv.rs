//! The class-distance normalised variance: how wide classes are against how far apart they lie.

use serde::{Deserialize, Serialize};

use crate::convention::{CdnvConvention, CdnvForm};
use crate::pairs::{ExcludedPairs, Need, PairMatrix, Pairs};
use crate::quantiles::Quantiles;
use crate::{ClassMoments, Result};

/// The class-distance normalised variance over all pairs of classes.
///
/// Its mean over pairs is the quantity NC of Munn et al. (2024).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cdnv {
    /// Mean over pairs.
    pub mean: f64,
    /// Standard error of the mean, where the samples themselves were seen again (see [`crate::report()`]); `None` from
    /// moments alone, which do not determine it: it needs third and fourth moments.
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
    /// Samples behind the moments.
    pub samples: u64,
    /// The convention.
    pub convention: CdnvConvention,
}

/// Class-distance normalised variance of all pairs of classes.
///
/// **Definition** V_ij = (Var_i + Var_j) / (2 ‖μ_i − μ_j‖²) in the default convention, Var_i = E‖x − μ_i‖² with divisor
/// n; other forms by [`CdnvConvention`].
///
/// **Conventions** Classes weigh the same, whatever their counts. Pairs with a missing or single-sample class or with
/// coincident means are excluded and counted. The plug-in distance is biased upwards by Var_i/n_i + Var_j/n_j, so
/// few samples make a CDNV look smaller than it is.
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
    let operation = "class-distance normalised variance";
    let pairs = Pairs::new(operation, moments, Need::Variances)?;
    let variances = variances(moments, &pairs, convention);
    let summary = match convention.form {
        CdnvForm::Halved => {
            pairs.summarize(operation, |i, j, squared| [(variances[i] + variances[j]) / (2.0 * squared)])
        }
        CdnvForm::Unhalved => pairs.summarize(operation, |i, j, squared| [(variances[i] + variances[j]) / squared]),
        CdnvForm::Ordered => {
            pairs.summarize(operation, |i, j, squared| [variances[i] / squared, variances[j] / squared])
        }
    }?;
    Ok(Cdnv {
        mean: summary.mean,
        std_error: None,
        max: summary.max,
        max_pair: summary.max_pair,
        quantiles: summary.quantiles,
        pairs: summary.values,
        excluded_pairs: summary.excluded,
        samples: moments.sample_count(),
        convention,
    })
}

/// The CDNV of every pair as a K×K matrix; row i, column j holds V_ij (in the ordered form Var_i/d_ij²).
///
/// **Errors** [`crate::Error::TooFewClasses`].
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
    let pairs = Pairs::new("class-distance normalised variance", moments, Need::Variances)?;
    let variances = variances(moments, &pairs, convention);
    let mut matrix = PairMatrix::new(moments.class_count());
    let collect = |tile: crate::pairs::Tile| tile.pairs().filter(|pair| pair.2 > 0.0).collect::<Vec<_>>();
    pairs.visit(collect, |tile| {
        for (i, j, squared) in tile {
            let (forth, back) = match convention.form {
                CdnvForm::Halved => ((variances[i] + variances[j]) / (2.0 * squared), None),
                CdnvForm::Unhalved => ((variances[i] + variances[j]) / squared, None),
                CdnvForm::Ordered => (variances[i] / squared, Some(variances[j] / squared)),
            };
            matrix.set(pairs.classes[i], pairs.classes[j], forth);
            matrix.set(pairs.classes[j], pairs.classes[i], back.unwrap_or(forth));
        }
    });
    Ok(matrix)
}

/// Variances of the rows of `pairs`, all of which have at least two samples.
fn variances(moments: &ClassMoments, pairs: &Pairs, convention: CdnvConvention) -> Vec<f64> {
    let variance = |&class: &usize| moments.squares()[class] / convention.divisor.of(moments.counts()[class]);
    pairs.classes.iter().map(variance).collect()
}
