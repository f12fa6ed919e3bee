//! All measures of labelled features, with or without a head, in one flat record; and a series of such records along training.

use std::collections::BTreeMap;

#[cfg(feature = "candle")]
use candle_core::Tensor;
use faer::Mat;
use serde::{Deserialize, Serialize};

use crate::between::Between;
use crate::convention::{CdnvConvention, Precision, Singletons, Truncation, Weighting};
use crate::features::Element;
use crate::geometric::{largest_ratio, pairwise_by, require_complexity, require_per_class};
use crate::head::Head;
use crate::memory;
use crate::quantiles::Quantiles;
use crate::rank::rank_me_within;
use crate::variability::{Variability, equal_counts, variability_with, vci_with};
use crate::{
    Agreement, Centring, ClassMoments, Divisor, Error, ExcludedPairs, Result, SamplePass, Scatter, bias_collapse, cdnv,
    cdnv_unbiased, geometric_collapse, self_duality, simplex, simplex_of_head, trace_ratio, zero_sum,
};

/// Options of a report: conventions, and geometric complexities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportOptions {
    /// Number of classes; by default the head's, or the largest label plus one.
    pub class_count: Option<usize>,
    /// Weighting of classes. CDNV and geometric collapse (always means over pairs of classes), VCI and RankMe (always
    /// sample-weighted) do not use it.
    pub weighting: Weighting,
    /// Convention of the CDNV.
    pub cdnv: CdnvConvention,
    /// Truncation of Σ_B⁺.
    pub truncation: Truncation,
    /// [`Scatter::Full`] (default) also gives VCI and RankMe. It takes 2·p² numbers of memory.
    pub scatter: Scatter,
    /// The precision in which deviations are multiplied.
    pub precision: Precision,
    /// Limit of the memory beyond the input, in bytes; without one, large sizes are compared with the available memory.
    pub memory_limit: Option<u64>,
    /// Geometric complexity of each sample `[n]`: gives both geometric collapses and the Poincaré constant.
    pub gc_per_sample: Option<Vec<f64>>,
    /// Geometric complexity as one number; by default the mean of `gc_per_sample` over the samples that take part.
    pub gc: Option<f64>,
    /// Geometric complexity of each class `[K]`; by default the class means of `gc_per_sample`.
    pub gc_per_class: Option<Vec<f64>>,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            class_count: None,
            weighting: Weighting::default(),
            cdnv: CdnvConvention::default(),
            truncation: Truncation::default(),
            scatter: Scatter::Full,
            precision: Precision::default(),
            memory_limit: None,
            gc_per_sample: None,
            gc: None,
            gc_per_class: None,
        }
    }
}

/// A measure that is undefined for these data, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefined {
    /// The field of the report that is `None`.
    pub measure: String,
    /// The error's message.
    pub reason: String,
}

