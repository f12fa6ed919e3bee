//! Mean and variance of each channel of a batch.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result, host};

/// Mean and variance of each channel of a batch, as batch norm uses them.
///
/// They are kept where the batch is: in f64 vectors for a batch on the CPU, in f64 tensors for one on a device (f32 on Metal, which
/// has no f64). So a training step does not wait for the device to know them.
///
/// **Shapes** The channel is the last dimension of the batch. [`ChannelMoments::of`] computes them.
#[derive(Debug, Clone)]
pub struct ChannelMoments {
    values: Values,
    count: usize,
}

#[derive(Debug, Clone)]
enum Values {
    Host(HostMoments),
    Device(DeviceMoments),
}

/// The moments as vectors, `[c]`.
#[derive(Debug, Clone)]
pub(crate) struct HostMoments {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

/// The moments as tensors, `[c]`.
#[derive(Debug, Clone)]
pub(crate) struct DeviceMoments {
    pub(crate) mean: Tensor,
    pub(crate) variance: Tensor,
}

impl HostMoments {
    /// 1/√(σ² + ε) per channel.
    pub(crate) fn inverse_deviation(&self, epsilon: f64) -> Vec<f64> {
        self.variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect()
    }
}

impl DeviceMoments {
    /// 1/√(σ² + ε) per channel.
    pub(crate) fn inverse_deviation(&self, epsilon: f64) -> Result<Tensor> {
        Ok(self.variance.affine(1.0, epsilon)?.sqrt()?.recip()?)
    }
}

impl ChannelMoments {
    pub(crate) fn on_cpu((mean, variance): (Vec<f64>, Vec<f64>), count: usize) -> Self {
        Self { values: Values::Host(HostMoments { mean, variance }), count }
    }

    pub(crate) fn on_device(moments: DeviceMoments, count: usize) -> Self {
        Self { values: Values::Device(moments), count }
    }

    /// Values per channel: n·h·w.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The means, `[c]`.
    ///
    /// **Errors** [`Error::Candle`] if the device fails. Moments on a device are [read](host::read_f64).
    pub fn mean(&self) -> Result<Vec<f64>> {
        self.read(|moments| &moments.mean, |moments| &moments.mean)
    }

    /// The variances with divisor [`count`](Self::count), `[c]`.
    ///
    /// **Errors** as [`mean`](Self::mean).
    pub fn variance(&self) -> Result<Vec<f64>> {
        self.read(|moments| &moments.variance, |moments| &moments.variance)
    }

    /// The variances with divisor `count` − 1 (with divisor 1 for a single value), as running statistics use them, `[c]`.
    ///
    /// **Errors** as [`mean`](Self::mean).
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::nhwc::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64], [3.]], &Device::Cpu)?)?;
    /// assert_eq!((moments.variance()?, moments.unbiased_variance()?), (vec![1.], vec![2.]));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn unbiased_variance(&self) -> Result<Vec<f64>> {
        Ok(self.variance()?.iter().map(|variance| variance * self.unbiased()).collect())
    }

    /// New running statistics: (1 − momentum)·running + momentum·batch, for means and variances with divisor `count` − 1.
    ///
    /// They are computed in f64 where the moments are, and have the dtype of the old ones.
    ///
    /// **Shapes** `mean`, `variance` and the results `[c]`.
    ///
    /// **Errors** [`Error::Shape`] unless both are `[c]`, [`Error::Candle`] if the device fails.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use ops::nhwc::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64], [3.]], &Device::Cpu)?)?;
    /// let (zero, one) = (Tensor::zeros(1, DType::F64, &Device::Cpu)?, Tensor::ones(1, DType::F64, &Device::Cpu)?);
    /// let (mean, variance) = moments.running_statistics(&zero, &one, 0.5)?;
    /// assert_eq!((mean.to_vec1::<f64>()?, variance.to_vec1::<f64>()?), (vec![1.], vec![1.5]));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn running_statistics(&self, mean: &Tensor, variance: &Tensor, momentum: f64) -> Result<(Tensor, Tensor)> {
        self.require_channels(mean)?;
        self.require_channels(variance)?;
        match &self.values {
            Values::Host(moments) => {
                let unbiased: Vec<f64> = moments.variance.iter().map(|variance| variance * self.unbiased()).collect();
                Ok((blend_vectors(mean, &moments.mean, momentum)?, blend_vectors(variance, &unbiased, momentum)?))
            }
            Values::Device(moments) => {
                let unbiased = moments.variance.affine(self.unbiased(), 0.0)?;
                Ok((blend_tensors(mean, &moments.mean, momentum)?, blend_tensors(variance, &unbiased, momentum)?))
            }
        }
    }

    fn require_channels(&self, running: &Tensor) -> Result<()> {
        let channels = match &self.values {
            Values::Host(moments) => moments.mean.len(),
            Values::Device(moments) => moments.mean.elem_count(),
        };
        if running.dims() == [channels] {
            return Ok(());
        }
        Err(Error::shape("batch-norm", &[channels], running.dims(), "running statistics have one value per channel"))
    }

    /// The factor that turns the divisor `count` into `count` − 1.
    fn unbiased(&self) -> f64 {
        self.count as f64 / (self.count.max(2) - 1) as f64
    }

    fn read(
        &self,
        vector: impl FnOnce(&HostMoments) -> &Vec<f64>,
        tensor: impl FnOnce(&DeviceMoments) -> &Tensor,
    ) -> Result<Vec<f64>> {
        match &self.values {
            Values::Host(moments) => Ok(vector(moments).clone()),
            Values::Device(moments) => host::read_f64(tensor(moments)),
        }
    }

    /// For a kernel on the CPU.
    pub(crate) fn vectors(&self) -> Result<Cow<'_, HostMoments>> {
        match &self.values {
            Values::Host(moments) => Ok(Cow::Borrowed(moments)),
            Values::Device(_) => Ok(Cow::Owned(HostMoments { mean: self.mean()?, variance: self.variance()? })),
        }
    }

    /// For operations on the device of `like`.
    pub(crate) fn tensors(&self, like: &Tensor) -> Result<DeviceMoments> {
        let moments = match &self.values {
            Values::Device(moments) => return Ok(moments.clone()),
            Values::Host(moments) => moments,
        };
        let tensor = |values: &[f64]| -> Result<Tensor> {
            Ok(widest(&Tensor::new(values, &Device::Cpu)?, like)?.to_device(like.device())?)
        };
        Ok(DeviceMoments { mean: tensor(&moments.mean)?, variance: tensor(&moments.variance)? })
    }
}

