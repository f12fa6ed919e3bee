//! The second pass: samples against given means. Nearest-mean error, NC4, directional CDNV and standard errors.

use std::borrow::Cow;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::convention::{Divisor, Precision};
use crate::features::{Element, Labelled, Rows, with_rows};
use crate::geometric::require_per_class;
use crate::head::Head;
use crate::pairs::{Need, Pairs};
use crate::sample_tile::{Basis, Frame, Tally, Task};
use crate::{ClassMoments, Error, Result};

const OPERATION: &str = "sample pass";
/// Tiles of one task; fixed, so that sums do not depend on the number of threads.
const TILES: usize = 8;
/// Numbers in a tile of deviations.
const TILE: usize = 1 << 19;

/// A pass of labelled samples by given class means, and by a head if there is one.
///
/// **Definition** for a sample x of class i, d = x − μ_i with the means μ of the given moments, which may be of other
/// samples (train moments, test features). All results are sums over samples of functions of d·(μ_i − μ_j), ‖d‖² and
/// W x + b.
///
/// **Shapes** features `[n, p]`, labels `[n]`. Memory is K·p numbers and a few tiles; nothing of a batch is kept.
///
/// **Conventions** Deviations are rounded to the features' type and projections summed as [`ClassMoments`] states.
/// Decisions (nearest mean, highest score) are exact all the same: near ties are decided again in f64, exact ties go to
/// the lowest class. The bits do not depend on the number of threads.
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
/// // The head puts 4.0 into class 0, the nearest mean into class 1.
/// assert_eq!(pass.agreement()?.agreement, 0.75);
/// # Ok::<(), collapse::Error>(())
/// ```
pub struct SamplePass<'a> {
    moments: &'a ClassMoments,
    head: Option<&'a Head>,
    pairs: Pairs,
    means: Cow<'a, [f64]>,
    position: Vec<Option<usize>>,
    variances: Vec<Option<f64>>,
    complexity: Option<Vec<f64>>,
    whitening: Vec<f64>,
    tallies: Vec<Tally>,
}

impl<'a> SamplePass<'a> {
    /// A pass by the means of these moments.
    ///
    /// **Errors** [`Error::TooFewClasses`].
    pub fn new(moments: &'a ClassMoments) -> Result<Self> {
        let pairs = Pairs::new(OPERATION, moments, Need::Means)?;
        let mut position = vec![None; moments.class_count()];
        pairs.classes.iter().enumerate().for_each(|(row, &class)| position[class] = Some(row));
        let means = if pairs.classes.len() == moments.class_count() {
            Cow::Borrowed(moments.means())
        } else {
            Cow::Owned(pairs.classes.iter().filter_map(|&class| moments.mean(class)).flatten().copied().collect())
        };
        let variances = pairs.classes.iter().map(|&class| moments.variance(class, Divisor::Samples)).collect();
        let tallies = vec![Tally::default(); moments.class_count()];
        let whitening = Vec::new();
        Ok(Self { moments, head: None, pairs, means, position, variances, complexity: None, whitening, tallies })
    }

    /// Also compares with this head.
    ///
    /// **Errors** [`Error::Incompatible`] when its shape is not that of the moments.
    pub fn with_head(mut self, head: &'a Head) -> Result<Self> {
        head.require_fit(OPERATION, self.moments)?;
        self.head = Some(head);
        Ok(self)
    }

    /// Also gathers the standard error of the pairwise geometric collapse with these complexities.
    ///
    /// **Errors** as of [`crate::pairwise_geometric_collapse`].
    pub fn with_complexity(mut self, gc_per_class: &[f64]) -> Result<Self> {
        require_per_class(OPERATION, self.moments, gc_per_class)?;
        self.complexity = Some(self.pairs.classes.iter().map(|&class| gc_per_class[class]).collect());
        Ok(self)
    }

    /// Also sums ‖R d‖² for the rows R of a row-major `[r, p]` matrix.
    pub(crate) fn with_whitening(mut self, whitening: Vec<f64>) -> Self {
        self.whitening = whitening;
        self
    }

    /// Lets a batch pass: `features` `[n, p]`, `labels` `[n]`.
    ///
    /// **Errors** as of [`ClassMoments::update`], and [`Error::ClassWithoutMean`].
    pub fn update(&mut self, features: &Tensor, labels: &[u32]) -> Result<()> {
        let rows = features.dims().first().copied().unwrap_or(0);
        if features.rank() == 2 && rows != labels.len() {
            return Err(Error::LabelCount { operation: OPERATION, features: rows, labels: labels.len() });
        }
        let width = self.moments.feature_count();
        let mut tallies = self.tallies.clone();
        with_rows(OPERATION, features, width, |start, data| {
            match data {
                Rows::F32(data) => self.tally(data, &labels[start..start + data.len() / width], &mut tallies),
                Rows::F64(data) => self.tally(data, &labels[start..start + data.len() / width], &mut tallies),
            }
            .map_err(|error| error.at_row(start))
        })?;
        self.tallies = tallies;
        Ok(())
    }

