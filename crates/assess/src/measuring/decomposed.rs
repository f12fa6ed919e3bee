//! NC and its factors, from moments and GC.

use collapse::{CdnvConvention, ClassMoments, CollapseReport, Divisor, Weighting};

use super::defined;
use crate::{Decomposition, Measured};

/// What the decomposition is computed from.
pub(super) struct Factors<'a> {
    /// Moments of the features.
    pub(super) moments: &'a ClassMoments,
    /// All collapse measures, where they are defined.
    pub(super) report: Option<&'a CollapseReport>,
    /// GC of the features.
    pub(super) gc: Measured,
    /// GC of each class.
    pub(super) gc_per_class: &'a [f64],
    /// Number of images in the moments.
    pub(super) samples: usize,
}

/// Variances of features, of which ratios to GC do not depend on the scale.
///
/// In this order: the mean variance within classes, the same with the weights 1/d² of NC, and the total variance
/// tr Σ_W + tr Σ_B with equal weights of classes.
pub(super) fn variances(moments: &ClassMoments) -> Option<[f64; 3]> {
    let varied = moments.classes().iter().filter(|class| moments.count(**class) > 1);
    let own: Vec<f64> = varied.filter_map(|class| moments.variance(*class, Divisor::Samples)).collect();
    let nc = defined(collapse::cdnv(moments, CdnvConvention::default()))?.mean;
    let traces = defined(collapse::trace_ratio(moments, Weighting::ClassBalanced))?;
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    Some([mean, nc / mean_inverse_squared_distance(moments)?, traces.within + traces.between])
}

/// Mean over pairs of classes of 1/d².
fn mean_inverse_squared_distance(moments: &ClassMoments) -> Option<f64> {
    let classes = moments.classes().iter().filter(|class| moments.count(**class) > 1).count();
    // The geometric collapse is k/2 · GC times this mean.
    defined(collapse::geometric_collapse(moments, 1.0)).map(|unit| unit.value * 2.0 / classes as f64)
}

impl Factors<'_> {
    /// The decomposition; `errors` are the standard errors of [`variances`].
    pub(super) fn decomposition(&self, errors: Option<[f64; 3]>) -> Decomposition {
        let Self { moments, report, gc, gc_per_class, samples } = *self;
        let reported = |value: fn(&CollapseReport) -> Option<f64>| report.and_then(value);
        let measured = |value: Option<f64>, error: Option<f64>| Measured::maybe(value, error, samples);
        let of_gc = relative(gc.standard_error, gc.value);

        let inverse = mean_inverse_squared_distance(moments);
        let inverse_error = reported(|report| report.factors.mean_inverse_squared_distance_std_error);
        let mixture = gc.value.and_then(|gc| defined(collapse::geometric_collapse(moments, gc)));
        let mixture = mixture.map(|form| form.value);
        let pairwise = defined(collapse::pairwise_geometric_collapse(moments, gc_per_class)).map(|form| form.value);
        let unbiased = gc.value.and_then(|gc| defined(collapse::geometric_collapse_unbiased(moments, gc)));
        let unbiased = unbiased.map(|form| form.value);
        let with_gc = |value: Option<f64>, of_means: Option<f64>| measured(value, combined(value, [of_means, of_gc]));
        // Those of the report contain that of GC.
        let mixture_error = reported(|report| report.geometric.mixture_std_error);
        let pairwise_error = reported(|report| report.geometric.pairwise_std_error);
        let unbiased_error = reported(|report| report.geometric.mixture_unbiased_std_error);

        let nc = defined(collapse::cdnv(moments, CdnvConvention::default())).map(|cdnv| cdnv.mean);
        let found = variances(moments);
        let of = |index: usize| found.map(|found| found[index]);
        let relative_of = |index: usize| relative(errors.map(|errors| errors[index]), of(index));
        let ratio = |over: Option<f64>| gc.value.zip(over).map(|(gc, over)| gc / over);
        let constant = defined(collapse::effective_poincare_constant(moments, gc_per_class));
        Decomposition {
            gc,
            mean_inverse_squared_distance: measured(inverse, inverse_error),
            geometric_collapse: measured(mixture, mixture_error),
            pairwise_geometric_collapse: measured(pairwise, pairwise_error),
            geometric_collapse_unbiased: measured(unbiased, unbiased_error),
            nc: measured(nc, reported(|report| report.cdnv.std_error)),
            nc_unbiased: measured(
                reported(|report| report.cdnv.unbiased),
                reported(|report| report.cdnv.unbiased_std_error),
            ),
            mean_variance: measured(of(0), errors.map(|errors| errors[0])),
            variance_over_gc: with_gc(ratio(of(1)).map(f64::recip), relative_of(1)),
            gc_over_variance: with_gc(ratio(of(0)), relative_of(0)),
            gc_over_total_variance: with_gc(ratio(of(2)), relative_of(2)),
            poincare_constant: measured(constant.map(|constant| constant.max), None),
        }
    }
}

/// A standard error as a share of the value.
fn relative(error: Option<f64>, value: Option<f64>) -> Option<f64> {
    error.zip(value).map(|(error, value)| error / value.abs())
}

