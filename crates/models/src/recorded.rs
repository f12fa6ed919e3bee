//! A pass through a network with a record of every layer, walked back with a cotangent and forward with its pullback.

use candle_core::{DType, Tensor};
use gc_core::InputUnits;

use crate::layer::{Pairings, Record, Stack, Trace};
use crate::network::{View, leave};
use crate::{Pass, Result};

/// A pass forward to the class scores that can be walked back and, if it was recorded, back and forth again.
pub(crate) struct TracedLogits<'a> {
    /// `[n, p]`.
    pub(crate) features: Tensor,
    /// Of the layers up to the features; none unless they were asked for.
    pub(crate) records: Vec<Record>,
    /// `[n, k]`.
    pub(crate) logits: Tensor,
    /// From the class scores to the parameters.
    pub(crate) trace: Trace<'a>,
}

/// The records of some layers of a view, from the images on.
pub(crate) struct Recorded<'a> {
    pub(crate) view: &'a View,
    pub(crate) body: &'a Stack,
    pub(crate) records: Vec<Record>,
    pub(crate) images: &'a Tensor,
    pub(crate) pass: &'a Pass,
}

impl Recorded<'_> {
    /// ‖u‖² of each sample for the pullback u = Jᵀv in these units, summed in f64; and, among `pairings`, the gradients of
    /// ⟨v, J u⟩, u held fixed, times `factor`.
    pub(crate) fn squared_pullback(
        &self,
        v: &Tensor,
        units: &InputUnits,
        factor: f64,
        pairings: &mut Pairings<'_>,
    ) -> Result<Vec<f64>> {
        let (cotangents, at_input) = self.body.pullback(&self.records, v, self.pass)?;
        let u = units.divide(&leave(&at_input, self.images)?)?;
        let norms = u.to_dtype(DType::F64)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?;
        let tangent = units.divide(&u)?.affine(factor, 0.0)?;
        self.body.pair(&self.records, cotangents, &self.view.enter(&tangent)?, self.pass, pairings)?;
        Ok(norms)
    }
}
