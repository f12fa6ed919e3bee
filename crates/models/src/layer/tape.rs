//! The derivatives of a layer at one input, and what it keeps for them.

use candle_core::Tensor;

use super::GradientAccumulator;
use crate::{Error, Result};

/// What a layer keeps of one forward pass, and its derivatives there. J is the Jacobian of the output by the input.
///
/// All tensors are outside any graph. The methods can be called repeatedly.
pub trait Tape: Send + Sync {
    /// Jᵀg, the cotangent of the input, if `into` asks for it. The gradients of ⟨g, y⟩ by the parameters that `into`
    /// [wants](GradientAccumulator::wants) are added to it.
    ///
    /// **Shapes** the output y is `[n, …]`, `g` is `[k·n, …]` with k cotangents for each row of y, and so is the result: row r
    /// belongs to row r mod n of the input. Gradients by parameters are asked for with k = 1 only.
    ///
    /// # Errors
    /// When `g` does not have the shape of the output.
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>>;

    /// J t for a tangent `t` of the input.
    ///
    /// # Errors
    /// When `t` does not have the shape of the input, or the layer was linearized without
    /// [tangents](super::LayerInput::tangents).
    fn jvp(&self, t: &Tensor) -> Result<Tensor>;

    /// J t. The gradients of ⟨g, J t⟩ by the parameters that `into` wants and by the input are added to `into`, with the
    /// cotangent `g` and the tangent `t` held fixed. Nothing is added for what J does not depend on.
    ///
    /// # Errors
    /// As [`Tape::jvp`], and when `g` does not have the shape of the output.
    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor>;
}

/// The output of a layer with its derivatives.
#[non_exhaustive]
pub struct LayerLinearization<'a> {
    /// The output, outside any graph.
    pub output: Tensor,
    /// The derivatives.
    pub tape: Box<dyn Tape + 'a>,
    /// Whether a parameter is a variable, so that a backward pass must come to this layer.
    pub has_variables: bool,
    /// Whether candle's graph differentiates this layer or one inside it: see [`Layer::linearize`](super::Layer::linearize).
    pub by_graph: bool,
    /// The memory of the tensors inside the layer, beside its input and its output.
    pub inside: Footprint,
}

impl<'a> LayerLinearization<'a> {
    /// The linearization of a layer without parameters.
    pub fn new(output: Tensor, tape: impl Tape + 'a) -> Self {
        let tape = Box::new(tape);
        Self { output, tape, has_variables: false, by_graph: false, inside: Footprint::default() }
    }

    /// The same for a layer with these parameters.
    pub fn with_parameters<'t>(self, parameters: impl IntoIterator<Item = &'t Tensor>) -> Self {
        let has_variables = self.has_variables || parameters.into_iter().any(Tensor::track_op);
        Self { has_variables, ..self }
    }

    /// The same with this memory inside the layer.
    pub fn with_memory(self, inside: Footprint) -> Self {
        Self { inside, ..self }
    }

    /// The same for a layer that holds a variable, or one that candle's graph differentiates, if these flags are set.
    pub fn with_inside(self, has_variables: bool, by_graph: bool) -> Self {
        Self { has_variables: self.has_variables || has_variables, by_graph: self.by_graph || by_graph, ..self }
    }
}

/// The memory of some tensors, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// Bytes of all tensors together.
    pub total: usize,
    /// Bytes of the largest tensor.
    pub largest: usize,
}

impl Footprint {
    /// The memory of a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        Self { total: bytes, largest: bytes }
    }

    /// The memory of this much and more.
    pub fn and(self, other: Self) -> Self {
        Self { total: self.total + other.total, largest: self.largest.max(other.largest) }
    }

    /// The same largest tensor, with this many bytes in total.
    pub(super) fn with_total(self, total: usize) -> Self {
        Self { total, ..self }
    }
}

/// The derivatives of a layer that is linear in its input and has no parameters: t ↦ J t and its transpose g ↦ Jᵀg.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::layer::{GradientAccumulator, LinearTape, Tape};
/// let double = |v: &Tensor| -> models::Result<Tensor> { Ok((v * 2.0)?) };
/// let tape = LinearTape::new(double, double);
/// let one = Tensor::new(&[1f64], &Device::Cpu)?;
/// assert_eq!(tape.jvp(&one)?.to_vec1::<f64>()?, [2.]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct LinearTape<A, T> {
    apply: A,
    transpose: T,
}

impl<A, T> LinearTape<A, T>
where
    A: Fn(&Tensor) -> Result<Tensor> + Send + Sync,
    T: Fn(&Tensor) -> Result<Tensor> + Send + Sync,
{
    /// From t ↦ J t and g ↦ Jᵀg; the latter takes k cotangents for each row, as [`Tape::vjp`].
    pub fn new(apply: A, transpose: T) -> Self {
        Self { apply, transpose }
    }
}

impl<A, T> Tape for LinearTape<A, T>
where
    A: Fn(&Tensor) -> Result<Tensor> + Send + Sync,
    T: Fn(&Tensor) -> Result<Tensor> + Send + Sync,
{
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        into.wants_input().then(|| (self.transpose)(g)).transpose()
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        (self.apply)(t)
    }

    fn penalty(&self, _: &Tensor, t: &Tensor, _: &mut GradientAccumulator) -> Result<Tensor> {
        (self.apply)(t)
    }
}

/// The error of a JVP or a penalty's term at an input that was linearized without tangents.
pub(super) fn without_tangents() -> Error {
    Error::Setting {
        op: "jvp",
        name: "tangents of the input",
        value: "false".into(),
        rule: "a layer is linearized at an input with `with_tangents` before a JVP or a penalty's term is taken",
    }
}
