//! Features with their labels, owned: from vectors, or from a candle tensor.

#[cfg(feature = "candle")]
use candle_core::{DType, Tensor};

#[cfg(feature = "candle")]
use crate::Error;
use crate::Result;
use crate::feature_view::{FeatureView, Values, check_base_mean};

/// An owned matrix of features `[n, p]` with one label per row.
///
/// **Definition** row i holds f(xᵢ), the p features of sample i, and `labels()[i]` is its class.
///
/// **Conventions** values keep their precision (f32 or f64; f16 and bf16 are converted to f32, which is exact); sums are
/// accumulated in f64. Labels are any `u32` and need not be consecutive. See [`FeatureView`] for features that are
/// borrowed.
///
/// ```
/// use fewshot::LabelledFeatures;
/// let features = LabelledFeatures::from_f32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2, vec![7, 7, 9])?;
/// assert_eq!((features.samples(), features.dimension()), (3, 2));
/// assert_eq!(features.row(2), Some(vec![4.0, 5.0]));
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledFeatures {
    values: Buffer,
    dimension: usize,
    labels: Vec<u32>,
    base_mean: Option<Vec<f64>>,
}

/// All values row after row, in their own precision.
#[derive(Clone, Debug, PartialEq)]
enum Buffer {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Buffer {
    fn as_values(&self) -> Values<'_> {
        match self {
            Buffer::F32(values) => Values::F32(values),
            Buffer::F64(values) => Values::F64(values),
        }
    }
}

impl LabelledFeatures {
    /// Features from a tensor of shape `[n, p]` on any device.
    ///
    /// **Errors** [`Error::FeatureShape`], [`Error::FeatureType`], and those of [`LabelledFeatures::from_f32`].
    ///
    /// ```
    /// use fewshot::candle_core::{Device, Tensor};
    /// let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let features = fewshot::LabelledFeatures::from_tensor(&tensor, &[0, 1])?;
    /// assert_eq!(features.row(1), Some(vec![3.0, 4.0]));
    /// # fewshot::Result::Ok(())
    /// ```
    #[cfg(feature = "candle")]
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
    /// **Errors** as [`FeatureView::from_f32`].
    pub fn from_f32(values: Vec<f32>, dimension: usize, labels: Vec<u32>) -> Result<Self> {
        FeatureView::from_f32(&values, dimension, &labels)?;
        Ok(Self { values: Buffer::F32(values), dimension, labels, base_mean: None })
    }

    /// Features from `labels.len()` rows of `dimension` values in f64, without a copy.
    ///
    /// **Errors** as [`FeatureView::from_f32`].
    pub fn from_f64(values: Vec<f64>, dimension: usize, labels: Vec<u32>) -> Result<Self> {
        FeatureView::from_f64(&values, dimension, &labels)?;
        Ok(Self { values: Buffer::F64(values), dimension, labels, base_mean: None })
    }

    /// Attaches the mean feature of the base (training) classes, which [`crate::SimpleShot`] subtracts.
    ///
    /// **Errors** [`crate::Error::BaseMean`] unless it has `dimension` finite values.
    ///
    /// ```
    /// # use fewshot::LabelledFeatures;
    /// let base = LabelledFeatures::from_f32(vec![1.0, 3.0, 3.0, 5.0], 2, vec![0, 1])?;
    /// let target = LabelledFeatures::from_f32(vec![0.0, 1.0], 2, vec![2])?.with_base_mean(base.mean())?;
    /// assert_eq!(target.base_mean(), Some(&[2.0, 4.0][..]));
    /// # fewshot::Result::Ok(())
    /// ```
    pub fn with_base_mean(mut self, mean: Vec<f64>) -> Result<Self> {
        check_base_mean(&mean, self.dimension)?;
        self.base_mean = Some(mean);
        Ok(self)
    }

    /// The same features, borrowed.
    pub fn view(&self) -> FeatureView<'_> {
        FeatureView::from_checked(self.values.as_values(), self.dimension, &self.labels, self.base_mean.as_deref())
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
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The mean feature of the base classes, where attached.
    pub fn base_mean(&self) -> Option<&[f64]> {
        self.base_mean.as_deref()
    }

    /// The features of one sample in f64; none where `sample` ≥ n.
    pub fn row(&self, sample: usize) -> Option<Vec<f64>> {
        self.view().row(sample)
    }

    /// The mean feature over all samples.
    pub fn mean(&self) -> Vec<f64> {
        self.view().mean()
    }
}
