//! The estimators of ‖J‖²_F of each sample of a chunk, all unbiased.

mod exact;
mod passes;
mod projection;
mod sampled;

use crate::batch::{Chunk, split};
use crate::moments::SampleEstimate;
use crate::progress::Watch;
use crate::{Error, FeatureMap, InputUnits, Method, Passes, Probe, Result, Side};

/// Rows of one backward pass over a map's own linearization. A pass of this width spends little time on preparing weights,
/// and its rows still fit into a cache.
const WIDTH: usize = 64;
/// Rows of one such pass if a sample has at least [`MANY`] rows; all rows of a sample share its ReLU masks.
const WIDTH_OF_MANY: usize = 128;
/// From this many rows per sample on, the rows of few samples share a pass.
const MANY: usize = 32;

/// The requested estimator of ‖J‖²_F, before it is checked against the sizes of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Estimator {
    /// All rows or columns; `None` for the side with fewer passes.
    Exact(Option<Side>),
    /// Each entry with this probability.
    EntryMask(f64),
    /// This number of outputs.
    OutputSample(usize),
    /// Projections on this side.
    Projections(Side, Probe),
}

/// The map and the settings that an estimator needs besides the samples.
pub(crate) struct Task<'a> {
    pub(crate) map: &'a dyn FeatureMap,
    pub(crate) units: &'a InputUnits,
    pub(crate) seed: u64,
    /// Input coordinates d and features p of a sample.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The number of rows of a pass that fit in the memory budget.
    pub(crate) rows_in_budget: usize,
    /// Whether the map has its own linearization.
    pub(crate) has_linearization: bool,
    /// Whether the number of passes is limited.
    pub(crate) passes_limited: bool,
    /// Counts passes while they are made.
    pub(crate) watch: Watch<'a>,
}

impl Task<'_> {
    /// Rows of one backward pass over a map's own linearization, for this number of rows per sample.
    fn width(&self, directions: usize) -> usize {
        let width = if directions >= MANY { WIDTH_OF_MANY } else { WIDTH };
        width.min(self.rows_in_budget)
    }

    /// The number of samples whose rows are computed together: few samples if there are many rows per sample, so that the
    /// rows of a sample share a pass.
    fn samples_together(&self, directions: usize) -> usize {
        if self.has_linearization && directions >= MANY {
            (self.width(directions) / directions).max(1)
        } else {
            usize::MAX
        }
    }
}

impl Estimator {
    /// Checks the settings against the sizes of the map, and chooses the side if none was requested.
    pub(crate) fn resolve(self, probes: usize, map: &dyn FeatureMap, inputs: usize, outputs: usize) -> Result<Method> {
        let method = match self {
            Self::Exact(side) => {
                let fewer = if map.has_jvp() && inputs < outputs { Side::Columns } else { Side::Rows };
                Method::Exact { by: side.unwrap_or(fewer) }
            }
            Self::EntryMask(rate) if !(rate > 0.0 && rate <= 1.0) => {
                return Err(Error::setting("entry_mask", "a probability above 0 and at most 1", rate));
            }
            Self::EntryMask(rate) => Method::EntryMask { rate },
            Self::OutputSample(count) if count == 0 || count > outputs => {
                return Err(Error::setting("output_sample", format!("1 to {outputs} outputs"), count));
            }
            Self::OutputSample(outputs) => Method::OutputSample { outputs },
            Self::Projections(by, probe) => {
                probe.check(probes, if by == Side::Rows { outputs } else { inputs })?;
                Method::Projections { by, probe }
            }
        };
        if method.side() == Side::Columns && !map.has_jvp() {
            return Err(Error::NoForwardMode);
        }
        Ok(method)
    }
}

impl Method {
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::Exact { by } | Self::Projections { by, .. } => *by,
            Self::EntryMask { .. } | Self::OutputSample { .. } => Side::Rows,
        }
    }

    /// The largest number of directions per sample.
    pub(crate) fn directions(&self, probes: usize, inputs: usize, outputs: usize) -> usize {
        match self {
            Self::Exact { by: Side::Rows } | Self::EntryMask { .. } => outputs,
            Self::Exact { by: Side::Columns } => inputs,
            Self::OutputSample { outputs } => *outputs,
            Self::Projections { .. } => probes,
        }
    }

    /// The largest number of passes through the map per sample.
    pub(crate) fn cost(&self, directions: usize) -> u64 {
        match self.side() {
            Side::Rows => 1 + directions as u64,
            Side::Columns => 2 * directions as u64,
        }
    }

    /// The estimate of each sample of the chunk, and the passes spent.
    pub(crate) fn estimate(
        &self,
        task: &Task<'_>,
        chunk: &Chunk,
        probes: usize,
    ) -> Result<(Vec<SampleEstimate>, Passes)> {
        let directions = match (self, self.side()) {
            // The number of rows with an entry differs between samples.
            (Self::EntryMask { .. }, _) | (_, Side::Columns) => 1,
            _ => self.directions(probes, task.inputs, task.outputs),
        };
        let together = task.samples_together(directions);
        let (mut estimates, mut passes) = (Vec::with_capacity(chunk.len()), Passes::default());
        let mut left = Some(chunk.clone());
        while let Some(chunk) = left {
            let (part, rest) = split(chunk, together)?;
            let (some, cost) = self.estimate_together(task, &part, probes)?;
            estimates.extend(some);
            passes.add(cost);
            left = rest;
        }
        Ok((estimates, passes))
    }

    fn estimate_together(
        &self,
        task: &Task<'_>,
        chunk: &Chunk,
        probes: usize,
    ) -> Result<(Vec<SampleEstimate>, Passes)> {
        match self {
            Self::Exact { by: Side::Rows } => exact::by_rows(task, chunk),
            Self::Exact { by: Side::Columns } => exact::by_columns(task, chunk),
            Self::EntryMask { rate } => sampled::entry_mask(task, chunk, *rate),
            Self::OutputSample { outputs } => sampled::output_sample(task, chunk, *outputs),
            Self::Projections { by: Side::Rows, probe } => projection::by_rows(task, chunk, *probe, probes),
            Self::Projections { by: Side::Columns, probe } => projection::by_columns(task, chunk, *probe, probes),
        }
    }
}
