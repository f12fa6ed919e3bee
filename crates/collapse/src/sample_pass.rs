//! The second pass, which compares samples with given class means: nearest-mean error, NC4, directional CDNV and
//! standard errors.

use std::borrow::Cow;

#[cfg(feature = "candle")]
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::class_order::ClassOrder;
use crate::convention::{Divisor, Precision, Singletons};
use crate::features::{Element, Labelled};
#[cfg(feature = "candle")]
use crate::features::{Rows, with_rows};
use crate::geometric::require_per_class;
use crate::head::Head;
use crate::kernel::squared_length;
use crate::pairs::Pairs;
use crate::products::add_scatter;
use crate::sample_tile::{Basis, ClassSums, Influence, PassInputs, Rows as OrderedRows, Task};
use crate::{ClassMoments, Error, Result};

const OPERATION: &str = "sample pass";
/// Projections that are held at a time, at least those of two tasks. Fixed by the sizes alone, like the order of the tasks.
const PROJECTIONS: usize = 1 << 22;
/// Tiles of one task; fixed, so that sums do not depend on the number of threads.
const TILES: usize = 8;
/// Numbers in a tile of deviations.
const TILE: usize = 1 << 17;

/// A second pass that compares labelled samples with given class means, and with the scores of a head if there is one.
///
/// **Definition** for a sample x of class i, d = x − μ_i. The means μ are those of the given moments, which may be of
/// other samples (train moments, test features). All results are sums over samples of functions of d·(μ_i − μ_j), ‖d‖²
/// and W x + b.
///
/// **Shapes** features `[n, p]`, labels `[n]`. Memory is K·p numbers, a few tiles and at most 16 MiB of distances of class
/// means; no batch is kept.
///
/// **Conventions** Deviations are rounded to the features' type, and projections are summed as [`ClassMoments`] states.
/// Decisions (nearest mean, highest score) are nevertheless exact: near ties are decided again in f64, exact ties go to
/// the lowest class. The bits do not depend on the number of threads.
///
/// The mean of a class of one sample is a valid one-shot classifier of *other* samples, so this pass keeps such classes
/// in its decisions. They are left out of the directional CDNV, and [`crate::report()`] leaves them out everywhere.
///
/// ```
/// use collapse::{ClassMoments, Head, SamplePass, Scatter};
/// let (features, labels) = ([0.0f64, 1.0, 4.0, 5.0], [0u32, 0, 1, 1]);
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&features, &labels)?;
/// let head = Head::from_slices(&[-1.0f64, 1.0], Some(&[4.5, -4.5]), 2)?;
/// let mut pass = SamplePass::new(&moments)?.with_head(&head)?;
/// pass.update_slice(&features, &labels)?;
/// assert_eq!(pass.nearest_mean_error()?.error, 0.0);
/// // The head classifies 4.0 as class 0, the nearest mean as class 1.
/// assert_eq!(pass.agreement()?.agreement, 0.75);
/// # Ok::<(), collapse::Error>(())
/// ```
pub struct SamplePass<'a> {
    moments: &'a ClassMoments,
    head: Option<&'a Head>,
    pairs: Pairs,
    means: Cow<'a, [f64]>,
    variances: Vec<Option<f64>>,
    /// Samples of each row of `pairs` in the moments.
    counts: Vec<u64>,
    complexity: Option<Vec<f64>>,
    whitening: Vec<f64>,
    /// The scatter of the projections on the means, if it is wanted.
    projected: Option<ProjectedScatter>,
    /// Whether samples of classes of one sample are skipped.
    singletons: Singletons,
    /// Sums over the samples of each row of `pairs`.
    sums: Vec<ClassSums>,
}

impl<'a> SamplePass<'a> {
    /// A pass with the means of these moments.
    ///
    /// **Errors** [`Error::TooFewClasses`].
    pub fn new(moments: &'a ClassMoments) -> Result<Self> {
        Ok(Self::over(moments, Pairs::new(OPERATION, moments, Singletons::Kept)?, Singletons::Kept))
    }

