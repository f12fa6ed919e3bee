//! The CDNV from unbiased estimates of variances and of squared distances between class means.

use serde::{Deserialize, Serialize};

use crate::convention::{Divisor, Singletons};
use crate::pairs::{ExcludedPairs, Pairs};
use crate::{ClassMoments, Error, Result};

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
    let operation = "unbiased CDNV";
    let pairs = Pairs::new(operation, moments, Singletons::LeftOut)?;
    let estimates: Vec<VarianceEstimate> = pairs
        .classes
        .iter()
        .map(|&class| VarianceEstimate::new(moments.variance(class, Divisor::Samples), moments.count(class)))
        .collect();
    // A pair without a value makes the mean infinite and is the pair of the maximum.
    let value = |i: usize, j: usize, squared: f64| {
        let unbiased = squared_distance(squared, estimates[i], estimates[j]);
        if unbiased > 0.0 { (estimates[i].variance + estimates[j].variance) / (2.0 * unbiased) } else { f64::INFINITY }
    };
    let summary = pairs.summarize(operation, |i, j, squared| [value(i, j, squared)])?;
    if summary.max == f64::INFINITY {
        let row = |class: usize| pairs.classes.binary_search(&class).unwrap_or_default();
        let (i, j) = (row(summary.max_pair.0), row(summary.max_pair.1));
        let squared = pairs.squared_from(&[i]).get(j).copied().unwrap_or_default();
        return Err(Error::OutOfRange {
            operation,
            what: "the unbiased squared distance of every two class means",
            range: "positive (give more samples of each class)",
            value: squared_distance(squared, estimates[i], estimates[j]),
        });
    }
    Ok(UnbiasedCdnv {
        mean: summary.mean,
        std_error: None,
        pairs: summary.values,
        excluded_pairs: summary.excluded,
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
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
