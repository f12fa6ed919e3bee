//! Average pooling, adaptive pooling and the channel shuffle as layers.

use candle_core::Tensor;
use ops::PoolSettings;
use ops::nhwc::{adaptive_avg_pool2d, adaptive_avg_pool2d_vjp, avg_pool2d, avg_pool2d_vjp, channel_shuffle};

use super::LinearMap;
use super::linear_map::image_size;
use crate::Result;

/// Average pooling. By default padding is not counted; see [`PoolSettings::count_include_pad`].
#[derive(Debug, Clone, Copy)]
pub struct AvgPool(
    /// Window, stride and padding.
    pub PoolSettings,
);

impl LinearMap for AvgPool {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(avg_pool2d(x, self.0)?)
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(avg_pool2d_vjp(g, image_size(input)?, self.0)?)
    }
}

/// The mean over windows that divide an image of any size into `[rows, columns]`: PyTorch's `AdaptiveAvgPool2d`.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveAvgPool(
    /// Rows and columns of the output.
    pub [usize; 2],
);

impl LinearMap for AdaptiveAvgPool {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(adaptive_avg_pool2d(x, self.0)?)
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(adaptive_avg_pool2d_vjp(g, image_size(input)?)?)
    }
}

/// The channels of equal groups, interleaved: PyTorch's `ChannelShuffle`.
#[derive(Debug, Clone, Copy)]
pub struct ChannelShuffle {
    /// The number of groups; divides the channels.
    pub groups: usize,
}

impl LinearMap for ChannelShuffle {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(channel_shuffle(x, self.groups)?)
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(channel_shuffle(g, input.last().copied().unwrap_or(self.groups) / self.groups)?)
    }
}
