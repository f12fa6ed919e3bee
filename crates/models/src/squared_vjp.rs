//! ‖Jᵀv‖² and its gradient, from the tape of one forward pass.

use candle_core::{DType, Tensor};
use gc_core::InputUnits;

use crate::Result;
use crate::layer::{GradientAccumulator, SequentialTape, Tape};
use crate::layout::to_outside;
use crate::view::View;

/// The tape of a forward pass through the first layers of a view, linearized with tangents.
pub(crate) struct SquaredVjps<'a> {
    pub(crate) view: &'a View,
    pub(crate) tape: &'a SequentialTape<'a>,
    pub(crate) images: &'a Tensor,
    pub(crate) units: &'a InputUnits,
}

/// ‖u‖² with u = Jᵀv of one cotangent v, and what compares it with its tangent.
pub(crate) struct SquaredVjp {
    /// ‖u‖² of each sample.
    pub(crate) norms: Vec<f64>,
    /// ⟨v, J u⟩, equal to Σ‖u‖² up to the error of the tangent.
    product: f64,
}

/// |Σ⟨v, J u⟩/Σ‖u‖² − 1| of several cotangents together: the error of tangents that are central differences.
pub(crate) fn mismatch(vjps: &[SquaredVjp]) -> f64 {
    let (products, squares) = vjps
        .iter()
        .fold((0.0, 0.0), |(products, squares), vjp| (products + vjp.product, squares + vjp.norms.iter().sum::<f64>()));
    if products == squares { 0.0 } else { (products / squares - 1.0).abs() }
}

impl SquaredVjps<'_> {
    /// ‖u‖² of each sample, u = Jᵀv in the given units, summed in f64. The gradients of ⟨v, J u⟩ with u held fixed, times `factor`,
    /// are added to `into`.
    pub(crate) fn of(&self, v: &Tensor, factor: f64, into: &mut GradientAccumulator) -> Result<SquaredVjp> {
        let (norms, tangent) = self.run(v, factor, into)?;
        // The layers' own rules are exact, and their product is not needed.
        let product = match self.tape.by_graph() && factor != 0.0 {
            true => (in_f64(&tangent)? * in_f64(v)?)?.sum_all()?.to_scalar::<f64>()? / factor,
            false => norms.iter().sum(),
        };
        Ok(SquaredVjp { norms, product })
    }

    /// ‖u‖² of each sample, and J u times `factor`.
    fn run(&self, v: &Tensor, factor: f64, into: &mut GradientAccumulator) -> Result<(Vec<f64>, Tensor)> {
        let at_input = self.tape.vjp(v, &mut GradientAccumulator::of_input())?;
        let u = match at_input {
            Some(at_input) => self.units.divide(&to_outside(&at_input, self.images)?)?,
            None => self.images.zeros_like()?,
        };
        let norms = in_f64(&u)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?;
        let tangent = self.view.to_inside(&self.units.divide(&u)?.affine(factor, 0.0)?)?;
        Ok((norms, self.tape.penalty(v, &tangent, into)?))
    }
}

fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_dtype(DType::F64)?)
}
