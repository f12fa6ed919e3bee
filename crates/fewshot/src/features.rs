//! Features with their labels: validated once, stored once, read by every head.

use candle_core::{DType, Tensor};

use crate::linalg::Row;
use crate::{Error, Result};

/// A matrix of features `[n, p]` with one label for each row.
///
/// **Definition** row i holds f(xᵢ), the p features of sample i, and `labels()[i]` its class.
///
/// **Conventions** values are kept in the precision in which they came (f32 or f64; f16 and bf16 become f32 exactly),
/// once, row after row; every head accumulates in f64. Labels are any `u32`, they need not be consecutive.
///
/// ```
/// use fewshot::LabelledFeatures;
/// let features = LabelledFeatures::from_f32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2, vec![7, 7, 9])?;
/// assert_eq!((features.samples(), features.dimension()), (3, 2));
/// assert_eq!(features.row(2), [4.0, 5.0]);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledFeatures {
    values: Values,
    dimension: usize,
    labels: Vec<u32>,
    base_mean: Option<Vec<f64>>,
}

/// The numbers, in the precision in which they came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl LabelledFeatures {
    /// Features from a tensor of shape `[n, p]` on any device.
    ///
    /// **Errors** [`Error::FeatureShape`], [`Error::FeatureType`], and those of [`LabelledFeatures::from_f32`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let features = fewshot::LabelledFeatures::from_tensor(&tensor, &[0, 1])?;
    /// assert_eq!(features.row(1), [3.0, 4.0]);
    /// # fewshot::Result::Ok(())
    /// ```
    pub fn from_tensor(features: &Tensor, labels: &[u32]) -> Result<Self> {
        let (_, dimension) = features.dims2().map_err(|_| Error::FeatureShape { shape: features.dims().to_vec() })?;
        let flat = features.flatten_all()?;
        match flat.dtype() {
            DType::F32 => Self::from_f32(flat.to_vec1()?, dimension, labels.to_vec()),
            DType::F64 => Self::from_f64(flat.to_vec1()?, dimension, labels.to_vec()),
            DType::F16 | DType::BF16 => {
                Self::from_f32(flat.to_dtype(DType::F32)?.to_vec1()?, dimension, labels.to_vec())
            }
            other => Err(Error::FeatureType { dtype: other.as_str().to_owned() }),
        }
    }

    /// Features from `labels.len()` rows of `dimension` values in f32, without a copy.
    ///
    /// **Errors** [`Error::FeatureCount`], [`Error::NoSamples`], [`Error::LabelCount`], [`Error::NonFiniteFeature`].
    pub fn from_f32(values: Vec<f32>, dimension: usize, labels: Vec<u32>) -> Result<Self> {
        Self::from_values(Values::F32(values), dimension, labels)
    }

    /// Features from `labels.len()` rows of `dimension` values in f64, without a copy.
    ///
    /// **Errors** as [`LabelledFeatures::from_f32`].
    pub fn from_f64(values: Vec<f64>, dimension: usize, labels: Vec<u32>) -> Result<Self> {
        Self::from_values(Values::F64(values), dimension, labels)
    }

    fn from_values(values: Values, dimension: usize, labels: Vec<u32>) -> Result<Self> {
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
        Ok(Self { values, dimension, labels, base_mean: None })
    }

    /// The same features with the mean feature of the base (training) classes, which some heads centre by.
    ///
    /// **Errors** [`Error::BaseMean`] unless it has `dimension` finite values.
    ///
    /// ```
    /// # use fewshot::LabelledFeatures;
    /// let base = LabelledFeatures::from_f32(vec![1.0, 3.0, 3.0, 5.0], 2, vec![0, 1])?;
    /// let target = LabelledFeatures::from_f32(vec![0.0, 1.0], 2, vec![2])?.with_base_mean(base.mean())?;
    /// assert_eq!(target.base_mean(), Some(&[2.0, 4.0][..]));
    /// # fewshot::Result::Ok(())
    /// ```
    pub fn with_base_mean(mut self, mean: Vec<f64>) -> Result<Self> {
        if mean.len() != self.dimension || mean.iter().any(|value| !value.is_finite()) {
            return Err(Error::BaseMean { got: mean.len(), dimension: self.dimension });
        }
        self.base_mean = Some(mean);
        Ok(self)
    }

    /// How many samples there are (n).
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// How many features a sample has (p).
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The label of every sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The mean feature of the base classes, where it was attached.
    pub fn base_mean(&self) -> Option<&[f64]> {
        self.base_mean.as_deref()
    }

    /// The features of one sample in f64, or an empty list where there is no such sample.
    pub fn row(&self, sample: usize) -> Vec<f64> {
        if sample < self.samples() { self.view(sample).to_vec() } else { Vec::new() }
    }

    /// The mean feature over all samples.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimension];
        for sample in 0..self.samples() {
            self.view(sample).add_to(&mut mean);
        }
        mean.iter_mut().for_each(|value| *value /= self.samples() as f64);
        mean
    }

    /// One row in place. Callers have checked that the sample exists.
    pub(crate) fn view(&self, sample: usize) -> Row<'_> {
        let range = sample * self.dimension..(sample + 1) * self.dimension;
        match &self.values {
            Values::F32(values) => Row::F32(&values[range]),
            Values::F64(values) => Row::F64(&values[range]),
        }
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }
}

impl Values {
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
