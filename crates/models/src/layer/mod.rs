//! Layers: operations with their parameters, each with a forward pass and its tangent.

mod affine;
mod norm;
mod plain;
mod record;
mod stack;
mod sum;
mod trace;

use candle_core::Tensor;

pub(crate) use affine::{Conv2d, Linear};
pub(crate) use norm::BatchNorm2d;
pub(crate) use plain::{ActivationLayer, Dropout, Flatten, GlobalAvgPool, MaxPool};
pub(crate) use record::{Cotangents, Kept, Pairings, Record};
pub(crate) use stack::Stack;
pub(crate) use sum::Sum;
pub(crate) use trace::{Arrived, ByParameter, Footprint, Relu, Trace, Traced};

use crate::{Pass, Result};

/// A differentiable map with named parameters.
///
/// **Shapes** images are `[n, h, w, c]` between layers, vectors `[n, p]`.
pub(crate) trait Layer: Send + Sync {
    /// The output for `x`.
    ///
    /// # Errors
    /// Whatever the operation inside refuses, by name.
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor>;

    /// The output for `x` and its directional derivative along `dx`, without any change to running statistics.
    ///
    /// # Errors
    /// As [`Layer::forward`], and when the shapes of `x` and `dx` differ.
    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)>;

    /// The output of this layer and of a ReLU behind it, where one operation gives both and keeps less for the way back.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn forward_with_relu(&self, _x: &Tensor, _pass: &Pass) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Whether the layer is a ReLU.
    fn is_relu(&self) -> bool {
        false
    }

    /// The names of the layers inside, if it is made of named ones.
    fn names_inside(&self) -> Vec<String> {
        Vec::new()
    }

    /// The layers that run from this layer's input to the output of the one of this name inside.
    fn find_inside(&self, _name: &str) -> Option<Stack> {
        None
    }

    /// The output for a plain tensor, and the way back from it.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn trace<'a>(&'a self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'a>>;

    /// As [`Layer::trace`] for this layer and a ReLU behind it, where the two are one.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn trace_with_relu<'a>(&'a self, _arrived: &Arrived, _relu: Relu, _pass: &Pass) -> Result<Option<Traced<'a>>> {
        Ok(None)
    }

    /// Whether the way back through this layer can do the work of a ReLU in front of it: see [`Arrived::ungated`].
    fn gates_for_relu(&self) -> bool {
        false
    }

    /// This layer, if it is a convolution.
    fn as_convolution(&self) -> Option<&Conv2d> {
        None
    }

    /// This layer, if it is a max pool.
    fn as_max_pool(&self) -> Option<&MaxPool> {
        None
    }

    /// This layer, if it is batch norm.
    fn as_batch_norm(&self) -> Option<&BatchNorm2d> {
        None
    }

    /// The output for `x` together with what the two passes below need of it.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn record(&self, x: &Tensor, pass: &Pass) -> Result<Record> {
        Ok(Record::leaf(x, self.forward(x, pass)?))
    }

    /// Jᵀg of the recorded pass, outside any graph.
    ///
    /// # Errors
    /// When `g` is not shaped as the output.
    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents>;

    /// As [`Layer::pullback`] of this layer and a ReLU behind it, where the two are one; `g` is then the ReLU's.
    ///
    /// # Errors
    /// As [`Layer::pullback`].
    fn pullback_with_relu(&self, _record: &Record, _g: &Tensor) -> Result<Option<Cotangents>> {
        Ok(None)
    }

    /// As [`Layer::pair`] of this layer and a ReLU behind it, where `cotangents` came from [`Layer::pullback_with_relu`].
    ///
    /// # Errors
    /// As [`Layer::pair`], and when this layer is never one with its ReLU.
    fn pair_with_relu(
        &self,
        _record: &Record,
        _cotangents: Cotangents,
        _t: &Tensor,
        _pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        Err(crate::Error::Candle(candle_core::Error::BackwardNotSupported { op: "pair-with-relu" }))
    }

    /// J t of the recorded pass, outside any graph, where `cotangents` came from [`Layer::pullback`].
    ///
    /// Adds to `pairings` the gradients of ⟨g, J t⟩ by the weights and by the recorded input, the cotangent g and the
    /// tangent t held fixed. Where J depends on neither, there is nothing to add.
    ///
    /// # Errors
    /// When `t` is not shaped as the input.
    fn pair(
        &self,
        record: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor>;
}