    /// Lets a batch pass from a slice of whole rows.
    ///
    /// **Errors** as of [`SamplePass::update`].
    pub fn update_slice<E: Element>(&mut self, features: &[E], labels: &[u32]) -> Result<()> {
        let mut tallies = self.tallies.clone();
        self.tally(features, labels, &mut tallies)?;
        self.tallies = tallies;
        Ok(())
    }

    fn tally<E: Element>(&self, features: &[E], labels: &[u32], tallies: &mut [Tally]) -> Result<()> {
        let width = self.moments.feature_count();
        let data = Labelled::new(OPERATION, features, labels, width, self.moments.class_count())?;
        let missing = labels.iter().position(|&label| self.position[label as usize].is_none());
        if let Some(row) = missing {
            return Err(Error::ClassWithoutMean { operation: OPERATION, row, label: labels[row] });
        }
        match self.moments.precision() {
            Precision::OfFeatures => self.tally_in::<E, E>(&data, tallies),
            Precision::Double => self.tally_in::<E, f64>(&data, tallies),
        }
    }

    fn tally_in<E: Element, T: Element>(&self, data: &Labelled<'_, E>, tallies: &mut [Tally]) -> Result<()> {
        let order = crate::class_order::ClassOrder::new(data.labels, self.moments.class_count());
        let frame = self.frame();
        let basis = Basis::<T>::new(&frame);
        let rows = (TILE / data.width).clamp(64, 1024);
        let stretch = rows * TILES;
        let parts: Vec<std::result::Result<Vec<(usize, Tally)>, usize>> = (0..data.labels.len().div_ceil(stretch))
            .into_par_iter()
            .map(|task| {
                let start = task * stretch;
                let end = data.labels.len().min(start + stretch);
                Task::new(&frame, &basis, data, &order).tally(start..end, rows)
            })
            .collect();
        for part in parts {
            let overflow = |class| Error::Overflow { operation: OPERATION, class };
            let part = part.map_err(|class| data.non_finite(OPERATION).unwrap_or_else(|| overflow(class)))?;
            part.into_iter().for_each(|(class, part)| tallies[class].join(&part));
        }
        Ok(())
    }