/// All measures of one set of labelled features, with their conventions and counts. A measure that is undefined for
/// these data is `None`, and `undefined` gives the reason.
///
/// Classes of one sample are left out of all sums, together with their samples: every measure is the same as if these
/// samples had not been given. Only the measures of a head alone (its simplex geometry and NC0) and `bias_collapse`
/// use all rows of the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CollapseReport {
    /// Samples that took part: those of classes of at least two samples.
    pub samples: u64,
    /// Features p.
    pub features: usize,
    /// Classes that took part: those of at least two samples.
    pub classes: usize,
    /// Classes below the class count that have no samples.
    pub missing_classes: usize,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of classes of one sample, which are left out.
    #[serde(default)]
    pub left_out_samples: u64,
    /// Weighting of the measures that have one.
    pub weighting: Weighting,
    /// Mean CDNV, the NC of the paper.
    pub cdnv: f64,
    /// Standard error of the mean CDNV over samples with fixed class counts: the linearized (infinitesimal jackknife) error
    /// of means and variances. `None` in forms other than the halved one with divisor n.
    pub cdnv_std_error: Option<f64>,
    /// Mean over pairs of the CDNV from unbiased variances and squared distances (halved form); see
    /// [`crate::cdnv_unbiased()`].
    #[serde(default)]
    pub cdnv_unbiased: Option<f64>,
    /// Standard error of `cdnv_unbiased`, linearized like `cdnv_std_error`, with divisors n − 1.
    #[serde(default)]
    pub cdnv_unbiased_std_error: Option<f64>,
    /// Largest CDNV over pairs.
    pub cdnv_max: f64,
    /// Quantiles of the CDNV over pairs.
    pub cdnv_quantiles: Quantiles,
    /// Convention of the CDNV.
    pub cdnv_convention: CdnvConvention,
    /// Pairs averaged in the CDNV.
    pub pairs: u64,
    /// Pairs excluded from the CDNV.
    pub excluded_pairs: ExcludedPairs,
    /// Mean over pairs of 1/‖μ_i − μ_j‖². With [`CollapseReport::mean_variance`] it gives the decomposition
    /// log NC ≈ log mean(1/d²) + log mean(Var), which is exact when all classes have the same variance.
    #[serde(default)]
    pub mean_inverse_squared_distance: Option<f64>,
    /// Standard error of the mean of 1/d² over samples.
    #[serde(default)]
    pub mean_inverse_squared_distance_std_error: Option<f64>,
    /// Mean over classes of Var_i (divisor n).
    #[serde(default)]
    pub mean_variance: Option<f64>,
    /// Directional CDNV.
    pub directional_cdnv: Option<f64>,
    /// Geometric collapse, mixture form.
    pub geometric_collapse: Option<f64>,
    /// Standard error of the mixture form from the class means, with the complexity taken as exact.
    pub geometric_collapse_std_error: Option<f64>,
    /// Geometric collapse, pairwise form.
    pub pairwise_geometric_collapse: Option<f64>,
    /// Standard error of the pairwise form from the class means, with the complexities taken as exact.
    pub pairwise_geometric_collapse_std_error: Option<f64>,
    /// Largest Var_i/GC_i.
    pub poincare_constant: Option<f64>,
    /// NC1: tr(Σ_W Σ_B⁺)/K.
    pub nc1: Option<f64>,
    /// tr(Σ_W Σ_B⁺).
    pub nc1_trace: Option<f64>,
    /// Number of eigenvalues of Σ_B that NC1 keeps.
    pub nc1_rank: Option<usize>,
    /// tr Σ_W / tr Σ_B.
    pub trace_ratio: Option<f64>,
    /// tr Σ_B / tr Σ_W.
    pub signal_to_noise: Option<f64>,
    /// tr Σ_W / (tr Σ_W + tr Σ_B).
    pub within_share: Option<f64>,
    /// tr Σ_W.
    pub trace_within: Option<f64>,
    /// tr Σ_B.
    pub trace_between: Option<f64>,
    /// Variability collapse index, sample-weighted; `None` where the total covariance is singular.
    pub vci: Option<f64>,
    /// RankMe of the features, uncentred, sample-weighted.
    pub rank_me: Option<f64>,
    /// NC2: coefficient of variation of the norms of class means.
    pub equinorm: Option<f64>,
    /// NC2: mean |cos + 1/(K−1)|.
    pub equiangularity: Option<f64>,
    /// NC2: largest |cos + 1/(K−1)|.
    pub equiangularity_max: Option<f64>,
    /// Mean cosine of class means.
    pub cosine_mean: Option<f64>,
    /// Standard deviation of the cosines.
    pub cosine_std: Option<f64>,
    /// NC2: ETF error of class means.
    pub etf_error: Option<f64>,
    /// Hyperspherical uniformity: mean log inverse distance.
    pub log_energy: Option<f64>,
    /// Excess of the energy over that of the simplex.
    pub log_energy_excess: Option<f64>,
    /// Error of the nearest-mean rule on the samples of which the means were computed.
    pub nearest_mean_error: f64,
    /// Binomial standard error of the nearest-mean error, with the means taken as exact.
    pub nearest_mean_std_error: f64,
    /// Measures of a head; in JSON its fields are at the level of the others.
    #[serde(flatten)]
    pub head: Option<HeadReport>,
    /// Measures that are undefined for these data, with the reasons.
    pub undefined: Vec<Undefined>,
}

/// The part of a report that needs a head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeadReport {
    /// NC3: ‖W/‖W‖ − M/‖M‖‖.
    pub self_duality: Option<f64>,
    /// The square of `self_duality`.
    pub self_duality_squared: Option<f64>,
    /// NC3: ‖WMᵀ/‖WMᵀ‖ − ETF‖.
    pub duality_etf_error: Option<f64>,
    /// Mean cos(w_c, m_c).
    pub alignment: Option<f64>,
    /// Variation of the norms of the head's rows.
    pub head_equinorm: Option<f64>,
    /// Mean |cos + 1/(K−1)| of the head's rows.
    pub head_equiangularity: Option<f64>,
    /// ETF error of the head's rows.
    pub head_etf_error: Option<f64>,
    /// ‖W μ_G + b‖.
    pub bias_collapse: Option<f64>,
    /// NC0: ‖Σ_c w_c‖.
    pub nc0: Option<f64>,
    /// ‖Σ_c w_c‖/(√K ‖W‖).
    pub nc0_relative: Option<f64>,
    /// NC4: share of samples on which head and nearest mean agree.
    pub ncc_agreement: f64,
    /// Binomial standard error of `ncc_agreement`, with the means and the head taken as exact.
    pub ncc_agreement_std_error: f64,
    /// Share of samples that the head classifies correctly.
    pub head_accuracy: f64,
}

