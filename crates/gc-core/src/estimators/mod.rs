//! The ways to read ‖J‖²_F off a chunk of samples, each unbiased for every sample.

mod exact;
mod passes;
mod projection;
mod sampled;

use crate::batch::{Chunk, split};
use crate::moments::Reading;
use crate::{Error, FeatureMap, InputUnits, Method, Passes, Probe, Result, Side};

/// Rows of a pass over a map's own linearisation, which runs forward once for all rows of a sample: wide enough that the
/// preparation of weights costs little beside the products, narrow enough for a cache.
const WIDTH: usize = 64;
/// The same where a sample asks for many rows, which may share more than weights: all of them meet the same zeros.
const WIDTH_OF_MANY: usize = 128;
/// So many rows of a sample are many.
const MANY: usize = 32;

/// How ‖J‖²_F is to be obtained, as asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Estimator {
    /// All rows or columns; `None`: the side with fewer passes.
    Exact(Option<Side>),
    /// Entries with this probability.
    EntryMask(f64),
    /// This many outputs.
    OutputSample(usize),
    /// Projections on this side.
    Projections(Side, Probe),
}

/// Everything an estimator needs besides the samples.
pub(crate) struct Task<'a> {
    pub(crate) map: &'a dyn FeatureMap,
    pub(crate) units: &'a InputUnits,
    pub(crate) seed: u64,
    /// Input coordinates d and features p of a sample.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Rows of a pass that fit in the memory budget.
    pub(crate) rows_in_budget: usize,
    /// Whether the map has a linearisation of its own.
    pub(crate) linearises: bool,
    /// Whether there is a limit on passes.
    pub(crate) passes_limited: bool,
}

impl Task<'_> {
    /// Rows of a pass over a map's own linearisation, if each sample asks for so many.
    fn width(&self, directions: usize) -> usize {
        let width = if directions >= MANY { WIDTH_OF_MANY } else { WIDTH };
        width.min(self.rows_in_budget)
    }

    /// Of how many samples at once the rows are read: of few if each asks for many, so that they share a pass.
    fn samples_together(&self, directions: usize) -> usize {
        if self.linearises && directions >= MANY { (self.width(directions) / directions).max(1) } else { usize::MAX }
    }
}

impl Estimator {
    /// Checks the settings against the sizes of the map, and fixes what was left open.
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

    /// Directions that one sample takes, at most.
    pub(crate) fn directions(&self, probes: usize, inputs: usize, outputs: usize) -> usize {
        match self {
            Self::Exact { by: Side::Rows } | Self::EntryMask { .. } => outputs,
            Self::Exact { by: Side::Columns } => inputs,
            Self::OutputSample { outputs } => *outputs,
            Self::Projections { .. } => probes,
        }
    }

    /// Passes through the map that one sample takes, at most.
    pub(crate) fn cost(&self, directions: usize) -> u64 {
        match self.side() {
            Side::Rows => 1 + directions as u64,
            Side::Columns => 2 * directions as u64,
        }
    }

    /// One reading for each sample of the chunk, and what they cost.
    pub(crate) fn read(&self, task: &Task<'_>, chunk: &Chunk, probes: usize) -> Result<(Vec<Reading>, Passes)> {
        let directions = match (self, self.side()) {
            // Which rows have an entry, and how many, differs from sample to sample.
            (Self::EntryMask { .. }, _) | (_, Side::Columns) => 1,
            _ => self.directions(probes, task.inputs, task.outputs),
        };
        let together = task.samples_together(directions);
        let (mut readings, mut passes) = (Vec::with_capacity(chunk.len()), Passes::default());
        let mut left = Some(chunk.clone());
        while let Some(chunk) = left {
            let (part, rest) = split(chunk, together)?;
            let (some, cost) = self.read_together(task, &part, probes)?;
            readings.extend(some);
            passes.add(cost);
            left = rest;
        }
        Ok((readings, passes))
    }

    fn read_together(&self, task: &Task<'_>, chunk: &Chunk, probes: usize) -> Result<(Vec<Reading>, Passes)> {
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
