//! The linear layer of the queries, keys and values, and the attention behind it, as one layer.

use candle_core::{Tensor, TensorId};
use ops::{AttentionLinearization, LinearLinearization};

use super::operation::linearized;
use super::{
    Attention, Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, Linear, SequentialTape, Tape,
};
use crate::{Pass, Result};

/// A linear layer and the attention behind it. For many cotangents of a sample, the VJP of both together is faster than of one after the
/// other.
pub(super) struct LinearAttention {
    pub(super) linear: Linear,
    pub(super) attention: Attention,
}

impl Layer for LinearAttention {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.attention.forward(&self.linear.forward(x, pass)?, pass)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let mut tape = SequentialTape::new(input);
        let linear = self.linear.at(&input.x)?;
        let between = tape.push(input, self.linear.linearized(linear.clone(), None, input)?);
        let attention = self.attention.at(&between.x)?;
        let output = tape.push(&between, linearized(attention.clone(), &between, Vec::new())?).x;
        let (has_variables, inside) = (tape.has_variables(), Footprint::of(&between.x));
        let linear = linear.without_unused_input();
        let tape = LinearAttentionTape { input: input.x.id(), linear, attention, tape };
        Ok(LayerLinearization::new(output, tape).with_memory(inside).with_inside(has_variables, false))
    }
}

struct LinearAttentionTape<'a> {
    /// The identity of the input.
    input: TensorId,
    linear: LinearLinearization,
    attention: AttentionLinearization,
    /// One layer after the other.
    tape: SequentialTape<'a>,
}

impl Tape for LinearAttentionTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if into.wants_input() && !into.wants_parameters() {
            let kept = into.take_kept(self.input);
            if let Some(gradient) = self.attention.gradient_through(&self.linear, g, kept.as_ref())? {
                return Ok(Some(gradient));
            }
            if let Some(kept) = kept {
                into.add_to(self.input, kept)?;
            }
        }
        self.tape.vjp(g, into)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        self.tape.jvp(t)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        self.tape.penalty(g, t, into)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device};
    use ops::AttentionSettings;

    use super::*;
    use crate::layer::Sequential;
    use crate::{Access, Initialisation, Params};

    /// A sequence of one layer has no neighbours to fuse.
    #[test]
    fn many_cotangents_have_the_gradients_of_single_layers() {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
        let layers: [Arc<dyn Layer>; 3] = [
            Arc::new(Linear::new(builder.under("qkv"), 24, 72).unwrap()),
            Arc::new(Attention::new(AttentionSettings::new(3))),
            Arc::new(Linear::new(builder.under("proj"), 24, 24).unwrap()),
        ];
        let fused: Sequential = layers.iter().map(|layer| (String::new(), Arc::clone(layer))).collect();
        let mut nested = Sequential::default();
        let singles = layers.into_iter().map(|layer| Sequential::from_iter([(String::new(), layer)]));
        singles.for_each(|single| nested.push("", single));
        let draw = |shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|index: usize| (index as f64 * 1.7).sin()).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (x, g, addend) = (draw(&[2, 5, 24]), draw(&[40, 5, 24]), draw(&[40, 5, 24]));
        let gradient = |layers: &Sequential, kept: bool| {
            let (_, tape) = layers.tape(&LayerInput::new(&x).by_input(), &Pass::evaluation()).unwrap();
            let mut into = GradientAccumulator::of_input();
            if kept {
                into.add_to(x.id(), addend.clone()).unwrap();
            }
            let gradient = tape.vjp(&g, &mut into).unwrap().unwrap();
            gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        for kept in [false, true] {
            for (found, expected) in gradient(&fused, kept).iter().zip(gradient(&nested, kept)) {
                assert!((found - expected).abs() < 1e-13, "{found}, expected {expected}");
            }
        }
    }
}
