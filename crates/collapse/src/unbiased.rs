//! CDNV and geometric collapse from unbiased estimates of variances and of squared distances between class means.

use serde::{Deserialize, Serialize};

use crate::convention::{Divisor, Singletons};
use crate::geometric::{GeometricForm, require_complexity, require_per_class};
use crate::pairs::{ExcludedPairs, PairAverage, Pairs};
use crate::{ClassMoments, Error, GeometricCollapse, Result};

/// Mean over pairs of classes of the CDNV from unbiased variances and squared distances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnbiasedCdnv {
    /// Mean over pairs.
    pub mean: f64,
    /// Standard error of the mean. It needs a second pass over the samples: `None` when only class moments are given.
    /// [`crate::report()`] computes it.
    pub std_error: Option<f64>,
    /// Unordered pairs averaged.
    pub pairs: u64,
    /// Unordered pairs left out.
    pub excluded_pairs: ExcludedPairs,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// CDNV with the sampling bias of variances and of squared distances removed.
///
/// **Definition** mean over pairs of (s_i² + s_j²) / (2 D_ij²), with s_i² the variance of class i with divisor n_i − 1 and
/// D_ij² = ‖μ_i − μ_j‖² − s_i²/n_i − s_j²/n_j. For independent samples s_i² and D_ij² are unbiased estimates of Var_i and of
/// the squared distance of the true means.
///
/// **Conventions** Only the numerator and the denominator are unbiased. Their ratio has a bias of the order of the relative
/// variance of D_ij². The plug-in CDNV ([`crate::cdnv()`]) is smaller: its variances are too small by the factor 1 − 1/n,
/// and its squared distances are too large by Var_i/n_i + Var_j/n_j on average. Pairs are excluded as there. No pair is
/// excluded because of its estimate, which would bias the mean.
///
/// **Errors** [`Error::TooFewClasses`], [`Error::NoPair`]; [`Error::OutOfRange`] when D_ij² of a pair is not positive: the
/// samples are then too few to distinguish the two means.
///
/// **Source** ours; D_ij² is the usual correction of a squared distance for the variances of the means.
///
/// ```
/// use collapse::{ClassMoments, Scatter, cdnv_unbiased};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// // s² = 2 and 8, D² = 100 − 2/2 − 8/2 = 95.
/// assert_eq!(cdnv_unbiased(&moments)?.mean, (2.0 + 8.0) / (2.0 * 95.0));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn cdnv_unbiased(moments: &ClassMoments) -> Result<UnbiasedCdnv> {
    cdnv_unbiased_of(moments, &Pairs::new(UNBIASED_CDNV, moments, Singletons::LeftOut)?)
}

const UNBIASED_CDNV: &str = "unbiased CDNV";

/// The unbiased CDNV over these pairs of the moments' classes.
pub(crate) fn cdnv_unbiased_of(moments: &ClassMoments, pairs: &Pairs) -> Result<UnbiasedCdnv> {
    let average = average_over(UNBIASED_CDNV, moments, pairs, |estimates, i, j| {
        (estimates[i].variance + estimates[j].variance) / 2.0
    })?;
    Ok(UnbiasedCdnv {
        mean: average.mean,
        std_error: None,
        pairs: average.values,
        excluded_pairs: average.excluded,
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
    })
}

/// Geometric collapse in the mixture form, with the sampling bias of the squared distances removed.
///
/// **Definition** (k/2)·GC times the mean over pairs of 1/D_ij², with D_ij² as in [`cdnv_unbiased`] and k the number of classes
/// of at least two samples.
///
/// **Conventions** D_ij² is an unbiased estimate of the squared distance of the true means. Two biases are left. The mean of
/// 1/D_ij² is too large by about the relative variance of D_ij². And a `gc` that was measured on the same samples is correlated
/// with D_ij², which is an effect of the order of their covariance, 1/n. The plug-in form ([`crate::geometric_collapse()`]) is
/// smaller: its squared distances are too large by Var_i/n_i + Var_j/n_j on average. Pairs are excluded as there, and none
/// because of its estimate.
///
/// **Units** as of [`crate::geometric_collapse()`].
///
/// **Errors** as of [`crate::geometric_collapse()`], and [`Error::OutOfRange`] when D_ij² of a pair is not positive.
///
/// **Source** ours, after Proposition 4.1 of arXiv 2405.15706.
///
/// ```
/// use collapse::{ClassMoments, Scatter, geometric_collapse_unbiased};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// // D² = 100 − 2/2 − 8/2 = 95, k/2 = 1.
/// assert!((geometric_collapse_unbiased(&moments, 3.0)?.value - 3.0 / 95.0).abs() < 1e-15);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn geometric_collapse_unbiased(moments: &ClassMoments, gc: f64) -> Result<GeometricCollapse> {
    let operation = "unbiased geometric collapse";
    require_complexity(operation, gc)?;
    let pairs = Pairs::new(operation, moments, Singletons::LeftOut)?;
    let average = average_over(operation, moments, &pairs, |_, _, _| 1.0)?;
    let classes = moments.classes_with(Singletons::LeftOut).len();
    let value = gc * classes as f64 / 2.0 * average.mean;
    Ok(GeometricCollapse::new(value, GeometricForm::Mixture, true, &average, moments))
}

