//! A borrowed, checked matrix of features with its labels.

use crate::linalg::Row;
use crate::{Error, LabelledFeatures, Result};

/// A borrowed row-major matrix of features `[n, p]` with one label per row: nothing is copied.
///
/// **Definition** row i holds f(xᵢ), the p features of sample i, and `labels()[i]` is its class.
///
/// **Conventions** values are f32 or f64; sums are accumulated in f64. Labels are any `u32` and need not be consecutive.
/// A view is two slices and a width, so it is copied freely. Functions of this crate take `impl Into<FeatureView>`: a
/// view, or a reference to [`LabelledFeatures`], which owns its values.
///
/// ```
/// use fewshot::{EpisodeSampler, FeatureView, NearestMean, evaluate};
/// // Two classes on a line, at 0 and 1.
/// let values: Vec<f32> = (0..40).map(|i| (i % 2) as f32 + 0.01 * (i % 10) as f32).collect();
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let features = FeatureView::from_f32(&values, 1, &labels)?;
/// let sampler = EpisodeSampler::fixed(&labels, 2, 5, 15, 1)?;
/// assert_eq!(evaluate(features, &sampler, 100, &[NearestMean])?.heads[0].accuracy.mean, 1.0);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureView<'a> {
    values: Values<'a>,
    dimension: usize,
    labels: &'a [u32],
    base_mean: Option<&'a [f64]>,
}

/// All values row after row, in their own precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl<'a> FeatureView<'a> {
    /// A view of `labels.len()` rows of `dimension` values in f32.
    ///
    /// **Errors** [`Error::FeatureCount`], [`Error::NoSamples`], [`Error::LabelCount`], [`Error::NonFiniteFeature`].
    pub fn from_f32(values: &'a [f32], dimension: usize, labels: &'a [u32]) -> Result<Self> {
        Self::checked(Values::F32(values), dimension, labels)
    }

    /// A view of `labels.len()` rows of `dimension` values in f64.
    ///
    /// **Errors** as [`FeatureView::from_f32`].
    pub fn from_f64(values: &'a [f64], dimension: usize, labels: &'a [u32]) -> Result<Self> {
        Self::checked(Values::F64(values), dimension, labels)
    }

    fn checked(values: Values<'a>, dimension: usize, labels: &'a [u32]) -> Result<Self> {
        let count = values.len();
        if dimension == 0 || !count.is_multiple_of(dimension) {
            return Err(Error::FeatureCount { values: count, dimension });
        }
        let rows = count / dimension;
        if rows != labels.len() {
            return Err(Error::LabelCount { features: rows, labels: labels.len() });
        }
        if rows == 0 {
            return Err(Error::NoSamples);
        }
        if let Some((position, value)) = values.first_non_finite() {
            let (row, column) = (position / dimension, position % dimension);
            return Err(Error::NonFiniteFeature { row, column, class: labels[row], value });
        }
        Ok(Self::from_checked(values, dimension, labels, None))
    }

    /// A view of values that were checked before.
    pub(crate) fn from_checked(
        values: Values<'a>,
        dimension: usize,
        labels: &'a [u32],
        base_mean: Option<&'a [f64]>,
    ) -> Self {
        Self { values, dimension, labels, base_mean }
    }

    /// Attaches the mean feature of the base (training) classes, which [`crate::SimpleShot`] subtracts.
    ///
    /// **Errors** [`Error::BaseMean`] unless it has `dimension` finite values.
    pub fn with_base_mean(self, mean: &'a [f64]) -> Result<Self> {
        check_base_mean(mean, self.dimension)?;
        Ok(Self { base_mean: Some(mean), ..self })
    }

    /// Number of samples (n).
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Number of features per sample (p).
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The label of every sample.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// The mean feature of the base classes, where attached.
    pub fn base_mean(&self) -> Option<&'a [f64]> {
        self.base_mean
    }

    /// The features of one sample in f64; none where `sample` ≥ n.
    pub fn row(&self, sample: usize) -> Option<Vec<f64>> {
        (sample < self.samples()).then(|| self.row_slice(sample).to_vec())
    }

    /// The mean feature over all samples.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimension];
        for sample in 0..self.samples() {
            self.row_slice(sample).add_to(&mut mean);
        }
        mean.iter_mut().for_each(|value| *value /= self.samples() as f64);
        mean
    }

    /// One row, not copied. Callers have checked `sample` < n.
    pub(crate) fn row_slice(&self, sample: usize) -> Row<'a> {
        let range = sample * self.dimension..(sample + 1) * self.dimension;
        match self.values {
            Values::F32(values) => Row::F32(&values[range]),
            Values::F64(values) => Row::F64(&values[range]),
        }
    }

    pub(crate) fn values(&self) -> Values<'a> {
        self.values
    }
}

impl<'a> From<&'a LabelledFeatures> for FeatureView<'a> {
    fn from(features: &'a LabelledFeatures) -> Self {
        features.view()
    }
}

/// Checks the length of a base mean, and that it is finite.
pub(crate) fn check_base_mean(mean: &[f64], dimension: usize) -> Result<()> {
    if mean.len() != dimension || mean.iter().any(|value| !value.is_finite()) {
        return Err(Error::BaseMean { found: mean.len(), dimension });
    }
    Ok(())
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
        }
    }

    fn first_non_finite(&self) -> Option<(usize, f64)> {
        match self {
            Values::F32(values) => {
                values.iter().position(|value| !value.is_finite()).map(|at| (at, f64::from(values[at])))
            }
            Values::F64(values) => values.iter().position(|value| !value.is_finite()).map(|at| (at, values[at])),
        }
    }
}
