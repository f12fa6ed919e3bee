//! A pass forward that keeps exactly what its way back needs, and that way back, without a graph.
//!
//! candle's `backward` starts every gradient from a tensor of zeros and adds to it, and it keeps every tensor of the graph
//! until the end. Here each layer gives a closure from the cotangent of its output to that of its input, holding what it
//! needs and no more; a gradient is written once, and what a layer held is freed as soon as the way back has passed it.
//! The derivatives are the operations' own, the same as in a graph.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};

use crate::Result;

/// What one traced layer gives.
pub(crate) struct Traced<'a> {
    /// The output, outside any graph.
    pub(crate) y: Tensor,
    /// The way back through the layer; none where nothing at or below it wants a gradient.
    pub(crate) back: Option<Back<'a>>,
    /// The tensors inside the layer, if it is made of others.
    pub(crate) inside: Footprint,
}

impl<'a> Traced<'a> {
    /// A layer that is not made of others; `back` is dropped unless something wants the gradient.
    pub(crate) fn leaf(
        y: Tensor,
        wanted: bool,
        back: impl Fn(&Tensor, &mut ByParameter) -> Result<Option<Tensor>> + 'a,
    ) -> Self {
        Self { y, back: wanted.then(|| Box::new(back) as Back<'a>), inside: Footprint::default() }
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
#[derive(Default)]
pub(crate) struct ByParameter(HashMap<TensorId, Tensor>);

impl ByParameter {
    /// Adds a gradient by this parameter.
    ///
    /// # Errors
    /// When a parameter that is used twice gets gradients of two shapes.
    pub(crate) fn add(&mut self, parameter: &Tensor, gradient: Tensor) -> Result<()> {
        let total = match self.0.remove(&parameter.id()) {
            Some(known) => (known + gradient)?,
            None => gradient,
        };
        self.0.insert(parameter.id(), total);
        Ok(())
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
}

impl Arrived {
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
    ways: Vec<Back<'a>>,
    /// The outputs of all layers: what the ways back hold, or a little more.
    pub(crate) footprint: Footprint,
}

impl<'a> Trace<'a> {
    /// Whether there is no way back.
    pub(crate) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Adds the next layer; gives its output, and whether its cotangent is wanted.
    pub(crate) fn push(&mut self, layer: Traced<'a>) -> (Tensor, bool) {
        let wanted = layer.back.is_some();
        self.footprint = self.footprint.and(layer.inside).and(Footprint::of(&layer.y));
        self.ways.extend(layer.back);
        (layer.y, wanted)
    }

    /// The cotangent of the input for one of the output; the trace can be walked again.
    ///
    /// # Errors
    /// When the cotangent is not shaped as the output.
    pub(crate) fn pullback(&self, cotangent: &Tensor, into: &mut ByParameter) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent.clone());
        for back in self.ways.iter().rev() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = back(&at_output, into)?;
        }
        Ok(cotangent)
    }

    /// As [`Trace::pullback`], freeing what each layer held once it has been passed.
    ///
    /// # Errors
    /// As [`Trace::pullback`].
    pub(crate) fn into_pullback(mut self, cotangent: Tensor, into: &mut ByParameter) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent);
        while let Some(back) = self.ways.pop() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = back(&at_output, into)?;
        }
        Ok(cotangent)
    }
}