    fn frame(&self) -> Frame<'_> {
        let width = self.pairs.width;
        let longest = |rows: &[f64]| {
            let square = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
            rows.chunks_exact(width).map(square).fold(0.0, f64::max).sqrt()
        };
        let bias =
            self.head.and_then(Head::bias).unwrap_or_default().iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        let weight = self.head.map_or(0.0, |head| longest(head.weight()) + bias);
        Frame {
            pairs: &self.pairs,
            means: &self.means,
            position: &self.position,
            variances: &self.variances,
            complexity: self.complexity.as_deref(),
            head: self.head,
            whitening: &self.whitening,
            longest: [longest(&self.pairs.centred), longest(&self.means).max(1.0), weight],
        }
    }

    fn samples(&self, operation: &'static str) -> Result<u64> {
        match self.tallies.iter().map(|tally| tally.samples).sum() {
            0 => Err(Error::NoSamples { operation }),
            samples => Ok(samples),
        }
    }

    /// Whether every sample of the moments has passed, and nothing else, as far as counts can tell.
    fn complete(&self) -> bool {
        self.tallies.iter().map(|tally| tally.samples).eq(self.moments.counts().iter().copied())
    }

    /// Share of samples nearer to another class's mean than to their own class's.
    ///
    /// **Errors** [`Error::NoSamples`].
    pub fn nearest_mean_error(&self) -> Result<NearestMeanError> {
        let samples = self.samples("nearest-mean error")?;
        let right: u64 = self.tallies.iter().map(|tally| tally.nearest).sum();
        let error = (samples - right) as f64 / samples as f64;
        let class_errors: Vec<f64> = self
            .tallies
            .iter()
            .filter(|tally| tally.samples > 0)
            .map(|tally| (tally.samples - tally.nearest) as f64 / tally.samples as f64)
            .collect();
        let class_balanced_error = class_errors.iter().sum::<f64>() / class_errors.len() as f64;
        Ok(NearestMeanError { error, std_error: binomial(error, samples), class_balanced_error, samples })
    }

    /// Share of samples on which the nearest mean and the head decide alike (NC4), and the head's accuracy.
    ///
    /// **Errors** [`Error::NoSamples`]; [`Error::Vanishing`] without a head.
    pub fn agreement(&self) -> Result<Agreement> {
        let operation = "agreement of head and nearest mean";
        if self.head.is_none() {
            return Err(Error::Vanishing { operation, what: "the head (none was given)" });
        }
        let samples = self.samples(operation)?;
        let share = |count: fn(&Tally) -> u64| self.tallies.iter().map(count).sum::<u64>() as f64 / samples as f64;
        let agreement = share(|tally| tally.agree);
        let head_accuracy = share(|tally| tally.scored);
        Ok(Agreement {
            agreement,
            std_error: binomial(agreement, samples),
            head_accuracy,
            nearest_mean_accuracy: share(|tally| tally.nearest),
            samples,
        })
    }

    /// The directional CDNV of the samples that passed.
    ///
    /// **Errors** [`Error::NoSamples`]; [`Error::NoPair`].
    pub fn directional_cdnv(&self) -> Result<DirectionalCdnv> {
        let operation = "directional CDNV";
        let samples = self.samples(operation)?;
        let varied = Pairs::new(operation, self.moments, Need::Variances)?;
        let summary = varied.summarize(operation, |_, _, squared| [1.0 / squared])?;
        let seen = varied.classes.iter().map(|&class| &self.tallies[class]);
        if seen.clone().any(|tally| tally.samples == 0) {
            return Err(Error::NoSamples { operation });
        }
        let sum: f64 = seen.map(|tally| tally.directional / tally.samples as f64).sum();
        let pairs = 2 * summary.values;
        Ok(DirectionalCdnv { mean: sum / pairs as f64, pairs, excluded_pairs: summary.excluded, samples })
    }

    /// Standard errors of the mean CDNV (halved form), of the mean of 1/d², and of the pairwise geometric collapse.
    ///
    /// `None` unless the samples that passed are as many as those of the moments in every class, and every class has at
    /// least two.
    pub(crate) fn standard_errors(&self) -> Option<[f64; 3]> {
        let varied = self.variances.iter().all(Option::is_some);
        if !(self.complete() && varied) {
            return None;
        }
        let pairs = self.pairs.apart() as f64;
        let error = |index: usize| {
            let each = |tally: &Tally| tally.influence[index] / (tally.samples * tally.samples) as f64;
            let variance: f64 = self.tallies.iter().filter(|tally| tally.samples > 0).map(each).sum();
            variance.sqrt() / pairs
        };
        Some([error(0), error(1), error(2)])
    }

    /// Σ w_c E_{x∈c}‖R d‖² over these classes.
    pub(crate) fn whitened(&self, classes: &[usize], weights: &[f64]) -> f64 {
        let mean = |&class: &usize| self.tallies[class].whitened / self.tallies[class].samples.max(1) as f64;
        classes.iter().map(mean).zip(weights).map(|(mean, weight)| weight * mean).sum()
    }
}

/// Standard error of a share of independent samples.
fn binomial(share: f64, samples: u64) -> f64 {
    (share * (1.0 - share) / samples as f64).sqrt()
}

/// How often the nearest class mean errs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestMeanError {
    /// Share of samples whose nearest mean is another class's.
    pub error: f64,
    /// Binomial standard error of it over samples, the means being given; 0 when no or every sample errs.
    pub std_error: f64,
    /// Mean over classes of their own error, every class weighing the same.
    pub class_balanced_error: f64,
    /// Samples judged.
    pub samples: u64,
}

/// Whether head and nearest mean decide alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Share of samples on which they do (NC4).
    pub agreement: f64,
    /// Binomial standard error of it over samples, means and head being given.
    pub std_error: f64,
    /// Share of samples that the head puts into their class.
    pub head_accuracy: f64,
    /// Share of samples that the nearest mean puts into their class.
    pub nearest_mean_accuracy: f64,
    /// Samples judged.
    pub samples: u64,
}

/// Directional class-distance normalised variance.
///
/// **Definition** mean over ordered pairs i ≠ j of E_{x∈i}[(u_ij·(x − μ_i))²]/d_ij², u_ij the unit vector from μ_j to
/// μ_i: the variance along the axis that separates two classes, over their squared distance. At most the CDNV in the
/// ordered form, and about 1/p of it for isotropic classes. Of the samples behind the moments this is the variance
/// with divisor n. No standard error is given: the axes are estimated from the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionalCdnv {
    /// Mean over pairs.
    pub mean: f64,
    /// Ordered pairs averaged.
    pub pairs: u64,
    /// Unordered pairs left out.
    pub excluded_pairs: crate::ExcludedPairs,
    /// Samples that passed.
    pub samples: u64,
}

/// Share of `features` `[n, p]` that lie nearer to another class's mean than to their own class's in `train` moments.
///
/// **Definition** squared Euclidean distance; an exact tie goes to the lowest class.
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
pub fn nearest_mean_error(train: &ClassMoments, features: &Tensor, labels: &[u32]) -> Result<NearestMeanError> {
    let mut pass = SamplePass::new(train)?;
    pass.update(features, labels)?;
    pass.nearest_mean_error()
}
