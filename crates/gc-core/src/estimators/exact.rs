//! ‖J‖²_F from all rows or all columns of J.

use crate::batch::Chunk;
use crate::moments::SampleEstimate;
use crate::{Passes, Result};

use super::Task;
use super::passes::{Reverse, forward_squared_norms};

/// Σ_k ‖Jᵀe_k‖² over the p unit vectors of the features.
pub(super) fn by_rows(task: &Task<'_>, chunk: &Chunk) -> Result<(Vec<SampleEstimate>, Passes)> {
    let samples = chunk.len();
    let mut reverse = Reverse::new(task, chunk, task.outputs)?;
    let mut totals = vec![0.0; samples];
    for first in (0..task.outputs).step_by(reverse.lanes) {
        let outputs = first..task.outputs.min(first + reverse.lanes);
        let mut cotangents = vec![0.0; outputs.len() * samples * task.outputs];
        for (lane, output) in outputs.enumerate() {
            let of_lane = cotangents[lane * samples * task.outputs..].iter_mut();
            of_lane.skip(output).step_by(task.outputs).take(samples).for_each(|entry| *entry = 1.0);
        }
        for (row, norm) in reverse.squared_norms(cotangents)?.into_iter().enumerate() {
            totals[row % samples] += norm;
        }
    }
    Ok((totals.into_iter().map(SampleEstimate::exact).collect(), reverse.passes))
}

/// Σ_j ‖J e_j‖² over the d unit vectors of the inputs.
pub(super) fn by_columns(task: &Task<'_>, chunk: &Chunk) -> Result<(Vec<SampleEstimate>, Passes)> {
    let mut passes = Passes::default();
    let mut totals = vec![0.0; chunk.len()];
    for input in 0..task.inputs {
        let mut directions = vec![0.0; chunk.len() * task.inputs];
        directions.iter_mut().skip(input).step_by(task.inputs).for_each(|entry| *entry = 1.0);
        let norms = forward_squared_norms(task, chunk, directions, &mut passes)?;
        totals.iter_mut().zip(norms).for_each(|(total, norm)| *total += norm);
    }
    Ok((totals.into_iter().map(SampleEstimate::exact).collect(), passes))
}
