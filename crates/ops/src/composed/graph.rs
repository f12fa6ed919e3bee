//! Values that were computed outside candle's graph, as nodes of the graph with given gradients.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor};

use super::Ruled;
use crate::{Error, Result};

/// The gradients by the tracked arguments, in their order; none where the derivative is 0.
type Gradients = Box<dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// `value` as a function of `arguments` in candle's graph. `vjp` gives the gradient by every argument for a cotangent of the
/// value, or none where the derivative is 0. Without a tracked argument it is `value` itself.
pub(crate) fn in_graph(
    arguments: &[&Tensor],
    value: Tensor,
    vjp: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> Result<Tensor> {
    let tracked: Vec<bool> = arguments.iter().map(|argument| argument.track_op()).collect();
    let chosen: Vec<&Tensor> = arguments.iter().filter(|argument| argument.track_op()).copied().collect();
    let by_tracked = move |g: &Tensor| -> Result<Vec<Option<Tensor>>> {
        Ok(vjp(g)?.into_iter().zip(&tracked).filter(|(_, tracked)| **tracked).map(|(gradient, _)| gradient).collect())
    };
    match chosen.as_slice() {
        [] => Ok(value),
        [a] => Ok(a.apply_op1(Ruled { value, rule: Rule(Box::new(by_tracked)) })?),
        [a, b] => Ok(a.apply_op2(b, Ruled { value, rule: Rule(Box::new(by_tracked)) })?),
        [a, b, c] => Ok(a.apply_op3(b, c, Ruled { value, rule: Rule(Box::new(by_tracked)) })?),
        more => in_graph_of_packed(more, value, Box::new(by_tracked)),
    }
}

/// More than three arguments: packed into one vector, because candle's operations have at most three arguments.
fn in_graph_of_packed(arguments: &[&Tensor], value: Tensor, by_tracked: Gradients) -> Result<Tensor> {
    let flat = arguments.iter().map(|argument| Ok(argument.flatten_all()?)).collect::<Result<Vec<_>>>()?;
    let sizes: Vec<usize> = arguments.iter().map(|argument| argument.elem_count()).collect();
    let packed = move |g: &Tensor| -> Result<Vec<Option<Tensor>>> {
        let gradients = by_tracked(g)?.into_iter().zip(&sizes).map(|(gradient, size)| match gradient {
            Some(gradient) => Ok(gradient.flatten_all()?),
            None => Ok(Tensor::zeros(*size, g.dtype(), g.device())?),
        });
        Ok(vec![Some(Tensor::cat(&gradients.collect::<Result<Vec<_>>>()?, 0)?)])
    };
    Ok(Tensor::cat(&flat, 0)?.apply_op1(Ruled { value, rule: Rule(Box::new(packed)) })?)
}

/// The gradient rule of a node; its value is computed outside.
struct Rule(Gradients);

impl Rule {
    const NAME: &str = "linearized";

    /// The gradient by each of `N` arguments. A derivative of 0 becomes a tensor of zeros: candle's backward pass expects a gradient
    /// for every tracked argument that is not a variable.
    fn gradients<const N: usize>(&self, arguments: [&Tensor; N], g: &Tensor) -> CandleResult<[Option<Tensor>; N]> {
        let mut found = (self.0)(g).map_err(Error::into_candle)?.into_iter();
        let mut gradients = [const { None }; N];
        for (gradient, argument) in gradients.iter_mut().zip(arguments) {
            *gradient = Some(match found.next().flatten() {
                Some(found) => found,
                None => argument.zeros_like()?,
            });
        }
        Ok(gradients)
    }

    fn no_kernel() -> CandleResult<(CpuStorage, Shape)> {
        Err(candle_core::Error::Msg(format!("{}: the value is computed before the graph", Self::NAME)).bt())
    }
}

impl CustomOp1 for Rule {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        Self::no_kernel()
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let [by_x] = self.gradients([x], g)?;
        Ok(by_x)
    }
}

impl CustomOp2 for Rule {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        Self::no_kernel()
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let [by_x, by_y] = self.gradients([x, y], g)?;
        Ok((by_x, by_y))
    }
}

impl CustomOp3 for Rule {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        Self::no_kernel()
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [by_x, by_y, by_z] = self.gradients([x, y, z], g)?;
        Ok((by_x, by_y, by_z))
    }
}
