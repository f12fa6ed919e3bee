//! ‖J‖²_F from squared norms of random projections, with independent directions for each sample.

use streams::Stream;

use crate::batch::Chunk;
use crate::moments::SampleEstimate;
use crate::{Passes, Probe, Result};

use super::Task;
use super::passes::{Reverse, forward_squared_norms};

/// Mean of ‖Jᵀv‖² over `probes` directions v in the space of the features.
pub(super) fn by_rows(
    task: &Task<'_>,
    chunk: &Chunk,
    probe: Probe,
    probes: usize,
) -> Result<(Vec<SampleEstimate>, Passes)> {
    let mut draws = Draws::new(task.seed, "gc-core/projection/rows", chunk, probe, probes, task.outputs);
    // Several lanes of a graph would repeat the forward pass, which the plan does not count.
    let mut reverse = Reverse::new(task, chunk, if task.has_linearization { probes } else { 1 })?;
    loop {
        let cotangents: Vec<Vec<f64>> = (0..reverse.lanes).map_while(|_| draws.next()).collect();
        if cotangents.is_empty() {
            break;
        }
        let norms = reverse.squared_norms(cotangents.concat())?;
        norms.chunks(chunk.len()).for_each(|norms| draws.push(norms));
    }
    Ok((draws.estimates(), reverse.passes))
}

/// Mean of ‖J u‖² over `probes` directions u in the space of the inputs.
pub(super) fn by_columns(
    task: &Task<'_>,
    chunk: &Chunk,
    probe: Probe,
    probes: usize,
) -> Result<(Vec<SampleEstimate>, Passes)> {
    let mut draws = Draws::new(task.seed, "gc-core/projection/columns", chunk, probe, probes, task.inputs);
    let mut passes = Passes::default();
    while let Some(directions) = draws.next() {
        let norms = forward_squared_norms(task, chunk, directions, &mut passes)?;
        draws.push(&norms);
    }
    Ok((draws.estimates(), passes))
}

/// The directions of each sample of a chunk, drawn block by block, and the squared norms of their projections.
///
/// The directions of a sample come from a stream with the index of the sample, so they do not depend on the division into
/// chunks.
struct Draws {
    streams: Vec<Stream>,
    probe: Probe,
    probes: usize,
    dimension: usize,
    /// The current block of directions of each sample, and the number of directions used of it.
    blocks: Vec<Vec<Vec<f64>>>,
    used: usize,
    drawn: usize,
    /// The squared norms of each sample, in the order of its directions.
    norms: Vec<Vec<f64>>,
}

impl Draws {
    fn new(seed: u64, purpose: &str, chunk: &Chunk, probe: Probe, probes: usize, dimension: usize) -> Self {
        let streams = chunk.indices.iter().map(|&index| streams::stream(seed, purpose, index as u64)).collect();
        let (blocks, norms) = (Vec::new(), vec![Vec::with_capacity(probes); chunk.len()]);
        Self { streams, probe, probes, dimension, blocks, used: probe.block(), drawn: 0, norms }
    }

    /// The next direction of every sample, flat; `None` after `probes` directions.
    fn next(&mut self) -> Option<Vec<f64>> {
        if self.drawn == self.probes {
            return None;
        }
        if self.used == self.probe.block() {
            self.blocks = self.streams.iter_mut().map(|stream| self.probe.draw(stream, self.dimension)).collect();
            self.used = 0;
        }
        let directions = self.blocks.iter().flat_map(|block| block[self.used].iter().copied()).collect();
        self.used += 1;
        self.drawn += 1;
        Some(directions)
    }

    fn push(&mut self, norms: &[f64]) {
        self.norms.iter_mut().zip(norms).for_each(|(norms, norm)| norms.push(*norm));
    }

    /// The blocks of a sample are independent, so their means are its replicates.
    fn estimates(&self) -> Vec<SampleEstimate> {
        let block = self.probe.block();
        // A complete orthogonal basis gives ‖J‖²_F exactly.
        let complete = matches!(self.probe, Probe::Orthogonal { .. }) && block == self.dimension;
        let estimate = |norms: &Vec<f64>| {
            let means = norms.chunks(block).map(|norms| norms.iter().sum::<f64>() / block as f64);
            let estimate = SampleEstimate::of_replicates(&means.collect::<Vec<_>>());
            if complete { SampleEstimate::exact(estimate.value) } else { estimate }
        };
        self.norms.iter().map(estimate).collect()
    }
}
