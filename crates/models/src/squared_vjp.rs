//! ‖Jᵀv‖² and its gradient, from the residuals of one forward pass.

use candle_core::{DType, Tensor};
use gc_core::InputUnits;

use crate::layer::{LayerResiduals, Sequential, TangentCotangentTerms};
use crate::layout::to_outside;
use crate::view::View;
use crate::{Pass, Result};

/// The residuals of a forward pass through the first layers of a view.
pub(crate) struct ForwardResiduals<'a> {
    pub(crate) view: &'a View,
    pub(crate) layers: &'a Sequential,
    /// One entry for each layer.
    pub(crate) residuals: Vec<LayerResiduals>,
    pub(crate) images: &'a Tensor,
    pub(crate) pass: &'a Pass,
}

impl ForwardResiduals<'_> {
    /// ‖u‖² of each sample, u = Jᵀv in these units, summed in f64. The gradients of ⟨v, J u⟩ with u held fixed, times `factor`,
    /// are added to `terms`.
    pub(crate) fn squared_vjp(
        &self,
        v: &Tensor,
        units: &InputUnits,
        factor: f64,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Vec<f64>> {
        let (cotangents, at_input) = self.layers.vjp(&self.residuals, v, self.pass)?;
        let u = units.divide(&to_outside(&at_input, self.images)?)?;
        let norms = u.to_dtype(DType::F64)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?;
        let tangent = self.view.to_inside(&units.divide(&u)?.affine(factor, 0.0)?)?;
        self.layers.penalty_jvp(&self.residuals, cotangents, &tangent, self.pass, terms)?;
        Ok(norms)
    }
}
