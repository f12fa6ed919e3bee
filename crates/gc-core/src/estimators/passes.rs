//! The derivative passes that all estimators share, with their checks.

use candle_core::Tensor;

use crate::batch::Chunk;
use crate::linearisation::{Linearisation, check_finite, check_shape, first_non_finite, in_f64, row_squared_norms};
use crate::{Error, Passes, Quantity, Result};

use super::{Task, WIDTH};

/// A chunk run forward once, ready for reverse passes.
pub(super) struct Reverse<'a> {
    task: &'a Task<'a>,
    chunk: &'a Chunk,
    linearisation: Linearisation<'a>,
    /// How many rows of the Jacobian share a pass.
    pub(super) lanes: usize,
    pub(super) passes: Passes,
}

impl<'a> Reverse<'a> {
    /// Runs the chunk forward; `directions` is how many rows each sample will ask for.
    pub(super) fn new(task: &'a Task<'a>, chunk: &'a Chunk, directions: usize) -> Result<Self> {
        let width = WIDTH.min(task.rows_in_budget);
        // Each lane repeats the forward pass, so lanes are worth it only where many reverse passes follow.
        let lanes = (width / chunk.len()).min(directions / 8).max(1);
        let linearisation = Linearisation::new(task.map, &chunk.inputs, lanes)?;
        let features = linearisation.features();
        if features.dim(1)? != task.outputs {
            return Err(Error::FeatureShape { samples: chunk.len(), got: features.dims().to_vec() });
        }
        check_finite(features, &chunk.indices, Quantity::Features, || task.map.first_non_finite_layer(&chunk.inputs))?;
        let passes = Passes { forward: (lanes * chunk.len()) as u64, ..Passes::default() };
        Ok(Self { task, chunk, linearisation, lanes, passes })
    }

    /// Rows of a pass: one for each lane and sample, lane by lane.
    pub(super) fn rows(&self) -> usize {
        self.lanes * self.chunk.len()
    }

    /// Jᵀv in the units asked for, with `cotangents` `[rows, p]` given flat.
    pub(super) fn gradient(&mut self, cotangents: Vec<f64>) -> Result<Tensor> {
        let features = self.linearisation.features();
        let cotangents =
            Tensor::from_vec(cotangents, features.dims(), features.device())?.to_dtype(features.dtype())?;
        let gradient = self.task.units.divide(&self.linearisation.pullback(&cotangents)?)?;
        self.passes.backward += self.rows() as u64;
        Ok(gradient)
    }

    /// ‖Jᵀv‖² of each row.
    pub(super) fn squared_norms(&mut self, cotangents: Vec<f64>) -> Result<Vec<f64>> {
        let norms = row_squared_norms(&self.gradient(cotangents)?)?;
        self.check(&norms)?;
        Ok(norms)
    }

    /// The entries of Jᵀv of each row.
    pub(super) fn entries(&mut self, cotangents: Vec<f64>) -> Result<Vec<Vec<f64>>> {
        let rows: Vec<Vec<f64>> = in_f64(&self.gradient(cotangents)?)?.flatten_from(1)?.to_vec2()?;
        let norms: Vec<f64> = rows.iter().map(|row| row.iter().map(|entry| entry * entry).sum()).collect();
        self.check(&norms)?;
        Ok(rows)
    }

    fn check(&self, norms: &[f64]) -> Result<()> {
        non_finite_gradient(self.task, self.chunk, norms)
    }
}

/// ‖J u‖² of each sample for a direction shaped as the chunk's inputs, given flat and in the units asked for.
pub(super) fn forward_squared_norms(
    task: &Task<'_>,
    chunk: &Chunk,
    directions: Vec<f64>,
    passes: &mut Passes,
) -> Result<Vec<f64>> {
    let inputs = chunk.inputs.detach();
    let directions = Tensor::from_vec(directions, inputs.dims(), inputs.device())?.to_dtype(inputs.dtype())?;
    let (features, tangent) = task.map.jvp(&inputs, &task.units.divide(&directions)?)?;
    check_shape(&features, chunk.len())?;
    if tangent.dims() != [chunk.len(), task.outputs] {
        return Err(Error::FeatureShape { samples: chunk.len(), got: tangent.dims().to_vec() });
    }
    check_finite(&features, &chunk.indices, Quantity::Features, || task.map.first_non_finite_layer(&chunk.inputs))?;
    passes.forward += chunk.len() as u64;
    passes.tangent += chunk.len() as u64;
    let norms = row_squared_norms(&tangent)?;
    non_finite_gradient(task, chunk, &norms)?;
    Ok(norms)
}

fn non_finite_gradient(task: &Task<'_>, chunk: &Chunk, norms: &[f64]) -> Result<()> {
    match first_non_finite(norms) {
        None => Ok(()),
        Some(row) => Err(Error::NonFinite {
            quantity: Quantity::Gradient,
            sample: chunk.indices[row % chunk.len()],
            layer: task.map.first_non_finite_layer(&chunk.inputs),
        }),
    }
}
