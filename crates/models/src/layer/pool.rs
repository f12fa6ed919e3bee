//! Pooling layers.

use candle_core::Tensor;
use ops::nhwc::{MaxPositions, global_avg_pool2d, global_avg_pool2d_vjp, max_pool2d, max_pool2d_with_positions};
use ops::{PoolSettings, relu_mask_rows};

use super::linear_map::image_size;
use super::{GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, LinearMap, Tape};
use crate::{Pass, Result};

/// Max pooling.
///
/// **Shapes** `[n, h, w, c]` to `[n, h', w', c]`. Of equal values the first in row-major order is the maximum.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Pass;
/// use models::layer::{Layer, MaxPool};
/// use models::ops::PoolSettings;
/// let x = Tensor::new(&[1f64, 2., 3., 4.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let y = MaxPool(PoolSettings::square(2)).forward(&x, &Pass::evaluation())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [4.]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MaxPool(
    /// Window, stride and padding.
    pub PoolSettings,
);

impl MaxPool {
    /// As [`Layer::linearize`]. With `masks_input`, the input is the output of a ReLU whose mask this layer's VJP applies.
    pub(super) fn linearize_masking(
        &self,
        masks_input: bool,
        input: &LayerInput,
    ) -> Result<LayerLinearization<'static>> {
        let (y, positions) = max_pool2d_with_positions(&input.x, self.0)?;
        // Each maximum equals its pixel, so the pooled images, which are smaller, give the same mask.
        let mask = masks_input.then(|| y.clone());
        Ok(LayerLinearization::new(y, MaxPoolTape { positions, mask }))
    }
}

impl Layer for MaxPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(max_pool2d(x, self.0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_masking(false, input)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::MaxPool(self)
    }
}

struct MaxPoolTape {
    positions: MaxPositions,
    mask: Option<Tensor>,
}

impl Tape for MaxPoolTape {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if !into.wants_input() {
            return Ok(None);
        }
        Ok(Some(match &self.mask {
            Some(mask) => self.positions.scatter(&relu_mask_rows(g, mask)?)?,
            None => self.positions.scatter(g)?,
        }))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(self.positions.gather(t)?)
    }

    fn penalty(&self, _: &Tensor, t: &Tensor, _: &mut GradientAccumulator) -> Result<Tensor> {
        self.jvp(t)
    }
}

/// The mean over all pixels: `[n, h, w, c]` to `[n, c]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Pass;
/// use models::layer::{GlobalAvgPool, Layer};
/// let x = Tensor::new(&[1f64, 2., 3., 4.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// assert_eq!(GlobalAvgPool.forward(&x, &Pass::evaluation())?.to_vec2::<f64>()?, [[2.5]]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct GlobalAvgPool;

impl LinearMap for GlobalAvgPool {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(global_avg_pool2d(x)?)
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(global_avg_pool2d_vjp(g, image_size(input)?)?)
    }
}
