//! All measures of labelled features, with or without a head, in one record; and a series of such records along training.

mod complexity;
mod geometric;
mod head_measures;
mod measures;
#[cfg(not(feature = "faer"))]
mod no_spectral;
mod options;
mod record;
#[cfg(feature = "faer")]
mod spectral;
mod trajectory;

#[cfg(feature = "candle")]
use candle_core::Tensor;

use crate::cdnv::{CDNV, cdnv_of};
use crate::convention::Singletons;
use crate::features::Element;
use crate::pairs::Pairs;
use crate::unbiased::cdnv_unbiased_of;
use crate::{CdnvConvention, ClassMoments, Divisor, Head, Result, SamplePass, simplex, trace_ratio};
use complexity::Complexity;
pub use head_measures::{AgreementMeasures, DualityMeasures, HeadReport, HeadSimplexMeasures, ZeroSumMeasures};
pub use measures::{
    CdnvMeasures, Counts, DistanceAndVariance, GeometricMeasures, NearestMeanMeasures, SimplexMeasures,
    VariabilityMeasures,
};
#[cfg(not(feature = "faer"))]
use no_spectral::{Spectral, rank_me};
pub use options::ReportOptions;
use record::Gaps;
pub use record::{CollapseReport, Undefined};
#[cfg(feature = "faer")]
use spectral::{Spectral, rank_me};
pub use trajectory::Trajectory;

/// Measures features `[n, p]` with labels `[n]`, and a head if there is one.
///
/// The first pass computes moments; a second pass compares the samples with the class means (see [`SamplePass`]). Memory
/// beyond the input is K·p numbers, p² with [`crate::Scatter::Full`], and tiles.
///
/// **Errors** of the input as in [`ClassMoments::update`]; [`crate::Error::TooFewClasses`] and [`crate::Error::NoPair`] when there is no
/// CDNV; [`crate::Error::Incompatible`] for a head of another shape; wrong or misshapen complexities. Measures that the data
/// leave undefined are listed in the report instead.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use collapse::{ReportOptions, report};
/// let features = Tensor::new(&[[-1f32, 0.0], [1.0, 0.0], [0.0, 8.0], [0.0, 12.0]], &Device::Cpu)?;
/// let report = report(&features, &[0, 0, 1, 1], None, &ReportOptions::default())?;
/// assert_eq!((report.counts.samples, report.counts.classes), (4, 2));
/// assert!((report.cdnv.mean - 0.025).abs() < 1e-15);
/// assert_eq!(report.variability.trace_ratio, Some(0.1));
/// # Ok::<(), collapse::Error>(())
/// ```
#[cfg(feature = "candle")]
pub fn report(
    features: &Tensor,
    labels: &[u32],
    head: Option<&Head>,
    options: &ReportOptions,
) -> Result<CollapseReport> {
    let width = features.dims().get(1).copied().unwrap_or(0);
    let source = |moments: &mut ClassMoments| moments.update(features, labels);
    let pass = |pass: &mut SamplePass<'_>| pass.update(features, labels);
    assemble(width, labels, head, options, source, pass)
}

/// All collapse measures of a slice of whole rows of `feature_count` features.
///
/// **Errors** as of [`report()`].
///
/// ```
/// use collapse::{ReportOptions, report_slice};
/// let report = report_slice(&[-1.0f64, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &ReportOptions::default())?;
/// assert!((report.cdnv.mean - 0.025).abs() < 1e-15 && report.variability.trace_ratio == Some(0.1));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn report_slice<E: Element>(
    features: &[E],
    feature_count: usize,
    labels: &[u32],
    head: Option<&Head>,
    options: &ReportOptions,
) -> Result<CollapseReport> {
    let source = |moments: &mut ClassMoments| moments.update_slice(features, labels);
    let pass = |pass: &mut SamplePass<'_>| pass.update_slice(features, labels);
    assemble(feature_count, labels, head, options, source, pass)
}