/// Measures features `[n, p]` with labels `[n]`, and a head if there is one.
///
/// The first pass computes moments; a second pass compares the samples with the class means (see [`SamplePass`]). Memory
/// beyond the input is K·p numbers, p² with [`Scatter::Full`], and tiles.
///
/// **Errors** of the input as in [`ClassMoments::update`]; [`Error::TooFewClasses`] and [`Error::NoPair`] when there is no
/// CDNV; [`Error::Incompatible`] for a head of another shape; wrong or misshapen complexities. Measures that the data
/// leave undefined are listed in the report instead.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use collapse::{ReportOptions, report};
/// let features = Tensor::new(&[[-1f32, 0.0], [1.0, 0.0], [0.0, 8.0], [0.0, 12.0]], &Device::Cpu)?;
/// let report = report(&features, &[0, 0, 1, 1], None, &ReportOptions::default())?;
/// assert_eq!((report.samples, report.classes), (4, 2));
/// assert!((report.cdnv - 0.025).abs() < 1e-15);
/// assert_eq!(report.trace_ratio, Some(0.1));
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
/// assert!((report.cdnv - 0.025).abs() < 1e-15 && report.trace_ratio == Some(0.1));
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
    let mut moments = ClassMoments::new(class_count, width, options.scatter).with_precision(options.precision);
    if let Some(bytes) = options.memory_limit {
        moments = moments.with_memory_limit(bytes);
    }
    require_scatter(options, width)?;
    source(&mut moments)?;
    require_means(options, &moments)?;
    let complexity = Complexity::of(options, labels, &moments)?;
    let cdnv = cdnv(&moments, options.cdnv)?;
    let mut undefined = Gaps::default();
    let unbiased = undefined.keep("cdnv_unbiased", cdnv_unbiased(&moments));

    let pooled_fits =
        options.scatter == Scatter::Full && (options.weighting == Weighting::SampleWeighted || equal_counts(&moments));
    let mut pass = SamplePass::with(&moments, Singletons::LeftOut)?;
    if let Some(head) = head {
        pass = pass.with_head(head)?;
    }
    if let Some(gc) = &complexity.per_class {
        pass = pass.with_complexity_by(&|class| gc.get(&class).copied().unwrap_or_default());
    }
    // If the pooled scatter gives NC1, the centred means and the basis of Σ_B are allocated after the pass only.
    let decompose = || -> Result<_> {
        let between = Between::new("report", &moments, options.weighting)?;
        let spectrum = between.spectrum("within-class variability", options.truncation);
        Ok((between, spectrum))
    };
    let early = (!pooled_fits).then(decompose).transpose()?;
    if let Some((_, Ok((values, basis)))) = &early {
        pass = pass.with_whitening(whitening(values, basis));
    }
    pass_by(&mut pass)?;
    let nearest = pass.nearest_mean_error()?;
    let errors = pass.standard_errors();
    let directional = undefined.keep("directional_cdnv", pass.directional_cdnv());
    let agreement = head.map(|_| pass.agreement()).transpose()?;
    let whitened = early.as_ref().map(|(between, _)| pass.whitened(&between.weights));
    drop(pass);

    let (between, spectrum) = early.map_or_else(decompose, Ok)?;
    let variability = undefined.keep(
        "nc1",
        spectrum.and_then(|spectrum| {
            if let (Some(products), true) = (moments.products(), pooled_fits) {
                return variability_with(&moments, options.truncation, &between, &spectrum, products);
            }
            let trace = whitened.unwrap_or_default();
            Ok(Variability::new(trace, spectrum.0.len(), options.truncation, &between, &moments))
        }),
    );
    let full = options.scatter == Scatter::Full;
    let index = full.then(|| undefined.keep("vci", index(&moments, options, &between, variability.as_ref()))).flatten();
    let traces = undefined.keep("trace_ratio", trace_ratio(&moments, options.weighting));
    let geometry = undefined.keep("equinorm", simplex(&moments, options.weighting));
    let mixture = complexity.mean.map(|gc| geometric_collapse(&moments, gc)).transpose()?;
    let inverse = undefined.keep("mean_inverse_squared_distance", geometric_collapse(&moments, 1.0));
    let inverse = inverse.map(|unit| unit.value * 2.0 / between.classes.len() as f64);
    let variances = between.classes.iter().filter_map(|&class| moments.variance(class, Divisor::Samples));
    let mean_variance = variances.sum::<f64>() / between.classes.len() as f64;
    let of_class = complexity.per_class.as_ref().map(|gc| |class| gc.get(&class).copied().unwrap_or_default());
    let pairwise = of_class.as_ref().map(|gc| pairwise_by(&moments, gc)).transpose()?;
    let constant =
        of_class.as_ref().and_then(|gc| undefined.keep("poincare_constant", largest_ratio(&moments, gc, |_, _| ())));
    let head = head
        .zip(agreement)
        .map(|(head, agreement)| head_report(head, &moments, options.weighting, &agreement, &mut undefined));
    let classes = between.classes.len();
    drop(between);
    // The last measure: it overwrites the scatter matrix.
    let rank = full.then(|| undefined.keep("rank_me", rank_me_within(&mut moments, Centring::Uncentred))).flatten();
    let plain = options.cdnv == CdnvConvention::default();
    Ok(CollapseReport {
        samples: moments.measured_samples(),
        features: width,
        classes,
        missing_classes: class_count - moments.classes().len(),
        singleton_classes: moments.singleton_count(),
        left_out_samples: moments.singleton_count() as u64,
        weighting: options.weighting,
        cdnv: cdnv.mean,
        cdnv_std_error: errors.map(|errors| errors[0]).filter(|_| plain),
        cdnv_unbiased: unbiased.map(|unbiased| unbiased.mean),
        cdnv_unbiased_std_error: unbiased.and(errors).map(|errors| errors[3]),
        cdnv_max: cdnv.max,
        cdnv_quantiles: cdnv.quantiles,
        cdnv_convention: cdnv.convention,
        pairs: cdnv.pairs,
        excluded_pairs: cdnv.excluded_pairs,
        mean_inverse_squared_distance: inverse,
        mean_inverse_squared_distance_std_error: inverse.and(errors).map(|errors| errors[1]),
        mean_variance: Some(mean_variance),
        directional_cdnv: directional.map(|directional| directional.mean),
        geometric_collapse: mixture.map(|collapse| collapse.value),
        geometric_collapse_std_error: complexity
            .mean
            .zip(errors)
            .map(|(gc, errors)| gc * classes as f64 / 2.0 * errors[1]),
        pairwise_geometric_collapse: pairwise.map(|collapse| collapse.value),
        pairwise_geometric_collapse_std_error: pairwise.and(errors).map(|errors| errors[2]),
        poincare_constant: constant.map(|(_, ratio)| ratio),
        nc1: variability.map(|variability| variability.nc1),
        nc1_trace: variability.map(|variability| variability.trace),
        nc1_rank: variability.map(|variability| variability.rank),
        trace_ratio: traces.map(|traces| traces.ratio),
        signal_to_noise: traces.and_then(|traces| traces.signal_to_noise),
        within_share: traces.map(|traces| traces.within_share),
        trace_within: traces.map(|traces| traces.within),
        trace_between: traces.map(|traces| traces.between),
        vci: index,
        rank_me: rank.map(|rank| rank.rank_me),
        equinorm: geometry.map(|geometry| geometry.equinorm),
        equiangularity: geometry.map(|geometry| geometry.equiangularity),
        equiangularity_max: geometry.map(|geometry| geometry.equiangularity_max),
        cosine_mean: geometry.map(|geometry| geometry.cosine_mean),
        cosine_std: geometry.map(|geometry| geometry.cosine_std),
        etf_error: geometry.map(|geometry| geometry.etf_error),
        log_energy: geometry.map(|geometry| geometry.uniformity.log_energy),
        log_energy_excess: geometry.map(|geometry| geometry.uniformity.excess),
        nearest_mean_error: nearest.error,
        nearest_mean_std_error: nearest.std_error,
        head,
        undefined: undefined.0,
    })
}

