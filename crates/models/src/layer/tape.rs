//! A forward pass that keeps exactly what its backward pass needs, and that backward pass, without a graph.
//!
//! candle's `backward` starts every gradient from a tensor of zeros and adds to it, and it keeps every tensor of the graph
//! until the end. Here each layer returns a closure from the cotangent of its output to the cotangent of its input, which holds
//! only what it needs. A gradient is written once, and [`Tape::into_vjp`] frees what a layer held as soon as the backward pass
//! has left the layer. The derivatives are those of the operations in `ops`, as in a graph.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};
use ops::add_detached;

use super::{LayerResiduals, Residuals};
use crate::Result;

/// The output of one layer with its backward pass.
pub(crate) struct LayerLinearization<'a> {
    /// The output, outside any graph.
    pub(crate) output: Tensor,
    /// The backward pass of the layer; none where neither its input nor a parameter needs a gradient.
    pub(crate) vjp: Option<Vjp<'a>>,
    /// The memory of the tensors inside the layer, if it has layers inside.
    pub(crate) inside: Footprint,
    /// What the layer keeps for the GC penalty: see [`LayerInput::keeps_residuals`].
    pub(crate) residuals: Residuals,
}

impl<'a> LayerLinearization<'a> {
    /// Of a layer without layers inside; `vjp` is dropped unless a gradient is needed.
    pub(crate) fn new(
        output: Tensor,
        needs_gradient: bool,
        vjp: impl Fn(&Tensor, &mut GradientAccumulator) -> Result<Option<Tensor>> + 'a,
    ) -> Self {
        let vjp = needs_gradient.then(|| Box::new(vjp) as Vjp<'a>);
        Self { output, vjp, inside: Footprint::default(), residuals: Residuals::None }
    }
}

/// The memory of some tensors, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Footprint {
    /// Bytes of all tensors together.
    pub(crate) total: usize,
    /// Bytes of the largest tensor.
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

/// From the cotangent of a layer's output to the cotangent of its input; none where the input needs no gradient. Gradients by
/// the layer's parameters are added to the accumulator.
pub(crate) type Vjp<'a> = Box<dyn Fn(&Tensor, &mut GradientAccumulator) -> Result<Option<Tensor>> + 'a>;

/// Sums of gradients by tensor: by parameters, and by the inputs of layers.
///
/// A gradient by the input of a layer may be added before the backward pass, which then adds it to the cotangent there.
#[derive(Default)]
pub(crate) struct GradientAccumulator(HashMap<TensorId, Tensor>);

impl GradientAccumulator {
    /// Adds a gradient by this parameter, or by this input of a layer.
    ///
    /// # Errors
    /// When a parameter that is used twice gets gradients of two shapes.
    pub(crate) fn add(&mut self, tensor: &Tensor, gradient: Tensor) -> Result<()> {
        let total = self.take_sum(tensor.id(), gradient)?;
        self.0.insert(tensor.id(), total);
        Ok(())
    }

    /// The cotangent plus the gradient collected for the same tensor, which is removed.
    fn take_sum(&mut self, id: TensorId, cotangent: Tensor) -> Result<Tensor> {
        match self.0.remove(&id) {
            Some(known) => Ok(add_detached(&known, &cotangent, false)?),
            None => Ok(cotangent),
        }
    }

    /// Removes and returns the gradient by this tensor, if there is one.
    pub(crate) fn take(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.0.remove(&tensor.id())
    }
}

/// The input of a layer, with what is known about the backward pass at that point.
pub(crate) struct LayerInput {
    /// The input, outside any graph.
    pub(crate) x: Tensor,
    /// Whether an earlier layer needs the cotangent of the input.
    pub(crate) needs_gradient: bool,
    /// Whether the input is the output of a ReLU whose mask is still to be applied in the backward pass: this layer sets the
    /// cotangent of its input to zero wherever the input is zero. Only for layers that
    /// [can do so](super::Layer::applies_relu_mask).
    pub(crate) relu_mask_pending: bool,
    /// Whether the layers also keep residuals for the GC penalty.
    pub(crate) keeps_residuals: bool,
}

impl LayerInput {
    /// The input of the first layer; `needs_gradient` is whether the cotangent of `x` is needed.
    pub(crate) fn first(x: &Tensor, needs_gradient: bool) -> Self {
        Self { x: x.detach(), needs_gradient, relu_mask_pending: false, keeps_residuals: false }
    }

    /// The residuals that `make` gives, if residuals are kept.
    pub(crate) fn residuals(&self, make: impl FnOnce() -> Residuals) -> Residuals {
        if self.keeps_residuals { make() } else { Residuals::None }
    }

    /// Whether the input or one of these parameters needs a gradient.
    pub(crate) fn needs_gradient_for(&self, parameters: &[&Tensor]) -> bool {
        self.needs_gradient || parameters.iter().any(|parameter| parameter.track_op())
    }
}

/// Which layer's backward pass applies the mask of a ReLU that is fused with the layer in front of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReluMask {
    /// The fused layer itself.
    ThisLayer,
    /// The layer after the ReLU: see [`LayerInput::relu_mask_pending`].
    NextLayer,
}

/// The backward passes of consecutive layers.
#[derive(Default)]
pub(crate) struct Tape<'a> {
    /// For each layer that has a backward pass, the identity of its input and that pass, in forward order.
    vjps: Vec<(TensorId, Vjp<'a>)>,
    /// The residuals of each layer, if they are kept.
    pub(crate) residuals: Vec<LayerResiduals>,
    /// The memory of the outputs of all layers, an upper bound of what the backward passes hold.
    pub(crate) footprint: Footprint,
}

impl<'a> Tape<'a> {
    /// Whether no layer has a backward pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.vjps.is_empty()
    }

    /// Appends the layer that was computed at `input`, fused with a ReLU or not. Returns its output and whether the cotangent
    /// of that output is needed.
    pub(crate) fn push(
        &mut self,
        input: &LayerInput,
        layer: LayerLinearization<'a>,
        with_relu: bool,
    ) -> (Tensor, bool) {
        let needs_gradient = layer.vjp.is_some();
        self.footprint = self.footprint.and(layer.inside).and(Footprint::of(&layer.output));
        self.vjps.extend(layer.vjp.map(|vjp| (input.x.id(), vjp)));
        if input.keeps_residuals {
            let output = layer.output.clone();
            self.residuals.push(LayerResiduals { extra: layer.residuals, ..LayerResiduals::new(&input.x, output) });
            // The output of a fused ReLU is also used as its input, because its derivative is the same at both.
            self.residuals.extend(with_relu.then(|| LayerResiduals::new(&layer.output, layer.output.clone())));
        }
        (layer.output, needs_gradient)
    }

    /// The cotangent of the input for a cotangent of the output. Can be applied repeatedly.
    ///
    /// # Errors
    /// When the cotangent does not have the shape of the output.
    pub(crate) fn vjp(&self, cotangent: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent.clone());
        for (input, vjp) in self.vjps.iter().rev() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = vjp(&at_output, into)?.map(|at_input| into.take_sum(*input, at_input)).transpose()?;
        }
        Ok(cotangent)
    }

    /// As [`Tape::vjp`], once: what each layer held is freed as soon as the backward pass has left it.
    ///
    /// # Errors
    /// As [`Tape::vjp`].
    pub(crate) fn into_vjp(mut self, cotangent: Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let mut cotangent = Some(cotangent);
        while let Some((input, vjp)) = self.vjps.pop() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = vjp(&at_output, into)?.map(|at_input| into.take_sum(input, at_input)).transpose()?;
        }
        Ok(cotangent)
    }
}
