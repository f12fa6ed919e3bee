//! Mean and variance of each channel of a batch.

/// Mean and variance of each channel of a batch, as batch norm uses them.
///
/// **Shapes** The channel is the last dimension of the batch. [`ChannelMoments::of`] computes them.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoments {
    /// Mean, `[c]`.
    pub mean: Vec<f64>,
    /// Variance with divisor `count`, `[c]`.
    pub variance: Vec<f64>,
    /// Values per channel: n·h·w.
    pub count: usize,
}

impl ChannelMoments {
    /// The variance with divisor `count` − 1 (with divisor 1 for a single value), as running statistics use it.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::nhwc::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64], [3.]], &Device::Cpu)?)?;
    /// assert_eq!((moments.variance.clone(), moments.unbiased_variance()), (vec![1.], vec![2.]));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn unbiased_variance(&self) -> Vec<f64> {
        let factor = self.count as f64 / (self.count.max(2) - 1) as f64;
        self.variance.iter().map(|variance| variance * factor).collect()
    }

    /// 1/√(σ² + ε) per channel.
    pub(crate) fn inverse_deviation(&self, epsilon: f64) -> Vec<f64> {
        self.variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect()
    }
}
