//! ‖Jᵀv‖² and its gradient, from the tape of one forward pass.

use candle_core::{DType, Tensor};
use gc_core::InputUnits;
use ops::host;

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

/// ‖u‖² with u = Jᵀv of one cotangent v, and what compares it with its tangent. The values stay on the device until they are read.
pub(crate) struct SquaredVjp {
    /// ‖u‖² of each sample, `[n]` f64.
    norms: Tensor,
    /// ⟨v, J u⟩, where a tangent may be a central difference.
    product: Option<Product>,
}

/// ⟨v, J u⟩, equal to Σ‖u‖² up to the error of the tangent.
struct Product {
    /// The product times `factor`, a scalar in f64.
    scaled: Tensor,
    factor: f64,
}

/// The values of several cotangents.
pub(crate) struct SquaredNorms {
    /// For each cotangent ‖u‖² of each sample.
    pub(crate) norms: Vec<Vec<f64>>,
    /// |Σ⟨v, J u⟩/Σ‖u‖² − 1| of all cotangents together: the error of tangents that are central differences.
    pub(crate) mismatch: f64,
}

impl SquaredVjp {
    /// The tensors whose elements [`SquaredNorms::of`] takes.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.norms].into_iter().chain(self.product.as_ref().map(|product| &product.scaled))
    }
}

impl SquaredNorms {
    /// Takes the elements of [`SquaredVjp::tensors`] of each cotangent.
    pub(crate) fn of(vjps: &[SquaredVjp], elements: &mut impl Iterator<Item = Vec<f64>>) -> Self {
        let (mut norms, mut products, mut squares) = (Vec::with_capacity(vjps.len()), 0.0, 0.0);
        for vjp in vjps {
            let of_samples = elements.next().unwrap_or_default();
            let square = of_samples.iter().sum::<f64>();
            products += match &vjp.product {
                Some(product) => elements.next().into_iter().flatten().sum::<f64>() / product.factor,
                // The layers' own rules are exact.
                None => square,
            };
            squares += square;
            norms.push(of_samples);
        }
        let mismatch = if products == squares { 0.0 } else { (products / squares - 1.0).abs() };
        Self { norms, mismatch }
    }

    /// The same in one read.
    pub(crate) fn read(vjps: &[SquaredVjp]) -> Result<Self> {
        let tensors: Vec<&Tensor> = vjps.iter().flat_map(SquaredVjp::tensors).collect();
        Ok(Self::of(vjps, &mut host::read_together(&tensors)?.into_iter()))
    }
}

impl SquaredVjps<'_> {
    /// ‖u‖² of each sample, u = Jᵀv in the given units, summed in f64. The gradients of ⟨v, J u⟩ with u held fixed, times `factor`,
    /// are added to `into`.
    pub(crate) fn of(&self, v: &Tensor, factor: f64, into: &mut GradientAccumulator) -> Result<SquaredVjp> {
        let (norms, tangent) = self.run(v, factor, into)?;
        let product = if self.tape.by_graph() && factor != 0.0 {
            Some(Product { scaled: (in_f64(&tangent)? * in_f64(v)?)?.sum_all()?, factor })
        } else {
            None
        };
        Ok(SquaredVjp { norms, product })
    }

    /// ‖u‖² of each sample, and J u times `factor`.
    fn run(&self, v: &Tensor, factor: f64, into: &mut GradientAccumulator) -> Result<(Tensor, Tensor)> {
        let at_input = self.tape.vjp(v, &mut GradientAccumulator::of_input())?;
        let u = match at_input {
            Some(at_input) => self.units.divide(&to_outside(&at_input, self.images)?)?,
            None => self.images.zeros_like()?,
        };
        let norms = in_f64(&u)?.flatten_from(1)?.sqr()?.sum(1)?;
        let tangent = self.view.to_inside(&self.units.divide(&u)?.affine(factor, 0.0)?)?;
        Ok((norms, self.tape.penalty(v, &tangent, into)?))
    }
}

fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.to_dtype(DType::F64)?)
}
