//! Forward, backward and tangent passes, shared by all estimators.

use candle_core::Tensor;

use crate::batch::Chunk;
use crate::reverse_mode::ReverseMode;
use crate::tensors::{check_features, check_finite, first_non_finite, in_f64, row_squared_norms};
use crate::{Error, Passes, Quantity, Result};

use super::Task;

/// The smallest number of rows of a pass over a graph at which matrix products are efficient. Smaller chunks are repeated, so
/// that several rows of the Jacobian share a pass.
const WIDTH: usize = 64;

/// A chunk after one forward pass, to which VJPs can be applied repeatedly.
pub(super) struct Reverse<'a> {
    task: &'a Task<'a>,
    chunk: &'a Chunk,
    reverse: ReverseMode<'a>,
    /// The largest number of cotangents per sample in one pass.
    pub(super) lanes: usize,
    pub(super) passes: Passes,
}

impl<'a> Reverse<'a> {
    /// Runs the chunk forward; `directions` is the number of rows that will be computed for each sample.
    pub(super) fn new(task: &'a Task<'a>, chunk: &'a Chunk, directions: usize) -> Result<Self> {
        let samples = chunk.len();
        // Each lane of a graph repeats the forward pass, which pays only if many backward passes follow. With a limit on passes
        // there is one lane, because the limit counts one forward pass per sample.
        let width = if task.passes_limited { 1 } else { WIDTH.min(task.rows_in_budget) };
        let lanes = (width / samples).min(directions / 8).max(1);
        let mut reverse = ReverseMode::new(task.map, &chunk.inputs, lanes)?;
        reverse.expect(directions);
        let features = reverse.features();
        if features.dim(1)? != task.outputs {
            return Err(Error::FeatureCount { alone: task.outputs, together: features.dim(1)? });
        }
        check_finite(features, &chunk.indices, Quantity::Features, || task.map.first_non_finite_layer(&chunk.inputs))?;
        let passes = Passes { forward: features.dim(0)? as u64, ..Passes::default() };
        task.watch.passed(passes.forward);
        let lanes = reverse.lanes().unwrap_or_else(|| (task.width(directions) / samples).clamp(1, directions));
        Ok(Self { task, chunk, reverse, lanes, passes })
    }

    /// Jᵀv in the units of the task, for flat `cotangents` `[k·samples, p]` whose row r belongs to sample r mod samples.
    pub(super) fn gradient(&mut self, cotangents: Vec<f64>) -> Result<Tensor> {
        let features = self.reverse.features();
        let rows = cotangents.len() / self.task.outputs;
        let cotangents = Tensor::from_vec(cotangents, (rows, self.task.outputs), features.device())?;
        let gradient = self.reverse.vjp(&cotangents.to_dtype(features.dtype())?)?;
        let passes = self.reverse.rows(rows)? as u64;
        self.passes.backward += passes;
        self.task.watch.passed(passes);
        self.task.units.divide(&gradient)
    }

    /// ‖Jᵀv‖² for each cotangent.
    pub(super) fn squared_norms(&mut self, cotangents: Vec<f64>) -> Result<Vec<f64>> {
        let norms = row_squared_norms(&self.gradient(cotangents)?)?;
        self.check(&norms)?;
        Ok(norms)
    }

    /// The entries of Jᵀv for each cotangent.
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

/// ‖J u‖² of each sample, for flat `directions` with the shape of the chunk's inputs and in the units of the task.
pub(super) fn forward_squared_norms(
    task: &Task<'_>,
    chunk: &Chunk,
    directions: Vec<f64>,
    passes: &mut Passes,
) -> Result<Vec<f64>> {
    let inputs = chunk.inputs.detach();
    let directions = Tensor::from_vec(directions, inputs.dims(), inputs.device())?.to_dtype(inputs.dtype())?;
    let (features, tangent) = task.map.jvp(&inputs, &task.units.divide(&directions)?)?;
    check_features(&features, chunk.len())?;
    if tangent.dims() != [chunk.len(), task.outputs] {
        return Err(Error::FeatureShape { samples: chunk.len(), got: tangent.dims().to_vec() });
    }
    check_finite(&features, &chunk.indices, Quantity::Features, || task.map.first_non_finite_layer(&chunk.inputs))?;
    passes.forward += chunk.len() as u64;
    passes.tangent += chunk.len() as u64;
    task.watch.passed(2 * chunk.len() as u64);
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