/// The standard error of a product or quotient of two independent factors, from their relative errors.
fn combined(value: Option<f64>, relative: [Option<f64>; 2]) -> Option<f64> {
    let [Some(one), Some(two)] = relative else { return None };
    value.map(|value| value.abs() * one.hypot(two))
}

#[cfg(test)]
mod tests {
    use collapse::Scatter;

    use super::*;

    /// Three classes of unequal variance in the plane, times a factor.
    fn features(factor: f64) -> (Vec<f64>, Vec<u32>) {
        let rows = [
            [0.0, 0.3],
            [0.1, -0.2],
            [-0.4, 0.1],
            [0.2, 0.0],
            [4.0, 0.9],
            [3.1, 1.4],
            [4.4, 0.2],
            [3.7, 1.1],
            [1.0, 5.0],
            [2.5, 6.0],
            [0.2, 4.1],
            [1.4, 6.6],
        ];
        (rows.iter().flatten().map(|value| factor * value).collect(), (0..12).map(|row| row / 4).collect())
    }

    fn decomposition(factor: f64) -> Decomposition {
        let (features, labels) = features(factor);
        let mut moments = ClassMoments::new(3, 2, Scatter::Trace);
        moments.update_slice(&features, &labels).unwrap();
        let complexity = factor * factor;
        let options = collapse::ReportOptions::default().with_gc(0.7 * complexity).with_gc_std_error(0.07 * complexity);
        let report = collapse::report_slice(&features, 2, &labels, None, &options).unwrap();
        let gc_per_class = [0.5, 0.7, 0.9].map(|gc| gc * complexity);
        let gc = Measured::new(0.7 * complexity, Some(0.07 * complexity), 12);
        let factors =
            Factors { moments: &moments, report: Some(&report), gc, gc_per_class: &gc_per_class, samples: 12 };
        factors.decomposition(Some([0.1 * complexity; 3]))
    }

    #[test]
    fn log_nc_is_the_sum_of_its_three_terms() {
        for factor in [1.0, 1e-3, 40.0] {
            let found = decomposition(factor);
            let log = |measured: Measured| measured.value.unwrap().ln();
            let sum = log(found.gc) + log(found.mean_inverse_squared_distance) + log(found.variance_over_gc);
            assert!((log(found.nc) - sum).abs() < 1e-12, "{} {sum}", log(found.nc));
        }
    }

    /// GC has a relative error of 0.1, and is a factor of each: its error is counted once.
    #[test]
    fn the_error_of_gc_is_counted_once() {
        let found = decomposition(1.0);
        let squared = |measured: Measured| (measured.standard_error.unwrap() / measured.value.unwrap()).powi(2);
        let of_means = squared(found.mean_inverse_squared_distance);
        assert!(of_means > 0.0 && (squared(found.geometric_collapse) - of_means - 0.01).abs() < 1e-12);
        let of_variance = squared(found.mean_variance);
        assert!((squared(found.gc_over_variance) - of_variance - 0.01).abs() < 1e-12);
    }

    #[test]
    fn two_classes_have_their_factors_by_hand() {
        // Classes at −1, 1 and at 8, 12: Var 1 and 4, d² = 100.
        let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
        moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1]).unwrap();
        let gc = Measured::new(2.0, Some(0.2), 4);
        let factors = Factors { moments: &moments, report: None, gc, gc_per_class: &[1.0, 3.0], samples: 4 };
        let found = factors.decomposition(Some([0.5, 0.5, 5.5]));
        let close = |measured: Measured, expected: f64| (measured.value.unwrap() - expected).abs() < 1e-12;
        assert!(close(found.mean_variance, 2.5) && close(found.mean_inverse_squared_distance, 0.01));
        assert!(close(found.variance_over_gc, 1.25) && close(found.gc_over_variance, 0.8));
        // tr Σ_W = 2.5, tr Σ_B = 25.
        assert!(close(found.gc_over_total_variance, 2.0 / 27.5));
        // max(1/1, 4/3).
        assert!(close(found.poincare_constant, 4.0 / 3.0));
        // Relative errors of 0.2 (variances) and 0.1 (GC).
        let error = found.gc_over_variance.standard_error.unwrap();
        assert!((error - 0.8 * 0.05f64.sqrt()).abs() < 1e-12);
        assert_eq!(found.nc_unbiased.value, None);
    }

    #[test]
    fn measures_without_a_scale_do_not_change_with_the_scale_of_the_features() {
        let (one, other) = (decomposition(1.0), decomposition(3.7));
        let same = |read: fn(&Decomposition) -> Measured| {
            let [before, after] = [&one, &other].map(|found| read(found).value.unwrap());
            (before / after - 1.0).abs() < 1e-10
        };
        assert!(same(|found| found.nc) && same(|found| found.nc_unbiased) && same(|found| found.variance_over_gc));
        assert!(same(|found| found.geometric_collapse) && same(|found| found.pairwise_geometric_collapse));
        assert!(same(|found| found.geometric_collapse_unbiased) && same(|found| found.poincare_constant));
        assert!(same(|found| found.gc_over_variance) && same(|found| found.gc_over_total_variance));
        assert!(!same(|found| found.gc) && !same(|found| found.mean_variance));
        assert!(!same(|found| found.mean_inverse_squared_distance));
    }
}