fn assemble(
    width: usize,
    labels: &[u32],
    head: Option<&Head>,
    options: &ReportOptions,
    source: impl FnOnce(&mut ClassMoments) -> Result<()>,
    pass_by: impl FnOnce(&mut SamplePass<'_>) -> Result<()>,
) -> Result<CollapseReport> {
    let largest = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let class_count = options.class_count.or(head.map(Head::class_count)).unwrap_or(largest);
    let mut moments = ClassMoments::new(class_count, width, options.scatter()).with_precision(options.precision);
    if let Some(bytes) = options.memory_limit {
        moments = moments.with_memory_limit(bytes);
    }
    options.require_scatter(width)?;
    source(&mut moments)?;
    options.require_means(&moments)?;
    let complexity = Complexity::of(options, labels, &moments)?;
    let pairs = Pairs::new(CDNV, &moments, Singletons::LeftOut)?;
    let cdnv = cdnv_of(&moments, &pairs, options.cdnv)?;
    let mut undefined = Gaps::default();
    let unbiased = undefined.keep("cdnv_unbiased", cdnv_unbiased_of(&moments, &pairs));

    let mut spectral = Spectral::new(options, &moments)?;
    let mut pass = spectral.prepare(SamplePass::over(&moments, pairs, Singletons::LeftOut));
    if let Some(head) = head {
        pass = pass.with_head(head)?;
    }
    if let Some(gc) = &complexity.per_class {
        pass = pass.with_complexity_by(&|class| gc.get(&class).copied().unwrap_or_default());
    }
    pass_by(&mut pass)?;
    let nearest = pass.nearest_mean_error()?;
    let errors = pass.standard_errors();
    let directional = undefined.keep("directional_cdnv", pass.directional_cdnv());
    let agreement = head.map(|_| pass.agreement()).transpose()?;
    spectral.read(&pass);
    drop(pass);

    let spectral = spectral.measure(&moments, &mut undefined)?;
    let traces = undefined.keep("trace_ratio", trace_ratio(&moments, options.weighting));
    let geometry = undefined.keep("equinorm", simplex(&moments, options.weighting));
    let (geometric, inverse) = geometric::measure(&moments, &complexity, errors.as_ref(), &mut undefined)?;
    let head = head
        .zip(agreement)
        .map(|(head, agreement)| HeadReport::new(head, &moments, options.weighting, &agreement, &mut undefined));
    let rank_me = rank_me(options, &mut moments, &mut undefined);
    let plain = options.cdnv == CdnvConvention::default();
    Ok(CollapseReport {
        counts: Counts {
            samples: moments.measured_samples(),
            features: width,
            classes: moments.classes_with(Singletons::LeftOut).len(),
            missing_classes: class_count - moments.classes().len(),
            singleton_classes: moments.singleton_count(),
            left_out_samples: moments.singleton_count() as u64,
        },
        weighting: options.weighting,
        cdnv: CdnvMeasures {
            mean: cdnv.mean,
            std_error: errors.map(|errors| errors.cdnv).filter(|_| plain),
            unbiased: unbiased.map(|unbiased| unbiased.mean),
            unbiased_std_error: unbiased.and(errors).map(|errors| errors.unbiased_cdnv),
            max: cdnv.max,
            quantiles: cdnv.quantiles,
            convention: cdnv.convention,
            pairs: cdnv.pairs,
            excluded_pairs: cdnv.excluded_pairs,
            directional: directional.map(|directional| directional.mean),
        },
        factors: DistanceAndVariance {
            mean_inverse_squared_distance: inverse.map(|inverse| inverse.0),
            mean_inverse_squared_distance_std_error: inverse.and_then(|inverse| inverse.1),
            mean_variance: Some(mean_variance(&moments)),
        },
        geometric,
        variability: VariabilityMeasures {
            trace_ratio: traces.map(|traces| traces.ratio),
            signal_to_noise: traces.and_then(|traces| traces.signal_to_noise),
            within_share: traces.map(|traces| traces.within_share),
            trace_within: traces.map(|traces| traces.within),
            trace_between: traces.map(|traces| traces.between),
            ..spectral
        },
        rank_me,
        simplex: SimplexMeasures {
            equinorm: geometry.map(|geometry| geometry.equinorm),
            equiangularity: geometry.map(|geometry| geometry.equiangularity),
            equiangularity_max: geometry.map(|geometry| geometry.equiangularity_max),
            cosine_mean: geometry.map(|geometry| geometry.cosine_mean),
            cosine_std: geometry.map(|geometry| geometry.cosine_std),
            etf_error: geometry.map(|geometry| geometry.etf_error),
            log_energy: geometry.map(|geometry| geometry.uniformity.log_energy),
            log_energy_excess: geometry.map(|geometry| geometry.uniformity.excess),
        },
        nearest_mean: NearestMeanMeasures { error: nearest.error, std_error: nearest.std_error },
        head,
        undefined: undefined.0,
    })
}

/// Mean over classes of Var_i (divisor n).
fn mean_variance(moments: &ClassMoments) -> f64 {
    let classes = moments.classes_with(Singletons::LeftOut);
    let variances = classes.iter().filter_map(|&class| moments.variance(class, Divisor::Samples));
    variances.sum::<f64>() / classes.len() as f64
}
