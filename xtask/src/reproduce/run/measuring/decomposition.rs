//! The measures of the training images: complexity, collapse, and the factors into which NC divides.
//!
//! With m = mean over pairs of 1/d², NC = mean over pairs of (Var_i + Var_j)/(2 d²) is m times the variance within classes,
//! averaged with the weights 1/d². Divided by GC, this average is `variance_over_gc`, and
//! log NC = log GC + log m + log(Var/GC) exactly. The measure `mean_variance` has equal weights instead.

use collapse::{CdnvConvention, ClassMoments, CollapseReport, Divisor, Weighting};

use super::{Values, defined, plain};
use crate::study::measurement::Measured;
use crate::study::metric::Metric;

/// The collapse of training images, with their GC.
pub(super) struct Decomposed<'a> {
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

impl Decomposed<'_> {
    /// Enters the measures; `errors` are the standard errors of [`variances`].
    pub(super) fn enter(&self, errors: Option<[f64; 3]>, values: &mut Values) {
        let Self { moments, report, gc, gc_per_class, samples } = *self;
        let reported = |value: fn(&CollapseReport) -> Option<f64>| report.and_then(value);
        let measured = |value: Option<f64>, error: Option<f64>| {
            Measured::new(value.unwrap_or(f64::NAN), error.filter(|_| value.is_some()), samples)
        };
        values.insert(Metric::Gc, gc);

        let inverse = mean_inverse_squared_distance(moments);
        let inverse_error = reported(|report| report.factors.mean_inverse_squared_distance_std_error);
        values.insert(Metric::MeanInverseSquaredDistance, measured(inverse, inverse_error));
        let of_gc = relative(gc.standard_error, gc.value);

        let mixture = gc.value.and_then(|gc| defined(collapse::geometric_collapse(moments, gc)));
        let mixture = mixture.map(|form| form.value);
        let error = combined(mixture, [relative(inverse_error, inverse), of_gc]);
        values.insert(Metric::GeometricCollapse, measured(mixture, error));
        let pairwise = defined(collapse::pairwise_geometric_collapse(moments, gc_per_class)).map(|form| form.value);
        // The errors of GC_i count as an error of one common factor.
        let means = reported(|report| report.geometric.pairwise_std_error);
        let error = combined(pairwise, [relative(means, pairwise), of_gc]);
        values.insert(Metric::PairwiseGeometricCollapse, measured(pairwise, error));
        let unbiased = gc.value.and_then(|gc| defined(collapse::geometric_collapse_unbiased(moments, gc)));
        let unbiased = unbiased.map(|form| form.value);
        let means = reported(|report| report.geometric.mixture_unbiased_std_error);
        let error = combined(unbiased, [relative(means, unbiased), of_gc]);
        values.insert(Metric::GeometricCollapseUnbiased, measured(unbiased, error));

        let nc = defined(collapse::cdnv(moments, CdnvConvention::default())).map(|cdnv| cdnv.mean);
        values.insert(Metric::Nc, measured(nc, reported(|report| report.cdnv.std_error)));
        let unbiased = reported(|report| report.cdnv.unbiased);
        values.insert(Metric::NcUnbiased, measured(unbiased, reported(|report| report.cdnv.unbiased_std_error)));

        let found = variances(moments);
        let of = |index: usize| found.map(|found| found[index]);
        let relative_of = |index: usize| relative(errors.map(|errors| errors[index]), of(index));
        values.insert(Metric::MeanVariance, measured(of(0), errors.map(|errors| errors[0])));
        let ratio = |over: Option<f64>| gc.value.zip(over).map(|(gc, over)| gc / over);
        for (metric, index) in [(Metric::GcOverVariance, 0), (Metric::GcOverTotalVariance, 2)] {
            let value = ratio(of(index));
            values.insert(metric, measured(value, combined(value, [relative_of(index), of_gc])));
        }
        let value = ratio(of(1)).map(f64::recip);
        values.insert(Metric::VarianceOverGc, measured(value, combined(value, [relative_of(1), of_gc])));
        let constant = defined(collapse::effective_poincare_constant(moments, gc_per_class));
        values.insert(Metric::PoincareConstant, plain(constant.map(|constant| constant.max), samples));
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

    fn values(factor: f64) -> Values {
        let (features, labels) = features(factor);
        let mut moments = ClassMoments::new(3, 2, Scatter::Trace);
        moments.update_slice(&features, &labels).unwrap();
        let report = collapse::report_slice(&features, 2, &labels, None, &collapse::ReportOptions::default()).unwrap();
        let complexity = factor * factor;
        let gc_per_class = [0.5, 0.7, 0.9].map(|gc| gc * complexity);
        let gc = Measured::new(0.7 * complexity, Some(0.07 * complexity), 12);
        let mut values = Values::new();
        let own = Decomposed { moments: &moments, report: Some(&report), gc, gc_per_class: &gc_per_class, samples: 12 };
        own.enter(Some([0.1 * complexity; 3]), &mut values);
        values
    }

    fn value(values: &Values, metric: Metric) -> f64 {
        values[&metric].value.unwrap()
    }

    #[test]
    fn log_nc_is_the_sum_of_its_three_terms() {
        for factor in [1.0, 1e-3, 40.0] {
            let values = values(factor);
            let log = |metric: Metric| value(&values, metric).ln();
            let sum = log(Metric::Gc) + log(Metric::MeanInverseSquaredDistance) + log(Metric::VarianceOverGc);
            assert!((log(Metric::Nc) - sum).abs() < 1e-12, "{} {sum}", log(Metric::Nc));
        }
    }

    #[test]
    fn two_classes_have_their_factors_by_hand() {
        // Classes at −1, 1 and at 8, 12: Var 1 and 4, d² = 100.
        let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
        moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1]).unwrap();
        let gc = Measured::new(2.0, Some(0.2), 4);
        let mut values = Values::new();
        let own = Decomposed { moments: &moments, report: None, gc, gc_per_class: &[1.0, 3.0], samples: 4 };
        own.enter(Some([0.5, 0.5, 5.5]), &mut values);
        assert!((value(&values, Metric::MeanVariance) - 2.5).abs() < 1e-15);
        assert!((value(&values, Metric::MeanInverseSquaredDistance) - 0.01).abs() < 1e-15);
        assert!((value(&values, Metric::VarianceOverGc) - 1.25).abs() < 1e-12);
        assert!((value(&values, Metric::GcOverVariance) - 0.8).abs() < 1e-12);
        // tr Σ_W = 2.5, tr Σ_B = 25.
        assert!((value(&values, Metric::GcOverTotalVariance) - 2.0 / 27.5).abs() < 1e-12);
        // Relative errors of 0.2 (variances) and 0.1 (GC).
        let error = values[&Metric::GcOverVariance].standard_error.unwrap();
        assert!((error - 0.8 * 0.05f64.sqrt()).abs() < 1e-12);
        assert_eq!(values[&Metric::NcUnbiased].value, None);
    }

    #[test]
    fn measures_without_a_scale_do_not_change_with_the_scale_of_the_features() {
        let (one, other) = (values(1.0), values(3.7));
        for (metric, measured) in &one {
            let (before, after) = (measured.value, other[metric].value);
            if metric.is_scale_free() {
                let difference = before.zip(after).map(|(before, after)| (before / after - 1.0).abs());
                assert!(before.is_none() && after.is_none() || difference.unwrap() < 1e-10, "{metric:?}");
            } else {
                assert_ne!(before, after, "{metric:?}");
            }
        }
        assert!(one.keys().filter(|metric| metric.is_scale_free()).count() >= 7);
    }
}