    /// A pass over these pairs of the moments' classes; where classes of one sample are left out, their samples are skipped.
    pub(crate) fn over(moments: &'a ClassMoments, pairs: Pairs, singletons: Singletons) -> Self {
        let means = if pairs.classes.len() == moments.classes().len() {
            Cow::Borrowed(moments.means())
        } else {
            Cow::Owned(pairs.classes.iter().filter_map(|&class| moments.mean(class)).flatten().copied().collect())
        };
        let variances = pairs.classes.iter().map(|&class| moments.variance(class, Divisor::Samples)).collect();
        let sums = vec![ClassSums::default(); pairs.classes.len()];
        let counts = moments.counts_of(&pairs.classes);
        let (complexity, whitening, projected) = (None, Vec::new(), None);
        Self {
            moments,
            head: None,
            pairs,
            means,
            variances,
            counts,
            complexity,
            whitening,
            projected,
            singletons,
            sums,
        }
    }

    /// Also compares the samples with the scores of this head.
    ///
    /// **Errors** [`Error::Incompatible`] when its shape is not that of the moments.
    pub fn with_head(mut self, head: &'a Head) -> Result<Self> {
        head.require_fit(OPERATION, self.moments)?;
        self.head = Some(head);
        Ok(self)
    }

    /// Also accumulates the standard error of the pairwise geometric collapse with these complexities.
    ///
    /// **Errors** as of [`crate::pairwise_geometric_collapse`].
    pub fn with_complexity(self, gc_per_class: &[f64]) -> Result<Self> {
        require_per_class(OPERATION, self.moments, gc_per_class)?;
        Ok(self.with_complexity_by(&|class| gc_per_class[class]))
    }

    /// Also accumulates this standard error, with the complexities given by a function of the class.
    pub(crate) fn with_complexity_by(mut self, gc: &dyn Fn(usize) -> f64) -> Self {
        self.complexity = Some(self.pairs.classes.iter().map(|&class| gc(class)).collect());
        self
    }

    /// Also sums ‖R d‖² for the rows R of a row-major `[r, p]` matrix.
    #[cfg(feature = "faer")]
    pub(crate) fn with_whitening(mut self, whitening: Vec<f64>) -> Self {
        self.whitening = whitening;
        self
    }

    /// Also sums w/n·t tᵀ with t the projections of d on the centred means, w the weight of the class and n its samples.
    #[cfg(feature = "faer")]
    pub(crate) fn with_projected_scatter(mut self, weights: &[f64]) -> Self {
        let scales = weights.iter().zip(&self.counts).map(|(weight, &count)| (weight / count as f64).sqrt()).collect();
        let size = self.pairs.classes.len();
        self.projected = Some(ProjectedScatter { scales, sums: vec![0.0; size * size] });
        self
    }

    /// Adds a batch: `features` `[n, p]`, `labels` `[n]`.
    ///
    /// **Errors** as of [`ClassMoments::update`], and [`Error::ClassWithoutMean`].
    #[cfg(feature = "candle")]
    pub fn update(&mut self, features: &Tensor, labels: &[u32]) -> Result<()> {
        let rows = features.dims().first().copied().unwrap_or(0);
        if features.rank() == 2 && rows != labels.len() {
            return Err(Error::LabelCount { operation: OPERATION, features: rows, labels: labels.len() });
        }
        let width = self.moments.feature_count();
        let mut sums = self.sums.clone();
        let mut projected = self.projected.take();
        let added = with_rows(OPERATION, features, width, |start, data| {
            let scatter = projected.as_mut();
            match data {
                Rows::F32(data) => {
                    self.accumulate(data, &labels[start..start + data.len() / width], &mut sums, scatter)
                }
                Rows::F64(data) => {
                    self.accumulate(data, &labels[start..start + data.len() / width], &mut sums, scatter)
                }
            }
            .map_err(|error| error.at_row(start))
        });
        self.projected = projected;
        added?;
        self.sums = sums;
        Ok(())
    }