/// Rows q_kᵀ/√λ_k, row-major, so that ‖R d‖² = dᵀ Σ_B⁺ d.
fn whitening(values: &[f64], basis: &Mat<f64>) -> Vec<f64> {
    let row = |(column, value): (usize, &f64)| {
        let scale = 1.0 / value.sqrt();
        basis.col(column).iter().map(move |entry| entry * scale).collect::<Vec<_>>()
    };
    values.iter().enumerate().flat_map(row).collect()
}

/// VCI is sample-weighted. It reuses the rank from NC1 where the weighting and truncation are the same.
fn index(
    moments: &ClassMoments,
    options: &ReportOptions,
    between: &Between,
    variability: Option<&Variability>,
) -> Result<f64> {
    let same = options.weighting == Weighting::SampleWeighted || equal_counts(moments);
    match variability {
        Some(variability) if same && options.truncation == Truncation::default() => {
            Ok(vci_with(moments, options.weighting, between, variability.rank)?.vci)
        }
        _ => Ok(crate::vci(moments, Weighting::SampleWeighted)?.vci),
    }
}

fn head_report(
    head: &Head,
    moments: &ClassMoments,
    weighting: Weighting,
    agreement: &Agreement,
    undefined: &mut Gaps,
) -> HeadReport {
    let duality = undefined.keep("self_duality", self_duality(head, moments, weighting));
    let geometry = undefined.keep("head_etf_error", simplex_of_head(head));
    let bias = undefined.keep("bias_collapse", bias_collapse(head, moments, weighting));
    let sum = undefined.keep("nc0", zero_sum(head));
    HeadReport {
        self_duality: duality.map(|duality| duality.difference),
        self_duality_squared: duality.map(|duality| duality.difference_squared),
        duality_etf_error: duality.map(|duality| duality.product_error),
        alignment: duality.map(|duality| duality.alignment),
        head_equinorm: geometry.map(|geometry| geometry.equinorm),
        head_equiangularity: geometry.map(|geometry| geometry.equiangularity),
        head_etf_error: geometry.map(|geometry| geometry.etf_error),
        bias_collapse: bias.map(|bias| bias.norm),
        nc0: sum.map(|sum| sum.norm),
        nc0_relative: sum.map(|sum| sum.relative),
        ncc_agreement: agreement.agreement,
        ncc_agreement_std_error: agreement.std_error,
        head_accuracy: agreement.head_accuracy,
    }
}

