//! Average pooling, adaptive pooling and the channel shuffle as layers.

use candle_core::Tensor;
use ops::PoolSettings;
use ops::nhwc::{adaptive_avg_pool2d, adaptive_avg_pool2d_vjp, avg_pool2d, avg_pool2d_vjp, channel_shuffle};

use super::{Layer, LayerInput, LayerLinearization, LinearTape};
use crate::{Pass, Result};

/// Average pooling. By default padding is not counted; see [`PoolSettings::count_include_pad`].
#[derive(Debug, Clone, Copy)]
pub struct AvgPool(
    /// Window, stride and padding.
    pub PoolSettings,
);

impl Layer for AvgPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(avg_pool2d(x, self.0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (settings, (_, height, width, _)) = (self.0, input.x.dims4()?);
        let tape = LinearTape::new(
            move |t: &Tensor| Ok(avg_pool2d(&t.detach(), settings)?),
            move |g: &Tensor| Ok(avg_pool2d_vjp(g, [height, width], settings)?),
        );
        Ok(LayerLinearization::new(avg_pool2d(&input.x, settings)?, tape))
    }
}

/// The mean over windows that divide an image of any size into `[rows, columns]`: PyTorch's `AdaptiveAvgPool2d`.
#[derive(Debug, Clone, Copy)]
pub struct AdaptiveAvgPool(
    /// Rows and columns of the output.
    pub [usize; 2],
);

impl Layer for AdaptiveAvgPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(adaptive_avg_pool2d(x, self.0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (out, (_, height, width, _)) = (self.0, input.x.dims4()?);
        let tape = LinearTape::new(
            move |t: &Tensor| Ok(adaptive_avg_pool2d(&t.detach(), out)?),
            move |g: &Tensor| Ok(adaptive_avg_pool2d_vjp(g, [height, width])?),
        );
        Ok(LayerLinearization::new(adaptive_avg_pool2d(&input.x, out)?, tape))
    }
}

/// The channels of equal groups, interleaved: PyTorch's `ChannelShuffle`.
#[derive(Debug, Clone, Copy)]
pub struct ChannelShuffle {
    /// The number of groups; divides the channels.
    pub groups: usize,
}

impl Layer for ChannelShuffle {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(channel_shuffle(x, self.groups)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (groups, y) = (self.groups, channel_shuffle(&input.x, self.groups)?);
        let transposed = input.x.dims().last().copied().unwrap_or(groups) / groups;
        let tape = LinearTape::new(
            move |t: &Tensor| Ok(channel_shuffle(&t.detach(), groups)?),
            move |g: &Tensor| Ok(channel_shuffle(&g.detach(), transposed)?),
        );
        Ok(LayerLinearization::new(y, tape))
    }
}