    /// Adds a batch from a slice of whole rows.
    ///
    /// **Errors** as of [`ClassMoments::update_slice`], and [`Error::ClassWithoutMean`].
    pub fn update_slice<E: Element>(&mut self, features: &[E], labels: &[u32]) -> Result<()> {
        let mut sums = self.sums.clone();
        let mut projected = self.projected.take();
        let added = self.accumulate(features, labels, &mut sums, projected.as_mut());
        self.projected = projected;
        added?;
        self.sums = sums;
        Ok(())
    }

    fn accumulate<E: Element>(
        &self,
        features: &[E],
        labels: &[u32],
        sums: &mut [ClassSums],
        scatter: Option<&mut ProjectedScatter>,
    ) -> Result<()> {
        let width = self.moments.feature_count();
        let data = Labelled::new(OPERATION, features, labels, width, self.moments.class_count())?;
        let order = match self.singletons {
            Singletons::Kept => ClassOrder::new(labels),
            Singletons::LeftOut => ClassOrder::of(labels, |class| self.moments.count(class) != 1),
        };
        let place = |class: usize| self.pairs.classes.binary_search(&class).ok();
        let mut places = Vec::with_capacity(order.classes.len());
        for (class, _) in &order.classes {
            match place(*class) {
                Some(row) => places.push(row),
                None => {
                    let unknown =
                        |&label: &u32| place(label as usize).is_none() && self.moments.count(label as usize) == 0;
                    let row = labels.iter().position(unknown).unwrap_or(0);
                    return Err(Error::ClassWithoutMean { operation: OPERATION, row, label: labels[row] });
                }
            }
        }
        let slots = order.slots();
        let rows = OrderedRows { order: &order, slots: &slots, places: &places };
        match self.moments.precision() {
            Precision::OfFeatures => self.accumulate_in::<E, E>(&data, &rows, sums, scatter),
            Precision::Double => self.accumulate_in::<E, f64>(&data, &rows, sums, scatter),
        }
    }

