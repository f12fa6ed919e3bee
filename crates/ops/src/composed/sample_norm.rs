//! Layer, group, instance and RMS norm composed of sums over sets of values, in the precision of the data. The formulas are those of
//! the kernels.

use candle_core::Tensor;

use crate::Result;
use crate::kernels::sample_norm::Sets;

/// One norm at one input, whose values are kept as `[n, m, groups, c / groups]`.
pub(crate) struct SampleNorm {
    sets: Sets,
    normal: Tensor,
    inverse: Tensor,
    gamma: Tensor,
}

impl SampleNorm {
    pub(crate) fn new(sets: Sets, x: &Tensor, gamma: &Tensor) -> Result<Self> {
        let x = by_set(&sets, x)?;
        let centred = centred(&sets, &x)?;
        let inverse = mean(&centred.sqr()?)?.affine(1.0, sets.epsilon)?.sqrt()?.recip()?;
        let normal = centred.broadcast_mul(&inverse)?;
        let gamma = gamma.reshape((1, 1, sets.groups, sets.channels / sets.groups))?;
        Ok(Self { sets, normal, inverse, gamma })
    }

    /// γ·x̂ + β.
    pub(crate) fn value(&self, beta: &Tensor) -> Result<Tensor> {
        Ok(self.normal.broadcast_mul(&self.gamma)?.broadcast_add(&beta.reshape(self.gamma.shape())?)?)
    }

    /// The gradients by the input, γ and β; `g` has the rows of the input.
    pub(crate) fn gradients(&self, g: &Tensor) -> Result<[Tensor; 3]> {
        let g = by_set(&self.sets, g)?;
        let scaled = g.broadcast_mul(&self.gamma)?;
        let along = mean(&(&scaled * &self.normal)?)?;
        let tilted = (centred(&self.sets, &scaled)? - self.normal.broadcast_mul(&along)?)?;
        let by_gamma = self.by_channel(&(&g * &self.normal)?)?;
        Ok([tilted.broadcast_mul(&self.inverse)?, by_gamma, self.by_channel(&g)?])
    }

    /// The JVP of x̂.
    fn normal_tangent(&self, t: &Tensor) -> Result<Tensor> {
        let along = mean(&(t * &self.normal)?)?;
        let tilted = (centred(&self.sets, t)? - self.normal.broadcast_mul(&along)?)?;
        Ok(tilted.broadcast_mul(&self.inverse)?)
    }

    pub(crate) fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        Ok(self.normal_tangent(&by_set(&self.sets, t)?)?.broadcast_mul(&self.gamma)?)
    }

    /// The JVP, and the gradients of ⟨g, J t⟩ by the input and γ.
    pub(crate) fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<[Tensor; 3]> {
        let (g, t) = (by_set(&self.sets, g)?, by_set(&self.sets, t)?);
        let normal_tangent = self.normal_tangent(&t)?;
        let (scaled, t) = (centred(&self.sets, &g.broadcast_mul(&self.gamma)?)?, centred(&self.sets, &t)?);
        let (a, b) = (mean(&(&self.normal * &scaled)?)?, mean(&(&self.normal * &t)?)?);
        let factor = ((&a * &b)?.affine(3.0, 0.0)? - mean(&(&scaled * &t)?)?)?;
        let gradient = ((self.normal.broadcast_mul(&factor)? - t.broadcast_mul(&a)?)? - scaled.broadcast_mul(&b)?)?;
        let by_input = gradient.broadcast_mul(&self.inverse.sqr()?)?;
        let by_gamma = self.by_channel(&(g * &normal_tangent)?)?;
        Ok([normal_tangent.broadcast_mul(&self.gamma)?, by_input, by_gamma])
    }

    /// The sum over samples and pixels, `[c]`.
    fn by_channel(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.sum((0, 1))?.reshape(self.sets.channels)?)
    }
}

/// `[n, m, groups, c / groups]`.
fn by_set(sets: &Sets, x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.reshape(((), sets.pixels, sets.groups, sets.channels / sets.groups))?)
}

/// The mean over each set, with the reduced dimensions kept.
fn mean(x: &Tensor) -> Result<Tensor> {
    Ok(x.mean_keepdim((1, 3))?)
}

/// x minus the mean of its set, or x if the sets are not centred.
fn centred(sets: &Sets, x: &Tensor) -> Result<Tensor> {
    if sets.centred { Ok(x.broadcast_sub(&mean(x)?)?) } else { Ok(x.clone()) }
}
