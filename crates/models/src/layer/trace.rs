//! A pass forward that keeps exactly what its way back needs, and that way back, without a graph.
//!
//! candle's `backward` starts every gradient from a tensor of zeros and adds to it, and it keeps every tensor of the graph
//! until the end. Here each layer gives a closure from the cotangent of its output to that of its input, holding what it
//! needs and no more; a gradient is written once, and what a layer held is freed as soon as the way back has passed it.
//! The derivatives are the operations' own, the same as in a graph.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};

use super::{Kept, Record};
use crate::Result;
use ops::plain_sum;

/// What one traced layer gives.
pub(crate) struct Traced<'a> {
    /// The output, outside any graph.
    pub(crate) y: Tensor,
    /// The way back through the layer; none where nothing at or below it wants a gradient.
    pub(crate) back: Option<Back<'a>>,
    /// The tensors inside the layer, if it is made of others.
    pub(crate) inside: Footprint,
    /// What its record keeps, if one is asked for: see [`Arrived::recorded`].
    pub(crate) kept: Kept,
}

impl<'a> Traced<'a> {
    /// A layer that is not made of others; `back` is dropped unless something wants the gradient.
    pub(crate) fn leaf(
        y: Tensor,
        wanted: bool,
        back: impl Fn(&Tensor, &mut ByParameter) -> Result<Option<Tensor>> + 'a,
    ) -> Self {
        Self { y, back: wanted.then(|| Box::new(back) as Back<'a>), inside: Footprint::default(), kept: Kept::Nothing }
    }
}

/// The memory of some tensors, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Footprint {
    /// Of all of them.
    pub(crate) total: usize,
    /// Of the largest.
    pub(crate) largest: usize,
}

impl Footprint {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        Self { total: bytes, largest: bytes }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { total: self.total + other.total, largest: self.largest.max(other.largest) }
    }
}

/// From the cotangent of a layer's output to that of its input (none where nothing below wants it). Gradients by the
/// layer's parameters go into the collection.
pub(crate) type Back<'a> = Box<dyn Fn(&Tensor, &mut ByParameter) -> Result<Option<Tensor>> + 'a>;

/// Gradients by parameter, as ways back find them.
///
/// A gradient by the input of a traced layer may be put in beforehand: the way back adds it there to the cotangent.
#[derive(Default)]
pub(crate) struct ByParameter(HashMap<TensorId, Tensor>);

impl ByParameter {
    /// Adds a gradient by this parameter (or input of a layer).
    ///
    /// # Errors
    /// When a parameter that is used twice gets gradients of two shapes.
    pub(crate) fn add(&mut self, parameter: &Tensor, gradient: Tensor) -> Result<()> {
        let total = self.joined(parameter.id(), gradient)?;
        self.0.insert(parameter.id(), total);
        Ok(())
    }

    /// The cotangent together with what is here for the same tensor, which is taken out.
    fn joined(&mut self, id: TensorId, cotangent: Tensor) -> Result<Tensor> {
        match self.0.remove(&id) {
            Some(known) => Ok(plain_sum(&known, &cotangent, false)?),
            None => Ok(cotangent),
        }
    }

    /// The gradient by this parameter, if there is one.
    pub(crate) fn take(&mut self, parameter: &Tensor) -> Option<Tensor> {
        self.0.remove(&parameter.id())
    }
}

/// What arrives at a layer.
pub(crate) struct Arrived {
    /// The input, outside any graph.
    pub(crate) x: Tensor,
    /// Whether anything below wants the cotangent of the input.
    pub(crate) wanted: bool,
    /// Whether the input came out of a ReLU that leaves it to this layer to let only the cotangents of positive values
    /// through. Only a layer that [gates for a ReLU](super::Layer::gates_for_relu) is asked to.
    pub(crate) ungated: bool,
    /// Whether the layers are to leave records of the pass.
    pub(crate) recorded: bool,
}

impl Arrived {
    /// What enters a stack; `wanted` says whether the cotangent of `x` is.
    pub(crate) fn entering(x: &Tensor, wanted: bool) -> Self {
        Self { x: x.detach(), wanted, ungated: false, recorded: false }
    }

    /// What a layer keeps, if records are asked for.
    pub(crate) fn keep(&self, kept: impl FnOnce() -> Kept) -> Kept {
        if self.recorded { kept() } else { Kept::Nothing }
    }

    /// Whether a gradient is wanted by the input or by any of these parameters, which are variables then.
    pub(crate) fn wants(&self, parameters: &[&Tensor]) -> bool {
        self.wanted || parameters.iter().any(|parameter| parameter.track_op())
    }
}

/// How the way back treats a ReLU behind a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relu {
    /// It lets only the cotangents of positive outputs through.
    Gates,
    /// The cotangents have been let through already: see [`Arrived::ungated`].
    Gated,
}

/// The traced layers of a stack.
#[derive(Default)]
pub(crate) struct Trace<'a> {
    /// With the input of each layer.
    ways: Vec<(TensorId, Back<'a>)>,
    /// One record a layer, if they were asked for.
    pub(crate) records: Vec<Record>,
    /// The outputs of all layers: what the ways back hold, or a little more.
    pub(crate) footprint: Footprint,
}

impl<'a> Trace<'a> {
    /// Whether there is no way back.
    pub(crate) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Adds the layer at which `arrived` came, done together with a ReLU behind it or not; gives its output, and whether
    /// its cotangent is wanted.
    pub(crate) fn push(&mut self, arrived: &Arrived, layer: Traced<'a>, with_relu: bool) -> (Tensor, bool) {
        let wanted = layer.back.is_some();
        self.footprint = self.footprint.and(layer.inside).and(Footprint::of(&layer.y));
        self.ways.extend(layer.back.map(|back| (arrived.x.id(), back)));
        if arrived.recorded {
            self.records.push(Record { kept: layer.kept, ..Record::leaf(&arrived.x, layer.y.clone()) });
            // The ReLU's output stands for its input too: its slope is the same at both.
            self.records.extend(with_relu.then(|| Record::leaf(&layer.y, layer.y.clone())));
        }
        (layer.y, wanted)
    }

    /// The cotangent of the input for one of the output; the trace can be walked again.
    ///
    /// # Errors
    /// When the cotangent is not shaped as the output.
    pub(crate) fn pullback(&self, cotangent: &Tensor, into: &mut ByParameter) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent.clone());
        for (input, back) in self.ways.iter().rev() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = back(&at_output, into)?.map(|at_input| into.joined(*input, at_input)).transpose()?;
        }
        Ok(cotangent)
    }

    /// As [`Trace::pullback`], freeing what each layer held once it has been passed.
    ///
    /// # Errors
    /// As [`Trace::pullback`].
    pub(crate) fn into_pullback(mut self, cotangent: Tensor, into: &mut ByParameter) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent);
        while let Some((input, back)) = self.ways.pop() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = back(&at_output, into)?.map(|at_input| into.joined(input, at_input)).transpose()?;
        }
        Ok(cotangent)
    }
}