/// Geometric collapse in the pairwise form, with the sampling bias of the squared distances removed.
///
/// **Definition** mean over pairs of (GC_i + GC_j)/(2 D_ij²), with D_ij² as in [`cdnv_unbiased`].
///
/// **Shapes** `gc_per_class` `[K]`; entries of classes without samples or of one sample are not read.
///
/// **Conventions** Two biases are left, as in [`geometric_collapse_unbiased`].
///
/// **Errors** as of [`crate::pairwise_geometric_collapse()`], and [`Error::OutOfRange`] when D_ij² of a pair is not positive.
///
/// **Source** ours, after Proposition 4.1 of arXiv 2405.15706.
///
/// ```
/// use collapse::{ClassMoments, Scatter, pairwise_geometric_collapse_unbiased};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// assert_eq!(pairwise_geometric_collapse_unbiased(&moments, &[1.0, 3.0])?.value, 2.0 / 95.0);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn pairwise_geometric_collapse_unbiased(moments: &ClassMoments, gc_per_class: &[f64]) -> Result<GeometricCollapse> {
    require_per_class(PAIRWISE, moments, gc_per_class)?;
    pairwise_unbiased_by(moments, &|class| gc_per_class[class])
}

const PAIRWISE: &str = "unbiased pairwise geometric collapse";

/// The unbiased pairwise form, with the complexity of each class that takes part given by a function of the class.
pub(crate) fn pairwise_unbiased_by(moments: &ClassMoments, gc: &dyn Fn(usize) -> f64) -> Result<GeometricCollapse> {
    let gc: Vec<f64> = moments.classes_with(Singletons::LeftOut).into_iter().map(gc).collect();
    let pairs = Pairs::new(PAIRWISE, moments, Singletons::LeftOut)?;
    let average = average_over(PAIRWISE, moments, &pairs, |_, i, j| (gc[i] + gc[j]) / 2.0)?;
    Ok(GeometricCollapse::new(average.mean, GeometricForm::Pairwise, true, &average, moments))
}

/// Mean over pairs of `numerator(estimates, i, j)`/D_ij², with i and j positions in the list of classes of at least two samples.
/// It is an error if a D_ij² is not positive.
fn average_over(
    operation: &'static str,
    moments: &ClassMoments,
    pairs: &Pairs,
    numerator: impl Fn(&[VarianceEstimate], usize, usize) -> f64 + Sync,
) -> Result<PairAverage> {
    let estimate =
        |&class: &usize| VarianceEstimate::new(moments.variance(class, Divisor::Samples), moments.count(class));
    let estimates: Vec<VarianceEstimate> = pairs.classes.iter().map(estimate).collect();
    // A pair without a value makes the mean infinite and is the pair of the maximum.
    let value = |i: usize, j: usize, squared: f64| {
        let unbiased = squared_distance(squared, estimates[i], estimates[j]);
        [if unbiased > 0.0 { numerator(&estimates, i, j) / unbiased } else { f64::INFINITY }]
    };
    let average = pairs.average(operation, value)?;
    if average.max < f64::INFINITY {
        return Ok(average);
    }
    let (i, j) = average.max_pair;
    let squared = pairs.squared_from(&[i]).get(j).copied().unwrap_or_default();
    Err(Error::OutOfRange {
        operation,
        what: "the unbiased squared distance of every two class means",
        range: "positive (give more samples of each class)",
        value: squared_distance(squared, estimates[i], estimates[j]),
    })
}

/// The variance of a class with divisor n − 1, and its number of samples n.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VarianceEstimate {
    pub(crate) variance: f64,
    pub(crate) samples: f64,
}

impl VarianceEstimate {
    /// From the variance with divisor n, and n. A class of one sample, which has no variance, counts as constant.
    pub(crate) fn new(plug_in: Option<f64>, samples: u64) -> Self {
        let samples = samples as f64;
        Self { variance: plug_in.map_or(0.0, |variance| variance * (samples / (samples - 1.0))), samples }
    }
}

/// The squared distance of two estimated means less the variance of their difference; it may be negative.
pub(crate) fn squared_distance(plug_in: f64, left: VarianceEstimate, right: VarianceEstimate) -> f64 {
    plug_in - left.variance / left.samples - right.variance / right.samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scatter;

    #[test]
    fn squared_distances_are_unbiased_where_plug_in_distances_are_not() {
        // Two normal classes in 5 dimensions with 3 and 4 samples, standard deviations 1 and 2.
        let (width, trials) = (5, 20_000);
        for distance in [0.0, 1.5] {
            let (mut unbiased, mut square, mut plug_in) = (0.0, 0.0, 0.0);
            for trial in 0..trials {
                let mut stream = streams::stream(6, "collapse/tests/unbiased-distance", trial);
                let draws = streams::standard_normal(&mut stream, 7 * width);
                let value = |(at, draw): (usize, &f64)| match at / width {
                    0..3 => *draw,
                    _ => 2.0 * draw + if at % width == 0 { distance } else { 0.0 },
                };
                let features: Vec<f64> = draws.iter().enumerate().map(value).collect();
                let mut moments = ClassMoments::new(2, width, Scatter::Trace);
                moments.update_slice(&features, &[0, 0, 0, 1, 1, 1, 1]).unwrap();
                let pairs = Pairs::new("test", &moments, Singletons::LeftOut).unwrap();
                let squared = pairs.squared_from(&[0])[1];
                let of = |class| VarianceEstimate::new(moments.variance(class, Divisor::Samples), moments.count(class));
                let found = squared_distance(squared, of(0), of(1));
                unbiased += found;
                square += found * found;
                plug_in += squared;
            }
            let count = trials as f64;
            let mean = unbiased / count;
            let std_error = ((square / count - mean * mean) / count).sqrt();
            assert!((mean - distance * distance).abs() < 4.0 * std_error, "{mean} ± {std_error} for {distance}²");
            // The variance of the difference of the means: 5·(1/3 + 4/4).
            assert!((plug_in / count - distance * distance - 5.0 * 4.0 / 3.0).abs() < 4.0 * std_error);
        }
    }
}