/// The measures found to be undefined so far.
#[derive(Default)]
struct Gaps(Vec<Undefined>);

impl Gaps {
    fn keep<T>(&mut self, measure: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(Undefined { measure: measure.into(), reason: error.to_string() })).ok()
    }
}

/// An error when a scatter matrix and the copy of it that VCI needs exceed the memory.
fn require_scatter(options: &ReportOptions, width: usize) -> Result<()> {
    if options.scatter != Scatter::Full {
        return Ok(());
    }
    let bytes = (width as u128).pow(2) * 16;
    let request = memory::Request {
        operation: "report",
        what: format!("two {width}×{width} covariance matrices of {width} features"),
        total: bytes,
        added: bytes,
        avoid: "use Scatter::Trace in ReportOptions::scatter, which leaves out VCI and RankMe, or raise the limit",
    };
    request.check(options.memory_limit)
}

/// An error when copies of the class means (centred twice, and a basis of Σ_B) and the Gram matrix exceed the memory.
fn require_means(options: &ReportOptions, moments: &ClassMoments) -> Result<()> {
    let (classes, width) = (moments.classes().len() as u128, moments.feature_count() as u128);
    let smaller = classes.min(width);
    let bytes = (4 * classes * width + 2 * smaller * smaller) * 8;
    let request = memory::Request {
        operation: "report",
        what: format!("four copies of {classes} class means of {width} features and their Gram matrix"),
        total: bytes,
        added: bytes,
        avoid: "measure fewer classes or features at a time, call the single measures, or raise the limit",
    };
    request.check(options.memory_limit)
}

/// The geometric complexities of the options, over the samples that take part.
struct Complexity {
    mean: Option<f64>,
    /// Of the classes that take part.
    per_class: Option<BTreeMap<usize, f64>>,
}

