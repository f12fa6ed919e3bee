//! The derivatives of a layer that has no rule of its own, by candle's graph of its forward pass.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use ops::host;

use super::{Footprint, GradientAccumulator, Layer, LayerInput, LayerLinearization, Tape};
use crate::{Error, Pass, Result};

/// As [`Layer::linearize`], by the graph of [`Layer::forward`] from a copy of the input to the output.
pub(super) fn linearize<'a, L: Layer + ?Sized>(
    layer: &'a L,
    input: &LayerInput,
    pass: &Pass,
) -> Result<LayerLinearization<'a>> {
    let leaf = Var::from_tensor(&input.x)?;
    let y = layer.forward(leaf.as_tensor(), pass)?;
    let nodes = y.sorted_nodes();
    if !nodes.iter().any(|node| node.id() == leaf.id()) {
        return Err(Error::NotDifferentiable { shape: y.dims().to_vec() });
    }
    let has_variables = nodes.iter().any(|node| node.is_variable() && node.id() != leaf.id());
    let of_samples = nodes.iter().filter(|node| !node.is_variable() || node.id() == leaf.id());
    let inside = of_samples.map(|node| Footprint::of(node)).fold(Footprint::default(), Footprint::and);
    let output = y.detach();
    let tape = GraphTape { layer, x: input.x.clone(), leaf, y, pass: pass.without_update() };
    Ok(LayerLinearization::new(output, tape).with_memory(inside).with_inside(has_variables, true))
}

struct GraphTape<'a, L: ?Sized> {
    layer: &'a L,
    x: Tensor,
    /// The input of the graph.
    leaf: Var,
    /// The output with its graph.
    y: Tensor,
    pass: Pass,
}

impl<L: Layer + ?Sized> GraphTape<'_, L> {
    /// The gradient of a scalar by `leaf`, after those by the variables that `into` wants were added to it.
    fn backward(&self, scalar: &Tensor, leaf: &Var, into: &mut GradientAccumulator) -> Result<Tensor> {
        let gradients = scalar.backward()?;
        if into.wants_parameters() {
            add_parameters(&gradients, leaf, into)?;
        }
        match gradients.get(leaf) {
            Some(gradient) => Ok(gradient.contiguous()?),
            None => Ok(leaf.as_tensor().zeros_like()?.detach()),
        }
    }

    /// f(leaf + h t) and f(leaf − h t) with their graphs.
    fn around(&self, leaf: &Tensor, t: &Tensor, h: f64) -> Result<[Tensor; 2]> {
        let step = (t * h)?;
        let at = |x: Tensor| self.layer.forward(&x, &self.pass);
        Ok([at((leaf + &step)?)?, at((leaf - &step)?)?])
    }

    /// Returns an error if the outputs on both sides are further from the output than their step allows: two passes then differ
    /// by more than their inputs do.
    fn require_determinism(&self, ahead: &Tensor, behind: &Tensor) -> Result<()> {
        let middle = ((ahead.detach() + behind.detach())? / 2.0)?;
        let (difference, output) = (norm(&(middle - self.y.detach())?)?, norm(&self.y)?);
        if difference <= 8.0 * relative_change(self.x.dtype()) * output {
            return Ok(());
        }
        Err(Error::NotDeterministic { difference: difference / output })
    }

    /// The step h at which the input changes by at most δ‖x‖ and the output by at most about δ‖y‖, with δ the
    /// [relative change](relative_change) of the dtype.
    fn step(&self, t: &Tensor) -> Result<f64> {
        let change = relative_change(self.x.dtype());
        let (length, size) = (norm(t)?, norm(&self.x)?);
        if length == 0.0 {
            return Ok(change);
        }
        let size = if size > 0.0 { size } else { (self.x.elem_count() as f64).sqrt() };
        let by_input = change * size / length;
        let [ahead, behind] = self.around(&self.x, t, by_input)?;
        let (moved, output) = (norm(&(ahead - behind)?)? / 2.0, norm(&self.y)?);
        Ok(if moved > change * output && output > 0.0 { by_input * change * output / moved } else { by_input })
    }
}

impl<L: Layer + ?Sized> Tape for GraphTape<'_, L> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let (rows, given) = (self.y.dim(0)?, g.dim(0)?);
        if rows == 0 || given % rows != 0 || g.dims().get(1..) != self.y.dims().get(1..) {
            return Err(Error::Shape {
                op: "vjp",
                left: g.dims().to_vec(),
                right: self.y.dims().to_vec(),
                rule: "cotangents have the shape of the output, with one or more rows per row of the output".into(),
            });
        }
        let mut at_input = Vec::with_capacity(given / rows);
        for start in (0..given).step_by(rows) {
            let g = g.detach().narrow(0, start, rows)?;
            at_input.push(self.backward(&(&self.y * g)?.sum_all()?, &self.leaf, into)?);
        }
        if !into.wants_input() {
            return Ok(None);
        }
        Ok(Some(if at_input.len() == 1 { at_input.remove(0) } else { Tensor::cat(&at_input, 0)? }))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        let h = self.step(t)?;
        let [ahead, behind] = self.around(&self.x, t, h)?;
        self.require_determinism(&ahead, &behind)?;
        Ok(((ahead - behind)?.detach() / (2.0 * h))?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let h = self.step(t)?;
        let leaf = Var::from_tensor(&self.x)?;
        let [ahead, behind] = self.around(leaf.as_tensor(), t, h)?;
        self.require_determinism(&ahead, &behind)?;
        let tangent = ((ahead - behind)? / (2.0 * h))?;
        let by_input = self.backward(&(&tangent * g.detach())?.sum_all()?, &leaf, into)?;
        into.add(&self.x, by_input)?;
        Ok(tangent.detach())
    }
}

fn add_parameters(gradients: &GradStore, leaf: &Var, into: &mut GradientAccumulator) -> Result<()> {
    for id in gradients.get_ids().filter(|id| **id != leaf.id()) {
        if let Some(gradient) = gradients.get_id(*id) {
            into.add_to(*id, gradient.contiguous()?)?;
        }
    }
    Ok(())
}

/// The relative change of input and output that a step of a central difference aims at.
///
/// The relative error of the difference is of the order of its square (curvature) plus the rounding of the dtype divided by it. In
/// f64 it is smaller than the best value for smooth maps, so that a step seldom crosses a kink of a ReLU.
pub(crate) fn relative_change(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-6,
        _ => 3e-3,
    }
}

fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(host::read_scalar(&tensor.detach().to_dtype(DType::F64)?.sqr()?.sum_all()?)?.sqrt())
}
