//! Layers without parameters.

use candle_core::Tensor;

use super::Layer;
use crate::ops::{Activation, PoolSettings, dropout_mask, global_avg_pool2d, hadamard, max_pool2d, max_pool2d_jvp};
use crate::{Pass, Result};

/// An activation.
pub(crate) struct ActivationLayer(pub(crate) Activation);

impl Layer for ActivationLayer {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        self.0.forward(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        self.0.jvp(x, dx)
    }
}

/// Max pooling.
pub(crate) struct MaxPool(pub(crate) PoolSettings);

impl Layer for MaxPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        max_pool2d(x, self.0)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        max_pool2d_jvp(x, dx, self.0)
    }
}

/// The mean over all pixels: `[n, h, w, c]` to `[n, c]`.
pub(crate) struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        global_avg_pool2d(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((global_avg_pool2d(x)?, global_avg_pool2d(dx)?))
    }
}

/// `[n, h, w, c]` to `[n, c·h·w]` in PyTorch's order: channel first, then row, then column.
pub(crate) struct Flatten;

impl Flatten {
    fn apply(x: &Tensor) -> Result<Tensor> {
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Flatten::apply(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((Flatten::apply(x)?, Flatten::apply(dx)?))
    }
}

/// Dropout, which draws from the seed and step of the pass and from its own name.
pub(crate) struct Dropout {
    pub(crate) name: String,
    pub(crate) probability: f64,
}

impl Dropout {
    fn mask(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some((seed, step)) = pass.dropout else {
            return Ok(None);
        };
        let mut stream = streams::stream(seed, &format!("models/dropout/{}", self.name), step);
        dropout_mask(x, self.probability, &mut stream).map(Some)
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.mask(x, pass)?.map_or_else(|| Ok(x.clone()), |mask| hadamard(x, &mask))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        match self.mask(x, pass)? {
            Some(mask) => Ok((hadamard(x, &mask)?, hadamard(dx, &mask)?)),
            None => Ok((x.clone(), dx.clone())),
        }
    }
}