impl Complexity {
    fn of(options: &ReportOptions, labels: &[u32], moments: &ClassMoments) -> Result<Self> {
        const OPERATION: &str = "report";
        let mut mean = options.gc;
        let classes = moments.classes_with(Singletons::LeftOut);
        let mut per_class: Option<BTreeMap<usize, f64>> = None;
        if let Some(gc) = &options.gc_per_class {
            require_per_class(OPERATION, moments, gc)?;
            per_class = Some(classes.iter().map(|&class| (class, gc[class])).collect());
        }
        if let Some(gc) = &options.gc_per_sample {
            if gc.len() != labels.len() {
                return Err(Error::Shape {
                    operation: OPERATION,
                    expected: format!("a geometric complexity for each of the {} samples", labels.len()),
                    actual: format!("[{}]", gc.len()),
                });
            }
            let mut sums: BTreeMap<usize, (f64, u64)> = classes.iter().map(|&class| (class, (0.0, 0))).collect();
            let mut total = 0.0;
            for (&label, value) in labels.iter().zip(gc) {
                if let Some(sum) = sums.get_mut(&(label as usize)) {
                    *sum = (sum.0 + value, sum.1 + 1);
                    total += value;
                }
            }
            mean = mean.or(Some(total / moments.measured_samples() as f64));
            let means = || sums.iter().map(|(&class, &(sum, count))| (class, sum / count as f64)).collect();
            let found = per_class.get_or_insert_with(means);
            found.values().try_for_each(|&value| require_complexity(OPERATION, value))?;
        }
        Ok(Self { mean, per_class })
    }
}

/// Reports of one network at several steps of its training.
///
/// ```
/// use collapse::{ReportOptions, Trajectory};
/// let mut path = Trajectory::new(ReportOptions::default());
/// for (step, spread) in [(0, 2f32), (100, 1.0)] {
///     path.record_slice(step, &[-spread, spread, 8.0, 12.0], 1, &[0, 0, 1, 1], None)?;
/// }
/// let cdnv = path.series(|report| Some(report.cdnv));
/// assert!(cdnv[0].0 == 0 && cdnv[1].1 < cdnv[0].1);
/// # Ok::<(), collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    options: ReportOptions,
    points: Vec<(u64, CollapseReport)>,
}

impl Trajectory {
    /// An empty trajectory. All its reports use these options.
    pub fn new(options: ReportOptions) -> Self {
        Self { options, points: Vec::new() }
    }

    /// Measures the features of one checkpoint and stores the report with its step.
    ///
    /// **Errors** as of [`report()`]; [`Error::Incompatible`] when the number of features or classes differs from the
    /// earlier checkpoints.
    #[cfg(feature = "candle")]
    pub fn record(
        &mut self,
        step: u64,
        features: &Tensor,
        labels: &[u32],
        head: Option<&Head>,
    ) -> Result<&CollapseReport> {
        self.insert(step, report(features, labels, head, &self.options)?)
    }

    /// Measures a slice of whole rows of `feature_count` features and stores the report with its step.
    ///
    /// **Errors** as of [`report_slice`], and [`Error::Incompatible`] when the number of features or classes differs from
    /// the earlier checkpoints.
    pub fn record_slice<E: Element>(
        &mut self,
        step: u64,
        features: &[E],
        feature_count: usize,
        labels: &[u32],
        head: Option<&Head>,
    ) -> Result<&CollapseReport> {
        self.insert(step, report_slice(features, feature_count, labels, head, &self.options)?)
    }

    fn insert(&mut self, step: u64, report: CollapseReport) -> Result<&CollapseReport> {
        let shape = |of: &CollapseReport| (of.features, of.classes, of.missing_classes);
        if let Some((first, earlier)) = self.points.first().filter(|(_, earlier)| shape(earlier) != shape(&report)) {
            let describe = |of: &CollapseReport| format!("{} features, {} classes", of.features, of.classes);
            return Err(Error::Incompatible {
                operation: "trajectory of reports",
                what: "the checkpoints' features",
                left: format!("{} at step {first}", describe(earlier)),
                right: format!("{} at step {step}", describe(&report)),
            });
        }
        // Steps are accepted in any order. A repeated step replaces the earlier report.
        let at = match self.points.binary_search_by_key(&step, |point| point.0) {
            Ok(at) => {
                self.points[at].1 = report;
                at
            }
            Err(at) => {
                self.points.insert(at, (step, report));
                at
            }
        };
        Ok(&self.points[at].1)
    }

    /// All reports, in order of their steps.
    pub fn points(&self) -> &[(u64, CollapseReport)] {
        &self.points
    }

    /// One measure along training, at the steps where it is defined.
    pub fn series(&self, measure: impl Fn(&CollapseReport) -> Option<f64>) -> Vec<(u64, f64)> {
        self.points.iter().filter_map(|(step, report)| Some((*step, measure(report)?))).collect()
    }
}
