//! Pooling layers.

use candle_core::Tensor;
use ops::nhwc::{
    global_avg_pool2d, global_avg_pool2d_vjp, max_pool2d, max_pool2d_jvp, max_pool2d_vjp, max_pool2d_with_positions,
};
use ops::{PoolSettings, relu_mask_rows};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, Residuals,
    TangentCotangentTerms,
};
use crate::{Pass, Result};

/// Max pooling.
pub(crate) struct MaxPool(pub(crate) PoolSettings);

impl Layer for MaxPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(max_pool2d(x, self.0)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (y, positions) = max_pool2d_with_positions(&input.x, self.0)?;
        let residuals = input.residuals(|| Residuals::Positions(positions.clone()));
        // Each maximum equals its pixel, so the pooled images, which are smaller, give the same mask.
        let mask = input.relu_mask_pending.then(|| y.clone());
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| {
            Ok(Some(match &mask {
                Some(mask) => positions.scatter(&relu_mask_rows(g, mask)?)?,
                None => positions.scatter(g)?,
            }))
        };
        Ok(LayerLinearization { residuals, ..LayerLinearization::new(y, input.needs_gradient, vjp) })
    }

    fn applies_relu_mask(&self) -> bool {
        true
    }

    fn as_max_pool(&self) -> Option<&MaxPool> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok(max_pool2d_jvp(x, dx, self.0)?)
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let input = match &residuals.extra {
            Residuals::Positions(positions) => positions.scatter(g)?,
            _ => max_pool2d_vjp(&residuals.input.detach(), g, self.0)?,
        };
        Ok(Cotangents::leaf(g, input))
    }

    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        _: Cotangents,
        t: &Tensor,
        _: &Pass,
        _: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        Ok(match &residuals.extra {
            Residuals::Positions(positions) => positions.gather(t)?,
            _ => max_pool2d_jvp(&residuals.input.detach(), t, self.0)?.1,
        })
    }
}

/// The mean over all pixels: `[n, h, w, c]` to `[n, c]`.
pub(crate) struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(global_avg_pool2d(x)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let (_, height, width, _) = input.x.dims4()?;
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| Ok(Some(global_avg_pool2d_vjp(g, [height, width])?));
        let y = global_avg_pool2d(&input.x)?;
        Ok(LayerLinearization::new(y, input.needs_gradient, vjp))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((global_avg_pool2d(x)?, global_avg_pool2d(dx)?))
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let (_, height, width, _) = residuals.input.dims4()?;
        Ok(Cotangents::leaf(g, global_avg_pool2d_vjp(g, [height, width])?))
    }

    fn penalty_jvp(
        &self,
        _: &LayerResiduals,
        _: Cotangents,
        t: &Tensor,
        _: &Pass,
        _: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        Ok(global_avg_pool2d(t)?)
    }
}
