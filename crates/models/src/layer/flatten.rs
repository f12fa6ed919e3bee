//! Images to vectors.

use candle_core::Tensor;

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, TangentCotangentTerms,
};
use crate::{Pass, Result};

/// `[n, h, w, c]` to `[n, c·h·w]` in PyTorch's order: channel first, then row, then column. Vectors stay as they are.
pub(crate) struct Flatten;

impl Flatten {
    fn apply(x: &Tensor) -> Result<Tensor> {
        if x.rank() == 2 {
            return Ok(x.clone());
        }
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
    }

    /// The transpose, for inputs of this shape; the number of samples may differ.
    fn undo(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
        match shape {
            &[_, height, width, channels] => {
                Ok(g.reshape(((), channels, height, width))?.permute((0, 2, 3, 1))?.contiguous()?)
            }
            _ => Ok(g.clone()),
        }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Flatten::apply(x)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let shape = input.x.dims().to_vec();
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| Flatten::undo(g, &shape).map(Some);
        let y = Flatten::apply(&input.x)?;
        Ok(LayerLinearization::new(y, input.needs_gradient, vjp))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((Flatten::apply(x)?, Flatten::apply(dx)?))
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, Flatten::undo(g, residuals.input.dims())?))
    }

    fn penalty_jvp(
        &self,
        _: &LayerResiduals,
        _: Cotangents,
        t: &Tensor,
        _: &Pass,
        _: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        Flatten::apply(t)
    }
}
