//! A factor for each channel of each sample, computed from the sample: squeeze-and-excitation.

use candle_core::Tensor;
use ops::add_detached;
use ops::nhwc::{sample_dot, sample_scale};

use super::{GradientAccumulator, Layer, LayerInput, LayerLinearization, Sequential, SequentialTape, Tape};
use crate::{Pass, Result};

/// x·s(x), where the layers of `factors` compute one factor s per channel of each sample.
///
/// **Shapes** `[n, …, c]`; the factors are `[n, c]`.
///
/// **Source** J. Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018 (arXiv 1709.01507).
#[derive(Clone)]
pub struct SqueezeExcitation {
    /// From x to the factors `[n, c]`.
    pub factors: Sequential,
}

impl Layer for SqueezeExcitation {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(sample_scale(x, &self.factors.forward(x, pass)?)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let (factors, tape) = self.factors.tape(input, pass)?;
        let y = sample_scale(&input.x, &factors)?;
        let (inside, has_variables, by_graph) = (tape.footprint(), tape.has_variables(), tape.by_graph());
        let tape = GateTape { x: input.x.clone(), factors, tape };
        Ok(LayerLinearization::new(y, tape).with_memory(inside).with_inside(has_variables, by_graph))
    }

    fn paths(&self) -> Vec<&Sequential> {
        vec![&self.factors]
    }
}

struct GateTape<'a> {
    x: Tensor,
    factors: Tensor,
    tape: SequentialTape<'a>,
}

impl Tape for GateTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let by_factors = self.tape.vjp(&sample_dot(g, &self.x)?, into)?;
        if !into.wants_input() {
            return Ok(None);
        }
        let direct = sample_scale(&g.detach(), &self.factors)?;
        Ok(Some(match by_factors {
            Some(by_factors) => add_detached(&direct, &by_factors, false)?,
            None => direct,
        }))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        let direct = sample_scale(&t.detach(), &self.factors)?;
        Ok(add_detached(&direct, &sample_scale(&self.x, &self.tape.jvp(t)?)?, false)?)
    }

    /// J t = t·s + x·ṡ with ṡ = s′ t. The gradient of ⟨g, t·s⟩ goes through s with the cotangent Σ g·t; that of ⟨g, x·ṡ⟩ is g·ṡ by x,
    /// and the term of the inner layers for the cotangent Σ g·x.
    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let factors_tangent = self.tape.penalty(&sample_dot(g, &self.x)?, t, into)?;
        let cotangent = sample_dot(g, t)?;
        let through_factors = into.asking_input(true, |into| self.tape.vjp(&cotangent, into))?;
        let by_x = sample_scale(&g.detach(), &factors_tangent)?;
        into.add(&self.x, by_x)?;
        if let Some(through_factors) = through_factors {
            into.add(&self.x, through_factors)?;
        }
        let direct = sample_scale(&t.detach(), &self.factors)?;
        Ok(add_detached(&direct, &sample_scale(&self.x, &factors_tangent)?, false)?)
    }
}
