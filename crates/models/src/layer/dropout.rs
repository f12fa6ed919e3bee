//! Dropout as a layer.

use candle_core::Tensor;
use ops::{dropout_mask, hadamard, repeat_rows};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, TangentCotangentTerms,
};
use crate::{Pass, Result};

/// Dropout. Its random stream is addressed by the seed and the step of the pass and by the layer's name.
pub(crate) struct Dropout {
    pub(crate) name: String,
    pub(crate) probability: f64,
}

impl Dropout {
    /// The mask of this pass; none outside training.
    fn mask(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some((seed, step)) = pass.dropout else {
            return Ok(None);
        };
        let mut stream = streams::stream(seed, &format!("models/dropout/{}", self.name), step);
        Ok(Some(dropout_mask(x, self.probability, &mut stream)?))
    }

    /// `v` times the mask of this pass, whose shape is that of `x`.
    fn masked(&self, x: &Tensor, v: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(match self.mask(x, pass)? {
            Some(mask) => hadamard(v, &mask)?,
            None => v.clone(),
        })
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.masked(x, x, pass)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let mask = self.mask(&input.x, pass)?;
        let y = match &mask {
            Some(mask) => hadamard(&input.x, mask)?,
            None => input.x.clone(),
        };
        let vjp = move |g: &Tensor, _: &mut GradientAccumulator| {
            Ok(Some(match &mask {
                Some(mask) => hadamard(g, &repeat_rows("dropout", mask, g)?)?,
                None => g.clone(),
            }))
        };
        Ok(LayerLinearization::new(y, input.needs_gradient, vjp))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        match self.mask(x, pass)? {
            Some(mask) => Ok((hadamard(x, &mask)?, hadamard(dx, &mask)?)),
            None => Ok((x.clone(), dx.clone())),
        }
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, self.masked(&residuals.input, g, pass)?))
    }

    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        _: Cotangents,
        t: &Tensor,
        pass: &Pass,
        _: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        self.masked(&residuals.input, t, pass)
    }
}
