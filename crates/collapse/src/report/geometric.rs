//! Geometric collapse and its parts in a report: both forms, plug-in and unbiased.

use super::complexity::Complexity;
use super::measures::GeometricMeasures;
use super::record::Gaps;
use crate::convention::Singletons;
use crate::geometric::{largest_ratio, pairwise_by};
use crate::sample_pass::StandardErrors;
use crate::unbiased::pairwise_unbiased_by;
use crate::{ClassMoments, GeometricCollapse, Result, geometric_collapse, geometric_collapse_unbiased};

/// A value with its standard error.
type Measured = Option<(f64, Option<f64>)>;

/// Geometric collapse, and the mean over pairs of 1/d².
pub(super) fn measure(
    moments: &ClassMoments,
    complexity: &Complexity,
    errors: Option<&StandardErrors>,
    undefined: &mut Gaps,
) -> Result<(GeometricMeasures, Measured)> {
    let classes = moments.classes_with(Singletons::LeftOut).len() as f64;
    let error = |scale: f64, of: fn(&StandardErrors) -> f64| errors.map(|errors| scale * of(errors));
    // That of the class means with that of GC, a factor of the value.
    let with_gc = |found: Option<GeometricCollapse>, of_means: Option<f64>| {
        found.zip(of_means).map(|(found, of_means)| of_means.hypot(found.value * complexity.relative_error))
    };
    let gc = complexity.mean;
    let of_class = complexity.per_class.as_ref().map(|gc| |class| gc.get(&class).copied().unwrap_or_default());

    let mixture = gc.map(|gc| geometric_collapse(moments, gc)).transpose()?;
    let unit = undefined.keep("mean_inverse_squared_distance", geometric_collapse(moments, 1.0));
    let pairwise = of_class.as_ref().map(|gc| pairwise_by(moments, gc)).transpose()?;
    let constant =
        of_class.as_ref().and_then(|gc| undefined.keep("poincare_constant", largest_ratio(moments, gc, |_, _| ())));
    let mixture_unbiased =
        gc.and_then(|gc| undefined.keep("geometric_collapse_unbiased", geometric_collapse_unbiased(moments, gc)));
    let pairwise_unbiased = of_class
        .as_ref()
        .and_then(|gc| undefined.keep("pairwise_geometric_collapse_unbiased", pairwise_unbiased_by(moments, gc)));

    let scale = gc.unwrap_or_default() * classes / 2.0;
    let measures = GeometricMeasures {
        mixture: mixture.map(|found| found.value),
        mixture_std_error: with_gc(mixture, error(scale, |errors| errors.inverse)),
        pairwise: pairwise.map(|found| found.value),
        pairwise_std_error: with_gc(pairwise, error(1.0, |errors| errors.complexity)),
        mixture_unbiased: mixture_unbiased.map(|found| found.value),
        mixture_unbiased_std_error: with_gc(mixture_unbiased, error(scale, |errors| errors.unbiased_inverse)),
        pairwise_unbiased: pairwise_unbiased.map(|found| found.value),
        pairwise_unbiased_std_error: with_gc(pairwise_unbiased, error(1.0, |errors| errors.unbiased_complexity)),
        poincare_constant: constant.map(|(_, ratio)| ratio),
    };
    let inverse = unit.map(|unit| (unit.value * 2.0 / classes, error(1.0, |errors| errors.inverse)));
    Ok((measures, inverse))
}
