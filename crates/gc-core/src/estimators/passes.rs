//! The derivative passes that all estimators share, with their checks.

use candle_core::Tensor;

use crate::batch::Chunk;
use crate::reverse_mode::{ReverseMode, check_finite, check_shape, first_non_finite, in_f64, row_squared_norms};
use crate::{Error, Passes, Quantity, Result};

use super::Task;

/// Rows that a pass over a graph should at least have: below that, matrix products are too small to be efficient, and
/// several rows of the Jacobian share a pass over a repeated batch. (A pass over a kept graph is cheaper than a new one as soon
/// as it is this wide.)
const WIDTH: usize = 64;

/// A chunk run forward once, ready for reverse passes.
pub(super) struct Reverse<'a> {
    task: &'a Task<'a>,
    chunk: &'a Chunk,
    reverse: ReverseMode<'a>,
    /// How many cotangents of each sample share a pass at most.
    pub(super) lanes: usize,
    pub(super) passes: Passes,
}

impl<'a> Reverse<'a> {
    /// Runs the chunk forward; `directions` is how many rows each sample will ask for.
    pub(super) fn new(task: &'a Task<'a>, chunk: &'a Chunk, directions: usize) -> Result<Self> {
        let samples = chunk.len();
        // Each lane of a graph repeats the forward pass, so lanes are worth it only where many reverse passes follow; and not
        // where passes are counted beforehand, one forward for each sample.
        let width = if task.passes_limited { 1 } else { WIDTH.min(task.rows_in_budget) };
        let lanes = (width / samples).min(directions / 8).max(1);
        let reverse = ReverseMode::new(task.map, &chunk.inputs, lanes)?;
        let features = reverse.features();
        if features.dim(1)? != task.outputs {
            return Err(Error::FeatureShape { samples, got: features.dims().to_vec() });
        }
        check_finite(features, &chunk.indices, Quantity::Features, || task.map.first_non_finite_layer(&chunk.inputs))?;
        let passes = Passes { forward: features.dim(0)? as u64, ..Passes::default() };
        let lanes = reverse.lanes().unwrap_or_else(|| (task.width(directions) / samples).clamp(1, directions));
        Ok(Self { task, chunk, reverse, lanes, passes })
    }

    /// Jᵀv in the units asked for, with `cotangents` `[k·samples, p]` given flat, row r for sample r mod samples.
    pub(super) fn gradient(&mut self, cotangents: Vec<f64>) -> Result<Tensor> {
        let features = self.reverse.features();
        let rows = cotangents.len() / self.task.outputs;
        let cotangents = Tensor::from_vec(cotangents, (rows, self.task.outputs), features.device())?;
        let gradient = self.reverse.vjp(&cotangents.to_dtype(features.dtype())?)?;
        self.passes.backward += self.reverse.rows(rows)? as u64;
        self.task.units.divide(&gradient)
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