/// In f64, or in the dtype of `like` if the device of `like` has no f64.
pub(crate) fn widest(values: &Tensor, like: &Tensor) -> Result<Tensor> {
    Ok(values.to_dtype(if like.device().is_metal() { like.dtype() } else { DType::F64 })?)
}

fn blend_vectors(running: &Tensor, batch: &[f64], momentum: f64) -> Result<Tensor> {
    let old = host::read_f64(running)?;
    let new: Vec<f64> = old.iter().zip(batch).map(|(old, batch)| (1.0 - momentum) * old + momentum * batch).collect();
    Ok(Tensor::from_vec(new, running.shape(), running.device())?.to_dtype(running.dtype())?)
}

fn blend_tensors(running: &Tensor, batch: &Tensor, momentum: f64) -> Result<Tensor> {
    let old = running.detach().to_dtype(batch.dtype())?.affine(1.0 - momentum, 0.0)?;
    Ok((old + batch.affine(momentum, 0.0)?)?.to_dtype(running.dtype())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::composed;
    use crate::nhwc::BatchNormLinearization;

    /// Three channels of five values each, with unequal means and variances; the last channel is constant.
    fn batch(dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..5).flat_map(|row| [f64::from(row * row), 100.0 - f64::from(row), 7.0]).collect();
        Tensor::from_vec(values, (5, 1, 1, 3), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        let near = |(found, expected): (&f64, &f64)| (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(found.iter().zip(expected).all(near), "{found:?} against {expected:?}");
    }

    #[test]
    fn tensors_and_vectors_hold_the_same_moments() {
        // Rows 0, 1, 4, 9, 16: mean 6, mean of squares 354/5.
        let (mean, variance) = ([6.0, 98.0, 7.0], [34.8, 2.0, 0.0]);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6)] {
            let x = batch(dtype);
            let (vectors, tensors) = (ChannelMoments::of(&x).unwrap(), composed(|| ChannelMoments::of(&x)).unwrap());
            assert!(matches!((&vectors.values, &tensors.values), (Values::Host(_), Values::Device(_))));
            for moments in [vectors, tensors] {
                assert_eq!(moments.count(), 5);
                assert_near(&moments.mean().unwrap(), &mean, tolerance);
                assert_near(&moments.variance().unwrap(), &variance, tolerance);
                assert_near(&moments.unbiased_variance().unwrap(), &[43.5, 2.5, 0.0], tolerance);
                let running = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
                    .map(|values| Tensor::new(&values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap());
                let (mean, variance) = moments.running_statistics(&running[0], &running[1], 0.1).unwrap();
                assert_eq!((mean.dtype(), variance.dtype()), (dtype, dtype));
                assert_near(&host::read_f64(&mean).unwrap(), &[1.5, 11.6, 3.4], tolerance);
                assert_near(&host::read_f64(&variance).unwrap(), &[7.95, 4.75, 5.4], tolerance);
                let short = mean.narrow(0, 0, 2).unwrap();
                for refused in [(&short, &variance), (&mean, &short)] {
                    let error = moments.running_statistics(refused.0, refused.1, 0.1).unwrap_err();
                    assert!(matches!(&error, Error::Shape { right, .. } if right == &[2]), "{error}");
                }
            }
        }
    }

    #[test]
    fn moments_of_one_place_serve_operations_of_the_other() {
        let x = batch(DType::F64);
        let [gamma, beta] =
            [[1.0, 2.0, 3.0], [0.5, -0.5, 0.25]].map(|values| Tensor::new(&values, &Device::Cpu).unwrap());
        let by = |moments: &ChannelMoments| {
            BatchNormLinearization::with_moments(&x, &gamma, &beta, 1e-5, moments, true).unwrap()
        };
        let gradient = |moments: &ChannelMoments| by(moments).gradients(&x, true, None).unwrap().input.unwrap();
        let (vectors, tensors) = (ChannelMoments::of(&x).unwrap(), composed(|| ChannelMoments::of(&x)).unwrap());
        let expected = [by(&vectors).value().unwrap(), gradient(&vectors)];
        let mixed = [
            [by(&tensors).value().unwrap(), gradient(&tensors)],
            composed(|| [by(&vectors).value().unwrap(), gradient(&vectors)]),
        ];
        for found in mixed {
            for (found, expected) in found.iter().zip(&expected) {
                assert_near(&host::read_f64(found).unwrap(), &host::read_f64(expected).unwrap(), 1e-10);
            }
        }
    }
}