    fn accumulate_in<E: Element, T: Element>(
        &self,
        data: &Labelled<'_, E>,
        ordered: &OrderedRows<'_>,
        sums: &mut [ClassSums],
        mut scatter: Option<&mut ProjectedScatter>,
    ) -> Result<()> {
        let scales = scatter.as_deref().map_or_else(Vec::new, |scatter| scatter.scales.clone());
        let inputs = self.inputs(&scales);
        let basis = Basis::<T>::new(&inputs);
        // Whole panels, so that no part of a product is of missing rows.
        let rows = (TILE / data.width).clamp(192, 1024) / T::PANEL * T::PANEL;
        let (stretch, total) = (rows * TILES, ordered.order.rows.len());
        let tasks = total.div_ceil(stretch);
        // The projections of a few tasks at a time are held for their scatter.
        let together = match scatter {
            Some(_) => (PROJECTIONS / (stretch * self.pairs.classes.len())).max(2),
            None => tasks.max(1),
        };
        for first in (0..tasks).step_by(together) {
            let run = |task: &mut Task<'_, E, T>, index: usize| {
                let start = index * stretch;
                let part = task.accumulate(start..total.min(start + stretch), rows);
                (part, task.take_projected())
            };
            let fresh = || Task::new(&inputs, &basis, data, ordered);
            let parts: Vec<_> = (first..tasks.min(first + together)).into_par_iter().map_init(fresh, run).collect();
            for (part, projected) in parts {
                let overflow = |class| Error::Overflow { operation: OPERATION, class };
                let part = part.map_err(|class| data.non_finite(OPERATION).unwrap_or_else(|| overflow(class)))?;
                part.into_iter().for_each(|(row, part)| sums[row].join(&part));
                if let Some(scatter) = scatter.as_deref_mut() {
                    scatter.add(&projected);
                }
            }
        }
        Ok(())
    }

    fn inputs<'b>(&'b self, scales: &'b [f64]) -> PassInputs<'b> {
        let width = self.pairs.width;
        let longest = |rows: &[f64]| {
            let square = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
            rows.chunks_exact(width).map(square).fold(0.0, f64::max).sqrt()
        };
        let bias =
            self.head.and_then(Head::bias).unwrap_or_default().iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        let weight = self.head.map_or(0.0, |head| longest(head.weight()) + bias);
        PassInputs {
            pairs: &self.pairs,
            means: &self.means,
            variances: &self.variances,
            counts: &self.counts,
            complexity: self.complexity.as_deref(),
            head: self.head,
            whitening: &self.whitening,
            scales,
            longest: [longest(&self.pairs.centred), longest(&self.means).max(1.0), weight],
        }
    }

    fn samples(&self, operation: &'static str) -> Result<u64> {
        match self.sums.iter().map(|sums| sums.samples).sum() {
            0 => Err(Error::NoSamples { operation }),
            samples => Ok(samples),
        }
    }

    /// Whether the samples of every class are as many as in the moments.
    fn complete(&self) -> bool {
        self.sums.iter().map(|sums| sums.samples).eq(self.counts.iter().copied())
    }

    /// Share of samples nearer to another class's mean than to their own class's.
    ///
    /// **Errors** [`Error::NoSamples`].
    pub fn nearest_mean_error(&self) -> Result<NearestMeanError> {
        let samples = self.samples("nearest-mean error")?;
        let right: u64 = self.sums.iter().map(|sums| sums.nearest).sum();
        let error = (samples - right) as f64 / samples as f64;
        let class_errors: Vec<f64> = self
            .sums
            .iter()
            .filter(|sums| sums.samples > 0)
            .map(|sums| (sums.samples - sums.nearest) as f64 / sums.samples as f64)
            .collect();
        let class_balanced_error = class_errors.iter().sum::<f64>() / class_errors.len() as f64;
        Ok(NearestMeanError { error, std_error: binomial(error, samples), class_balanced_error, samples })
    }

    /// Share of samples on which the nearest mean and the head choose the same class (NC4), and the head's accuracy.
    ///
    /// **Errors** [`Error::NoSamples`]; [`Error::Vanishing`] without a head.
    pub fn agreement(&self) -> Result<Agreement> {
        let operation = "agreement of head and nearest mean";
        if self.head.is_none() {
            return Err(Error::Vanishing { operation, what: "the head (none was given)" });
        }
        let samples = self.samples(operation)?;
        let share = |count: fn(&ClassSums) -> u64| self.sums.iter().map(count).sum::<u64>() as f64 / samples as f64;
        let agreement = share(|sums| sums.agree);
        let head_accuracy = share(|sums| sums.scored);
        Ok(Agreement {
            agreement,
            std_error: binomial(agreement, samples),
            head_accuracy,
            nearest_mean_accuracy: share(|sums| sums.nearest),
            samples,
        })
    }

    /// The directional CDNV of the samples added so far. Classes of one sample in the moments are left out.
    ///
    /// **Errors** [`Error::NoSamples`]; [`Error::NoPair`].
    pub fn directional_cdnv(&self) -> Result<DirectionalCdnv> {
        let operation = "directional CDNV";
        let samples = self.samples(operation)?;
        let fresh;
        let varied = match self.moments.singleton_count() {
            0 => &self.pairs,
            _ => {
                fresh = Pairs::new(operation, self.moments, Singletons::LeftOut)?;
                &fresh
            }
        };
        let summary = varied.average(operation, |_, _, squared| [1.0 / squared])?;
        let place = |class: &usize| self.pairs.classes.binary_search(class).ok();
        let seen = varied.classes.iter().filter_map(place).map(|row| &self.sums[row]);
        if seen.clone().any(|sums| sums.samples == 0) {
            return Err(Error::NoSamples { operation });
        }
        let sum: f64 = seen.map(|sums| sums.directional / sums.samples as f64).sum();
        let pairs = 2 * summary.values;
        Ok(DirectionalCdnv { mean: sum / pairs as f64, pairs, excluded_pairs: summary.excluded, samples })
    }

    /// Standard errors of means over pairs. The variance of a mean of n influences has divisor n² for the plug-in measures and
    /// n(n − 1) for the unbiased ones.
    ///
    /// `None` unless every class has at least two samples and as many samples were added as the moments hold.
    pub(crate) fn standard_errors(&self) -> Option<StandardErrors> {
        let varied = self.variances.iter().all(Option::is_some);
        if !(self.complete() && varied) {
            return None;
        }
        let pairs = self.pairs.apart() as f64;
        let error = |of: Influence, less: u64| {
            let each = |sums: &ClassSums| sums.influence[of as usize] / (sums.samples * (sums.samples - less)) as f64;
            let variance: f64 = self.sums.iter().filter(|sums| sums.samples > 0).map(each).sum();
            variance.sqrt() / pairs
        };
        Some(StandardErrors {
            cdnv: error(Influence::Cdnv, 0),
            inverse: error(Influence::Inverse, 0),
            complexity: error(Influence::Complexity, 0),
            unbiased_cdnv: error(Influence::UnbiasedCdnv, 1),
            unbiased_inverse: error(Influence::UnbiasedInverse, 1),
            unbiased_complexity: error(Influence::UnbiasedComplexity, 1),
        })
    }

    /// The scatter of the projections on the means, row-major with a valid lower triangle.
    #[cfg(feature = "faer")]
    pub(crate) fn projected_scatter(&self) -> Option<&[f64]> {
        self.projected.as_ref().map(|scatter| &scatter.sums[..])
    }

    /// Σ w_c E_{x∈c}‖R d‖² over the classes of this pass, one weight for each.
    #[cfg(feature = "faer")]
    pub(crate) fn whitened(&self, weights: &[f64]) -> f64 {
        let means = self.sums.iter().map(|sums| sums.whitened / sums.samples.max(1) as f64);
        means.zip(weights).map(|(mean, weight)| weight * mean).sum()
    }
}

