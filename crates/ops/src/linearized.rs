//! Operations linearized at one input, and their value and JVP in candle's graph.

use candle_core::Tensor;

use super::composed::in_graph;
use super::fused_relu::add_detached;
use crate::{Error, Result};

/// An operation of one input and some parameters, linearized at one input, without a graph.
///
/// **Definition** With the Jacobian J by the input: [`value`](Self::value) is the output, [`gradients`](Self::gradients) the VJP
/// Jᵀg with the gradients by the parameters, [`tangent`](Self::tangent) the JVP J t, and
/// [`tangent_cotangent_term`](Self::tangent_cotangent_term) the gradient of ⟨g, J t⟩ with g and t held fixed.
pub trait Linearized: Send + Sync {
    /// The output.
    ///
    /// **Errors** [`Error::Candle`] if the device fails.
    fn value(&self) -> Result<Tensor>;

    /// The gradients for a cotangent `g` of the output. The gradients by the parameters are computed if `by_parameters`.
    ///
    /// **Shapes** `g` `[k·n, …]` for an output `[n, …]`. Row r of `g` belongs to row r mod n.
    ///
    /// **Errors** [`Error::Shape`] if `g` does not have this shape, [`Error::DType`] if the dtypes differ.
    fn gradients(&self, g: &Tensor, by_parameters: bool) -> Result<Gradients>;

    /// As [`gradients`](Self::gradients), with `addend` added to the gradient by the input.
    ///
    /// **Errors** as [`gradients`](Self::gradients) and [`add_detached`].
    fn gradients_plus(&self, g: &Tensor, by_parameters: bool, addend: Option<&Tensor>) -> Result<Gradients> {
        let Gradients { input, parameters } = self.gradients(g, by_parameters)?;
        let input = addend.map_or(Ok(input.clone()), |addend| add_detached(&input, addend, false))?;
        Ok(Gradients { input, parameters })
    }

    /// The gradients by the parameters alone.
    ///
    /// **Errors** as [`gradients`](Self::gradients).
    fn gradients_by_parameters(&self, g: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.gradients(g, true)?.parameters)
    }

    /// The JVP J t.
    ///
    /// **Errors** [`Error::Shape`] if `t` does not have the shape of the input, [`Error::DType`] if the dtypes differ.
    fn tangent(&self, t: &Tensor) -> Result<Tensor>;

    /// The JVP J t, and the gradients of ⟨g, J t⟩ by the input and the parameters, with g and t held fixed.
    ///
    /// **Errors** as [`gradients`](Self::gradients) and [`tangent`](Self::tangent).
    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm>;
}

/// The gradients of an operation for one cotangent.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// By the input.
    pub input: Tensor,
    /// By each parameter, in the order of the operation's arguments; empty if they were not asked for.
    pub parameters: Vec<Tensor>,
}

/// The JVP J t of an operation, and the gradients of ⟨g, J t⟩ with g and t held fixed.
#[derive(Debug, Clone)]
pub struct TangentCotangentTerm {
    /// J t, shaped as the output.
    pub tangent: Tensor,
    /// The gradient by the input; none if J does not depend on the input.
    pub by_input: Option<Tensor>,
    /// The gradients by each parameter, in the order of the operation's arguments; none if J does not depend on it.
    pub by_parameters: Vec<Option<Tensor>>,
}

/// The value in candle's graph: its gradients by `x` and the parameters are those of the linearization.
pub(crate) fn value_in_graph<L: Linearized + 'static>(
    linearization: L,
    x: &Tensor,
    parameters: &[&Tensor],
) -> Result<Tensor> {
    in_graph_with(linearization.value()?, linearization, x, parameters)
}

/// [`value_in_graph`] with the value, if it is known.
pub(crate) fn in_graph_with<L: Linearized + 'static>(
    value: Tensor,
    linearization: L,
    x: &Tensor,
    parameters: &[&Tensor],
) -> Result<Tensor> {
    let arguments: Vec<&Tensor> = std::iter::once(x).chain(parameters.iter().copied()).collect();
    let by_parameters = parameters.iter().any(|parameter| parameter.track_op());
    let count = parameters.len();
    in_graph(&arguments, value, move |g| {
        let gradients = linearization.gradients(&g.contiguous()?, by_parameters)?;
        let mut parameters: Vec<Option<Tensor>> = gradients.parameters.into_iter().map(Some).collect();
        parameters.resize(count, None);
        Ok(std::iter::once(Some(gradients.input)).chain(parameters).collect())
    })
}

/// The value and the JVP along `dx` in candle's graph, differentiable once by `x`, `dx` and the parameters.
pub(crate) fn jvp_in_graph<L: Linearized + Clone + 'static>(
    linearization: L,
    x: &Tensor,
    dx: &Tensor,
    parameters: &[&Tensor],
) -> Result<(Tensor, Tensor)> {
    let value = value_in_graph(linearization.clone(), x, parameters)?;
    let (t, tangent) = (dx.detach(), linearization.tangent(&dx.detach())?);
    let arguments: Vec<&Tensor> = [x, dx].into_iter().chain(parameters.iter().copied()).collect();
    let tangent = in_graph(&arguments, tangent, move |g| {
        let g = g.contiguous()?;
        let by_dx = linearization.gradients(&g, false)?.input;
        let term = linearization.tangent_cotangent_term(&g, &t)?;
        Ok([term.by_input, Some(by_dx)].into_iter().chain(term.by_parameters).collect())
    })?;
    Ok((value, tangent))
}

/// Returns an error unless `t` is shaped as the input `x`.
pub(crate) fn check_tangent(op: &'static str, x: &[usize], t: &Tensor) -> Result<()> {
    if t.dims() == x {
        return Ok(());
    }
    Err(Error::shape(op, t.dims(), x, "a tangent has the shape of the input"))
}

/// Returns an error unless `g` has one cotangent per row of an output of this shape.
pub(crate) fn check_single_cotangent(op: &'static str, output: &[usize], g: &Tensor) -> Result<()> {
    if g.dims() == output {
        return Ok(());
    }
    Err(Error::shape(op, g.dims(), output, "a cotangent has the shape of the output"))
}
