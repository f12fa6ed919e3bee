//! Two paths from one input whose outputs are added, as in residual networks.

use candle_core::{Tensor, TensorId};
use ops::{add_detached, relu_mask, relu_mask_rows};

use super::conv::ReluMask;
use super::memo::Memo;
use super::{
    Addend, GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, Sequential, SequentialTape, Tape,
};
use crate::{Pass, Result};

/// branch(x) + shortcut(x); an empty shortcut is the identity.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Pass;
/// use models::layer::{ActivationLayer, Layer, Sequential, Sum};
/// use models::ops::Activation;
/// let mut branch = Sequential::default();
/// branch.push("relu", ActivationLayer(Activation::Relu));
/// let y = Sum::residual(branch).forward(&Tensor::new(&[[-1f64, 2.]], &Device::Cpu)?, &Pass::evaluation())?;
/// assert_eq!(y.to_vec2::<f64>()?, [[-1., 4.]]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Clone)]
pub struct Sum {
    /// The layers of the branch.
    pub branch: Sequential,
    /// The layers of the shortcut.
    pub shortcut: Sequential,
}

impl Sum {
    /// branch(x) + x.
    pub fn residual(branch: Sequential) -> Self {
        Self { branch, shortcut: Sequential::default() }
    }

    /// As [`Layer::linearize`], with a fused ReLU or without one.
    pub(super) fn linearize_fused<'a>(
        &'a self,
        relu: Option<ReluMask>,
        input: &LayerInput,
        pass: &Pass,
    ) -> Result<LayerLinearization<'a>> {
        let (of_shortcut, shortcut) = self.shortcut.tape(input, pass)?;
        let addend = Addend { summand: of_shortcut, relu: relu.is_some() };
        let (y, branch) = self.branch.tape_plus(Some(&addend), input, pass)?;
        let inside = branch.footprint().and(shortcut.footprint());
        let has_variables = branch.has_variables() || shortcut.has_variables();
        let by_graph = branch.by_graph() || shortcut.by_graph();
        let output = relu.filter(|mask| input.tangents || *mask == ReluMask::ThisLayer).map(|_| y.clone());
        let (input, tangents) = (input.x.id(), input.tangents);
        let tape = SumTape { input, branch, shortcut, relu, output, masked: Memo::default(), tangents };
        Ok(LayerLinearization::new(y, tape).with_memory(inside).with_inside(has_variables, by_graph))
    }
}

impl Layer for Sum {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok((self.branch.forward(x, pass)? + self.shortcut.forward(x, pass)?)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_fused(None, input, pass)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Sum(self)
    }

    fn paths(&self) -> Vec<&Sequential> {
        vec![&self.branch, &self.shortcut]
    }
}

struct SumTape<'a> {
    /// The identity of the input.
    input: TensorId,
    branch: SequentialTape<'a>,
    shortcut: SequentialTape<'a>,
    relu: Option<ReluMask>,
    /// The output of a fused ReLU, if its mask is applied here.
    output: Option<Tensor>,
    /// The cotangent behind that mask.
    masked: Memo<Tensor>,
    tangents: bool,
}

impl SumTape<'_> {
    /// The cotangent of the sum itself.
    fn behind_relu(&self, g: &Tensor) -> Result<Tensor> {
        match (&self.output, self.relu) {
            (Some(y), Some(ReluMask::ThisLayer)) => Ok(relu_mask_rows(g, y)?),
            _ => Ok(g.clone()),
        }
    }
}

impl Tape for SumTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let behind = self.behind_relu(g)?;
        if !self.tangents && into.wants_input() {
            return self.sum_in_branch(&behind, into);
        }
        let (by_branch, by_shortcut) = (self.branch.vjp(&behind, into)?, self.shortcut.vjp(&behind, into)?);
        if self.tangents && !into.wants_parameters() {
            self.masked.keep(g, behind);
        }
        Ok(match (by_branch, by_shortcut) {
            (Some(one), Some(other)) if into.wants_input() => Some(add_detached(&one, &other, false)?),
            _ => None,
        })
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        self.masked_sum(&self.branch.jvp(t)?, &self.shortcut.jvp(t)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let behind = self.masked.take(g).map_or_else(|| self.behind_relu(g), Ok)?;
        self.masked_sum(&self.branch.penalty(&behind, t, into)?, &self.shortcut.penalty(&behind, t, into)?)
    }
}

impl SumTape<'_> {
    /// The cotangent of the input. That of the shortcut is kept while the branch is passed, whose first layer adds it: batch norm in
    /// the pass over memory that it makes anyway.
    fn sum_in_branch(&self, behind: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let Some(by_shortcut) = self.shortcut.vjp(behind, into)? else {
            // The gradients by the parameters of the branch are still asked for.
            return self.branch.vjp(behind, into).map(|_| None);
        };
        into.add_to(self.input, by_shortcut)?;
        let by_branch = self.branch.vjp(behind, into)?;
        // A branch that has no layer leaves the sum to this one.
        by_branch.map(|by_branch| into.take_sum(self.input, by_branch)).transpose()
    }

    /// The tangent of the sum from those of its two paths.
    fn masked_sum(&self, branch: &Tensor, shortcut: &Tensor) -> Result<Tensor> {
        let sum = add_detached(branch, shortcut, false)?;
        match (&self.output, self.relu) {
            (Some(y), _) => Ok(relu_mask(&sum, y)?),
            (None, Some(_)) => Err(super::tape::without_tangents()),
            (None, None) => Ok(sum),
        }
    }
}