/// The weighted scatter of the samples' projections on the centred means: K² numbers.
struct ProjectedScatter {
    /// For each class the root of its weight over its samples.
    scales: Vec<f64>,
    /// Row-major, valid in the lower triangle.
    sums: Vec<f64>,
}

impl ProjectedScatter {
    /// Adds scaled projections, row by row; in f64 where products in the type of the rows would under- or overflow.
    fn add<T: Element>(&mut self, rows: &[T]) {
        if T::holds_products(squared_length(rows), rows.len()) {
            add_scatter(&mut self.sums, self.scales.len(), rows);
        } else {
            let wide: Vec<f64> = rows.iter().map(|value| value.wide()).collect();
            add_scatter(&mut self.sums, self.scales.len(), &wide);
        }
    }
}

/// Standard errors of means over pairs, named as the [`Influence`]s.
#[derive(Clone, Copy)]
pub(crate) struct StandardErrors {
    pub(crate) cdnv: f64,
    pub(crate) inverse: f64,
    pub(crate) complexity: f64,
    pub(crate) unbiased_cdnv: f64,
    pub(crate) unbiased_inverse: f64,
    pub(crate) unbiased_complexity: f64,
}

/// Binomial standard error of a share of `samples` independent samples.
///
/// For a share of 0 or 1, where that would be 0, it is the standard deviation of the share given the samples under a uniform
/// prior, a Beta(1, samples + 1): about 1/samples.
fn binomial(share: f64, samples: u64) -> f64 {
    let n = samples as f64;
    if share == 0.0 || share == 1.0 {
        return ((n + 1.0) / ((n + 2.0).powi(2) * (n + 3.0))).sqrt();
    }
    (share * (1.0 - share) / n).sqrt()
}

/// The error of the nearest-mean rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearestMeanError {
    /// Share of samples whose nearest mean is another class's.
    pub error: f64,
    /// Binomial standard error over samples, with the means taken as exact; about 1/n when no or every sample is
    /// misclassified.
    pub std_error: f64,
    /// Mean over classes of the error of each class, with equal weights.
    pub class_balanced_error: f64,
    /// Samples classified.
    pub samples: u64,
}

/// Agreement of the head with the nearest-mean rule, and the accuracy of both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Agreement {
    /// Share of samples for which both choose the same class (NC4).
    pub agreement: f64,
    /// Binomial standard error over samples, with the means and the head taken as exact.
    pub std_error: f64,
    /// Share of samples that the head classifies correctly.
    pub head_accuracy: f64,
    /// Share of samples that the nearest-mean rule classifies correctly.
    pub nearest_mean_accuracy: f64,
    /// Samples classified.
    pub samples: u64,
}

/// Directional class-distance normalised variance.
///
/// **Definition** mean over ordered pairs i ≠ j of E_{x∈i}[(u_ij·(x − μ_i))²]/d_ij², u_ij the unit vector from μ_j to
/// μ_i: the variance along the axis that separates two classes, over their squared distance. It is at most the CDNV in the
/// ordered form, and about 1/p of it for isotropic classes. The variance has divisor n. No standard error is given: the axes are estimated from the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DirectionalCdnv {
    /// Mean over pairs.
    pub mean: f64,
    /// Ordered pairs averaged.
    pub pairs: u64,
    /// Unordered pairs that are excluded.
    pub excluded_pairs: crate::ExcludedPairs,
    /// Samples added.
    pub samples: u64,
}

/// Share of `features` `[n, p]` that are nearer to the mean of another class than to that of their own class, with the
/// means of the `train` moments.
///
/// **Definition** squared Euclidean distance; an exact tie goes to the lowest class. Classes of one training sample take
/// part: their mean is a one-shot classifier.
///
/// **Errors** as of [`SamplePass::update`], and [`Error::NoSamples`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use collapse::{ClassMoments, Scatter, nearest_mean_error};
/// let mut train = ClassMoments::new(2, 1, Scatter::Trace);
/// train.update_slice(&[0.0f32, 4.0], &[0, 1])?;
/// let test = Tensor::new(&[[1f32], [3.0], [3.5], [9.0]], &Device::Cpu)?;
/// assert_eq!(nearest_mean_error(&train, &test, &[0, 0, 1, 1])?.error, 0.25);
/// # Ok::<(), collapse::Error>(())
/// ```
#[cfg(feature = "candle")]
pub fn nearest_mean_error(train: &ClassMoments, features: &Tensor, labels: &[u32]) -> Result<NearestMeanError> {
    let mut pass = SamplePass::new(train)?;
    pass.update(features, labels)?;
    pass.nearest_mean_error()
}

/// The nearest-mean error (see [`NearestMeanError`]) of a slice of whole rows.
///
/// **Errors** as of [`SamplePass::update_slice`], and [`Error::NoSamples`].
///
/// ```
/// use collapse::{ClassMoments, Scatter, nearest_mean_error_slice};
/// let mut train = ClassMoments::new(2, 1, Scatter::Trace);
/// train.update_slice(&[0.0f32, 4.0], &[0, 1])?;
/// assert_eq!(nearest_mean_error_slice(&train, &[1f32, 3.0, 3.5, 9.0], &[0, 0, 1, 1])?.error, 0.25);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn nearest_mean_error_slice<E: Element>(
    train: &ClassMoments,
    features: &[E],
    labels: &[u32],
) -> Result<NearestMeanError> {
    let mut pass = SamplePass::new(train)?;
    pass.update_slice(features, labels)?;
    pass.nearest_mean_error()
}
